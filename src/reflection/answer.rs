//! The answers of one reflection stream.
//!
//! In: requests. Out: a response to each. Not here: the stream itself. What is not found is an answer too, and
//! never the end of the call.

use std::collections::HashSet;

use super::index::{File, Index};
use super::proto::v1::server_reflection_request::MessageRequest;
use super::proto::v1::server_reflection_response::MessageResponse;
use super::proto::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use crate::status::Code;

/// What one stream has been told so far.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    index: &'a Index,
    /// The names of files that the client has, and so at most as many as there are files.
    sent: HashSet<&'a str>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self {
            index,
            sent: HashSet::new(),
        }
    }

    /// The answer to the next request.
    pub(super) fn to(&mut self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let response = match &request.message_request {
            Some(question) => self.response(question),
            // Also what a later version of the protocol may ask.
            None => Err(error(
                Code::Unimplemented,
                "the request asks nothing that this server knows",
            )),
        };
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(response.unwrap_or_else(MessageResponse::ErrorResponse)),
        }
    }

    fn response(&mut self, question: &MessageRequest) -> Result<MessageResponse, ErrorResponse> {
        let index = self.index;
        match question {
            MessageRequest::FileByFilename(name) => {
                let file = index.file(name).ok_or_else(|| not_found("file"))?;
                Ok(self.files(file))
            }
            MessageRequest::FileContainingSymbol(symbol) => {
                let file = index.declaring(symbol).ok_or_else(|| not_found("symbol"))?;
                Ok(self.files(file))
            }
            MessageRequest::FileContainingExtension(extension) => {
                let file = index.extending(&extension.containing_type, extension.extension_number);
                Ok(self.files(file.ok_or_else(|| not_found("extension"))?))
            }
            MessageRequest::AllExtensionNumbersOfType(message) => {
                let numbers = index.extension_numbers(message);
                let answer = ExtensionNumberResponse {
                    base_type_name: message.clone(),
                    extension_number: numbers.ok_or_else(|| not_found("message"))?,
                };
                Ok(MessageResponse::AllExtensionNumbersResponse(answer))
            }
            MessageRequest::ListServices(_) => {
                let services = index.services().map(|name| ServiceResponse {
                    name: name.to_owned(),
                });
                Ok(MessageResponse::ListServicesResponse(ListServiceResponse {
                    service: services.collect(),
                }))
            }
        }
    }

    /// `file` first, always; then what it imports, directly or not, each file once for the whole stream.
    fn files(&mut self, file: &'a File) -> MessageResponse {
        self.sent.insert(&file.name);
        let mut files = vec![file];
        let mut next = 0;
        while let Some(file) = files.get(next) {
            next += 1;
            // What the set does not have, the client may have itself.
            let imports = file.imports.iter().filter_map(|name| self.index.file(name));
            let new: Vec<_> = imports
                .filter(|import| self.sent.insert(&import.name))
                .collect();
            files.extend(new);
        }
        MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: files.iter().map(|file| file.encoded.clone()).collect(),
        })
    }
}

fn not_found(kind: &str) -> ErrorResponse {
    // The name is left out: the client has it in `original_request`.
    error(Code::NotFound, &format!("no such {kind}"))
}

