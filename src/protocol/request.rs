//! The head of a request: parsed by the server, built by the client.

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use http::{Method as Verb, Request, Response, StatusCode, Uri, request};

use super::content_type::{ContentType, ContentTypeError};
use super::{GRPC_ACCEPT_ENCODING, GRPC_ENCODING, GRPC_TIMEOUT, timeout};
use crate::codec::Encoding;
use crate::codec::compression::{AcceptEncoding, supported_list};
use crate::metadata::Metadata;
use crate::status::Status;

/// Everything that the headers of a call say, but the path and the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) content_type: ContentType,
    pub(crate) timeout: Option<Duration>,
    /// What the request's messages are compressed with.
    pub(crate) encoding: Encoding,
    /// What the response's messages may be compressed with.
    pub(crate) accept: AcceptEncoding,
}

/// Why a request is not a call.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// It is no gRPC: answered in HTTP.
    NotGrpc(NotGrpc),
    /// It is gRPC and wrong: answered with a status, in the sub-format that was asked for.
    Status(ContentType, Status),
}

/// A request that is no gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotGrpc {
    Verb,
    ContentType,
}

impl RequestHead {
    /// Reads the headers of a request.
    pub(crate) fn parse(verb: &Verb, headers: &HeaderMap) -> Result<Self, Rejection> {
        let fields = Fields::of(headers);
        // The content type first: a browser's GET is told what this port speaks, not that it used the wrong verb.
        let content_type = match fields
            .content_type
            .map(|value| ContentType::parse(value.as_bytes()))
        {
            Some(Ok(content_type)) => content_type,
            Some(Err(ContentTypeError::UnknownFormat)) if verb == Verb::POST => {
                let text = "this server speaks application/grpc and application/grpc+proto only";
                return Err(Rejection::Status(
                    ContentType::Plain,
                    Status::unimplemented(text),
                ));
            }
            _ if verb != Verb::POST => return Err(Rejection::NotGrpc(NotGrpc::Verb)),
            _ => return Err(Rejection::NotGrpc(NotGrpc::ContentType)),
        };
        if verb != Verb::POST {
            return Err(Rejection::NotGrpc(NotGrpc::Verb));
        }
        let wrong = |status| Rejection::Status(content_type, status);
        // A malformed timeout rejects the call: to run it without one would be worse (INTERNAL, as grpc-go).
        let timeout = match fields.timeout {
            None => None,
            Some(value) => Some(timeout::parse(value.as_bytes()).ok_or_else(|| {
                wrong(Status::internal(format!(
                    "malformed grpc-timeout {value:?}"
                )))
            })?),
        };
        let encoding = match fields.encoding {
            None => Encoding::Identity,
            Some(value) => Encoding::from_name(value.as_bytes()).ok_or_else(|| {
                wrong(Status::unimplemented(format!(
                    "grpc-encoding {value:?} is not supported"
                )))
            })?,
        };
        Ok(Self {
            content_type,
            timeout,
            encoding,
            accept: fields.accept,
        })
    }

    /// Builds the request for `uri`, whose path is the method's, with `metadata`.
    ///
    /// "Reserved headers precede custom metadata", with `grpc-timeout` first among them.
    pub(crate) fn into_request(self, uri: Uri, metadata: Metadata) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Verb::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        if let Some(timeout) = self.timeout {
            let value =
                HeaderValue::from_str(&timeout::format(timeout)).expect("digits and a letter");
            headers.insert(GRPC_TIMEOUT, value);
        }
        headers.insert(CONTENT_TYPE, self.content_type.header());
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if self.encoding != Encoding::Identity {
            headers.insert(
                GRPC_ENCODING,
                HeaderValue::from_static(self.encoding.name()),
            );
        }
        if let Some(list) = supported_list() {
            headers.insert(GRPC_ACCEPT_ENCODING, list);
        }
        if !metadata.contains(USER_AGENT.as_str()) {
            headers.insert(
                USER_AGENT,
                HeaderValue::from_static(concat!(
                    "grpc-rust-streamway/",
                    env!("CARGO_PKG_VERSION")
                )),
            );
        }
        append(headers, metadata.into_headers());
        request
    }
}

/// The fields that a call is defined by, the first of each, found in one pass: to look for four names costs twice as much.
#[derive(Default)]
struct Fields<'a> {
    content_type: Option<&'a HeaderValue>,
    timeout: Option<&'a HeaderValue>,
    encoding: Option<&'a HeaderValue>,
    /// Of all of that name.
    accept: AcceptEncoding,
}

impl<'a> Fields<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            let field = match name {
                name if name == CONTENT_TYPE => &mut fields.content_type,
                name if name == GRPC_TIMEOUT => &mut fields.timeout,
                name if name == GRPC_ENCODING => &mut fields.encoding,
                name if name == GRPC_ACCEPT_ENCODING => {
                    let accept = AcceptEncoding::parse(value.as_bytes());
                    fields.accept = fields.accept.union(accept);
                    continue;
                }
                _ => continue,
            };
            field.get_or_insert(value);
        }
        fields
    }
}

impl NotGrpc {
    /// The answer, with a text that tells a person with curl what this port speaks.
    pub(crate) fn into_response(self) -> (Response<()>, &'static str) {
        let mut response = Response::new(());
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        let text = match self {
            Self::Verb => {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("POST"));
                "This port speaks gRPC: POST over HTTP/2 with content-type application/grpc.\n"
            }
            Self::ContentType => {
                *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                "This port speaks gRPC: content-type must be application/grpc or application/grpc+proto.\n"
            }
        };
        (response, text)
    }
}

/// Appends all of `from`, the values of each name in order.
pub(super) fn append(to: &mut HeaderMap, from: HeaderMap) {
    if from.is_empty() {
        return;
    }
    let mut last: Option<HeaderName> = None;
    for (name, value) in from {
        // `HeaderMap` names only the first of several values.
        last = name.or(last);
        if let Some(name) = &last {
            to.append(name.clone(), value);
        }
    }
}