fn error(code: Code, message: &str) -> ErrorResponse {
    ErrorResponse {
        error_code: i32::from(code.number()),
        error_message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;
    use prost_types::FileDescriptorProto;
    use protox::file::{ChainFileResolver, File as Source, FileResolver, GoogleFileResolver};

    use super::super::proto::v1::ExtensionRequest;
    use super::*;

    const NOT_FOUND: i32 = 5;

    /// Proto2, because only that declares extensions.
    struct Sources;

    impl FileResolver for Sources {
        fn open_file(&self, name: &str) -> Result<Source, protox::Error> {
            let source = match name {
                "base.proto" => {
                    "package p; \
                     message Base { \
                       extensions 100 to 200; \
                       oneof choice { int32 left = 1; } \
                       enum Inner { INSIDE = 0; } \
                       message Nested {} \
                     }"
                }
                "more.proto" => {
                    "package p; \
                     import \"base.proto\"; \
                     import \"google/protobuf/empty.proto\"; \
                     enum Outer { OUTSIDE = 0; } \
                     extend Base { optional int32 last = 200; } \
                     message Scope { extend Base { optional int32 first = 100; } } \
                     service Svc { rpc Do(Base) returns (google.protobuf.Empty); }"
                }
                "bare.proto" => "message Bare {} service Alone { rpc Do(Bare) returns (Bare); }",
                _ => return Err(protox::Error::file_not_found(name)),
            };
            Source::from_source(name, source)
        }
    }

    fn index() -> Index {
        let mut index = Index::default();
        // Each a set of its own with all imports, so that some files are in two.
        for file in ["more.proto", "base.proto", "bare.proto"] {
            let mut sources = ChainFileResolver::new();
            sources.add(Sources);
            sources.add(GoogleFileResolver::new());
            let mut compiler = protox::Compiler::with_file_resolver(sources);
            compiler
                .include_imports(true)
                .open_file(file)
                .expect("a valid file");
            index
                .add(compiler.encode_file_descriptor_set().into())
                .expect("a set");
        }
        index
    }

    fn ask(answers: &mut Answers<'_>, question: MessageRequest) -> MessageResponse {
        let request = ServerReflectionRequest {
            host: "here".to_owned(),
            message_request: Some(question),
        };
        let response = answers.to(request.clone());
        assert_eq!(response.valid_host, "here");
        assert_eq!(response.original_request, Some(request));
        response.message_response.expect("an answer")
    }

    /// The names of the files in the answer, or its error code.
    fn files(answers: &mut Answers<'_>, question: MessageRequest) -> Result<Vec<String>, i32> {
        match ask(answers, question) {
            MessageResponse::FileDescriptorResponse(files) => {
                let names = files.file_descriptor_proto.into_iter().map(|file| {
                    let file = FileDescriptorProto::decode(file).expect("a file");
                    file.name().to_owned()
                });
                Ok(names.collect())
            }
            MessageResponse::ErrorResponse(error) => Err(error.error_code),
            other => panic!("not about files: {other:?}"),
        }
    }

    fn numbers(answers: &mut Answers<'_>, message: &str) -> Result<Vec<i32>, i32> {
        let question = MessageRequest::AllExtensionNumbersOfType(message.to_owned());
        match ask(answers, question) {
            MessageResponse::AllExtensionNumbersResponse(answer) => {
                assert_eq!(answer.base_type_name, message);
                Ok(answer.extension_number)
            }
            MessageResponse::ErrorResponse(error) => Err(error.error_code),
            other => panic!("not about extensions: {other:?}"),
        }
    }

    fn extension(message: &str, number: i32) -> MessageRequest {
        MessageRequest::FileContainingExtension(ExtensionRequest {
            containing_type: message.to_owned(),
            extension_number: number,
        })
    }

    #[test]
    fn every_kind_of_symbol_is_found_by_its_full_name_and_nothing_else() {
        let index = index();
        for (symbol, file) in [
            ("p.Base", Some("base.proto")),
            ("p.Base.left", Some("base.proto")),
            ("p.Base.choice", Some("base.proto")),
            ("p.Base.Nested", Some("base.proto")),
            ("p.Base.Inner", Some("base.proto")),
            ("p.Base.INSIDE", Some("base.proto")),
            ("p.Outer", Some("more.proto")),
            ("p.OUTSIDE", Some("more.proto")),
            ("p.last", Some("more.proto")),
            ("p.Scope.first", Some("more.proto")),
            ("p.Svc", Some("more.proto")),
            ("p.Svc.Do", Some("more.proto")),
            ("google.protobuf.Empty", Some("google/protobuf/empty.proto")),
            ("Bare", Some("bare.proto")),
            ("Alone.Do", Some("bare.proto")),
            ("p", None),
            ("p.Svc/Do", None),
            (".p.Base", None),
            ("Base", None),
            ("", None),
        ] {
            let question = MessageRequest::FileContainingSymbol(symbol.to_owned());
            let found = files(&mut Answers::new(&index), question);
            let first = found.map(|files| files.into_iter().next());
            assert_eq!(
                first,
                file.map(|name| Some(name.to_owned())).ok_or(NOT_FOUND),
                "{symbol}"
            );
        }
    }

    #[test]
    fn imports_come_once_for_a_stream_and_the_file_itself_each_time() {
        let index = index();
        let mut answers = Answers::new(&index);
        let by_name = |name: &str| MessageRequest::FileByFilename(name.to_owned());
        assert_eq!(
            files(&mut answers, by_name("base.proto")),
            Ok(vec!["base.proto".to_owned()])
        );
        assert_eq!(
            files(&mut answers, by_name("more.proto")),
            Ok(vec![
                "more.proto".to_owned(),
                "google/protobuf/empty.proto".to_owned()
            ])
        );
        assert_eq!(
            files(&mut answers, by_name("more.proto")),
            Ok(vec!["more.proto".to_owned()])
        );
        assert_eq!(files(&mut answers, by_name("none.proto")), Err(NOT_FOUND));
        // Another stream has been told nothing.
        let all = files(&mut Answers::new(&index), by_name("more.proto"));
        assert_eq!(all.map(|files| files.len()), Ok(3));
    }

    #[test]
    fn extensions_are_found_by_type_and_number() {
        let index = index();
        let mut answers = Answers::new(&index);
        assert_eq!(numbers(&mut answers, "p.Base"), Ok(vec![100, 200]));
        assert_eq!(numbers(&mut answers, "p.Scope"), Ok(vec![]));
        assert_eq!(numbers(&mut answers, "p.Svc"), Err(NOT_FOUND));
        let found = files(&mut answers, extension("p.Base", 200));
        assert_eq!(
            found.map(|files| files[0].clone()),
            Ok("more.proto".to_owned())
        );
        assert_eq!(
            files(&mut answers, extension("p.Base", 101)),
            Err(NOT_FOUND)
        );
        assert_eq!(
            files(&mut answers, extension("p.None", 200)),
            Err(NOT_FOUND)
        );
    }

    #[test]
    fn services_are_listed_in_the_order_of_their_names() {
        let index = index();
        let question = MessageRequest::ListServices("*".to_owned());
        let MessageResponse::ListServicesResponse(list) = ask(&mut Answers::new(&index), question)
        else {
            panic!("not a list");
        };
        let names: Vec<_> = list.service.iter().map(|service| &service.name).collect();
        assert_eq!(names, ["Alone", "p.Svc"]);
    }

    #[test]
    fn a_request_without_a_question_is_answered_too() {
        let index = index();
        let response = Answers::new(&index).to(ServerReflectionRequest::default());
        let Some(MessageResponse::ErrorResponse(error)) = response.message_response else {
            panic!("no error");
        };
        assert_eq!(error.error_code, 12);
    }

    #[test]
    fn bytes_that_are_no_descriptors_are_refused() {
        let mut index = Index::default();
        assert!(index.add(Bytes::from_static(b"\x0a\x05no")).is_err());
        assert!(index.add(Bytes::from_static(b"\x0a\x02\xff\xff")).is_err());
    }
}