/// The path as the peer sent it, or `None` when parsing changed it: what `http` reads leniently
/// (a query, a fragment) must not reach a method by an odd spelling.
pub(crate) fn exact_path(parts: &request::Parts) -> Option<&str> {
    let path_and_query = parts.uri.path_and_query()?;
    path_and_query
        .query()
        .is_none()
        .then(|| path_and_query.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&'static str, &'static str)]) -> Result<RequestHead, Rejection> {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        RequestHead::parse(&Verb::POST, &map)
    }

    fn code(result: Result<RequestHead, Rejection>) -> crate::status::Code {
        match result {
            Err(Rejection::Status(_, status)) => status.code(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_is_read_into_types() {
        let head = parse(&[
            ("content-type", "application/grpc+proto"),
            ("grpc-timeout", "5S"),
            ("grpc-accept-encoding", "gzip"),
            ("grpc-accept-encoding", "identity"),
            ("x-one", "1"),
        ])
        .expect("legal");
        assert_eq!(head.timeout, Some(Duration::from_secs(5)));
        assert_eq!(head.content_type, ContentType::Proto);
        assert_eq!(head.encoding, Encoding::Identity);
    }

    #[test]
    fn of_a_repeated_field_the_first_counts_and_of_a_list_all() {
        let head = parse(&[
            ("grpc-timeout", "5S"),
            ("content-type", "application/grpc+proto"),
            ("content-type", "text/plain"),
            ("grpc-timeout", "no time"),
            ("grpc-encoding", "identity"),
            ("grpc-encoding", "lzma"),
        ]);
        let head = head.expect("legal");
        assert_eq!(head.content_type, ContentType::Proto);
        assert_eq!(head.timeout, Some(Duration::from_secs(5)));
        assert_eq!(head.encoding, Encoding::Identity);

        let lists = ["identity", "gzip, x", "deflate"].map(|list| ("grpc-accept-encoding", list));
        let all = parse(&[&[("content-type", "application/grpc")], &lists[..]].concat());
        let one = parse(&[
            ("content-type", "application/grpc"),
            ("grpc-accept-encoding", "identity,gzip,deflate"),
        ]);
        assert_eq!(all.expect("legal"), one.expect("legal"));
    }

    #[test]
    fn what_is_no_grpc_is_answered_in_http() {
        let cases = [
            (Verb::POST, None, NotGrpc::ContentType),
            (Verb::POST, Some("application/json"), NotGrpc::ContentType),
            (Verb::GET, None, NotGrpc::Verb),
            (Verb::GET, Some("application/grpc"), NotGrpc::Verb),
        ];
        for (verb, content_type, expected) in cases {
            let mut map = HeaderMap::new();
            if let Some(value) = content_type {
                map.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            match RequestHead::parse(&verb, &map) {
                Err(Rejection::NotGrpc(why)) => assert_eq!(why, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_grpc_and_wrong_gets_a_status() {
        use crate::status::Code;
        let grpc = ("content-type", "application/grpc");
        assert_eq!(code(parse(&[grpc, ("grpc-timeout", "5")])), Code::Internal);
        assert_eq!(
            code(parse(&[grpc, ("grpc-encoding", "lzma")])),
            Code::Unimplemented
        );
        assert_eq!(
            code(parse(&[("content-type", "application/grpc+json")])),
            Code::Unimplemented
        );
    }

    #[test]
    fn what_a_client_builds_the_server_reads() {
        let mut metadata = Metadata::new();
        metadata.append("x-a", "1").expect("legal");
        metadata.append("x-a", "2").expect("legal");
        let head = RequestHead {
            content_type: ContentType::Plain,
            timeout: Some(Duration::from_millis(1500)),
            encoding: Encoding::Identity,
            accept: AcceptEncoding::default(),
        };
        let request = head.into_request(Uri::from_static("http://host/a.B/C"), metadata);
        assert_eq!(request.headers().keys().next(), Some(&GRPC_TIMEOUT));
        assert_eq!(
            request.headers().get(TE),
            Some(&HeaderValue::from_static("trailers"))
        );
        let (parts, ()) = request.into_parts();
        assert_eq!(exact_path(&parts), Some("/a.B/C"));
        let back = RequestHead::parse(&parts.method, &parts.headers).expect("legal");
        assert_eq!(back.timeout, Some(Duration::from_millis(1500)));
        let metadata = Metadata::from_headers(parts.headers);
        assert_eq!(metadata.get_all("x-a").collect::<Vec<_>>(), ["1", "2"]);
    }

    /// PROTOCOL-HTTP2.md, "Requests": "Request-Headers → Call-Definition *Custom-Metadata", `grpc-timeout` before
    /// the rest of the definition.
    #[test]
    fn the_definition_of_a_call_goes_before_its_metadata() {
        let mut metadata = Metadata::new();
        metadata.append("a-custom", "1").expect("legal");
        let head = RequestHead {
            content_type: ContentType::Plain,
            timeout: Some(Duration::from_secs(1)),
            encoding: *Encoding::SUPPORTED.last().expect("identity at least"),
            accept: AcceptEncoding::default(),
        };
        let request = head.into_request(Uri::from_static("https://host/a.B/C"), metadata);
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names.first(), Some(&"grpc-timeout"));
        assert_eq!(names.last(), Some(&"a-custom"));
        assert_eq!(names.iter().filter(|name| **name == "a-custom").count(), 1);
        assert_eq!(request.method(), Verb::POST);
        assert_eq!(request.uri().scheme_str(), Some("https"));
    }

    /// "User-Agent → "grpc-" Language ?("-" Variant) "/" Version".
    #[test]
    fn the_user_agent_is_ours_unless_the_application_has_one() {
        let agent = |own: Option<&str>| {
            let mut metadata = Metadata::new();
            if let Some(agent) = own {
                metadata.append("user-agent", agent).expect("legal");
            }
            let head = RequestHead {
                content_type: ContentType::Plain,
                timeout: None,
                encoding: Encoding::Identity,
                accept: AcceptEncoding::default(),
            };
            let request = head.into_request(Uri::from_static("http://host/a.B/C"), metadata);
            let agents = request.headers().get_all(USER_AGENT).into_iter();
            let agents = agents.map(|agent| agent.to_str().expect("ASCII").to_owned());
            agents.collect::<Vec<_>>()
        };
        let ours = format!("grpc-rust-streamway/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(agent(None), [ours]);
        assert_eq!(agent(Some("mine/1")), ["mine/1"]);
    }

    #[test]
    fn a_path_with_a_query_is_no_method() {
        let request = Request::post("http://host/a.B/C?x=1")
            .body(())
            .expect("legal");
        assert_eq!(exact_path(&request.into_parts().0), None);
    }
}
