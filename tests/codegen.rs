//! The generator against a folder of its output, byte for byte. `UPDATE_GOLDEN=1` writes what it says now.
//!
//! That the output builds, and calls what it says, is shown with the same files as a module.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the library's own module, compiled into this test so that it needs no feature"
)]
#[path = "../src/codegen/mod.rs"]
mod codegen;

/// The golden files, compiled: both packages in their places, so that they find each other.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "generated for libraries, and this is a test"
)]
mod golden {
    pub mod common {
        include!("golden/golden.common.rs");
    }
    pub mod v1 {
        include!("golden/golden.v1.rs");
    }
}

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, Timestamp};
use streamway::{Call, Channel, Method, MethodKind, Sender, Server, Status, Streaming};
use tokio::net::TcpListener;

use self::golden::common::{Money, money};
use self::golden::v1::{Answer, Question, answer, question};
use self::golden::v1::{s, shapes, types};

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// An empty folder for one test.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("codegen")
        .join(test);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("an old folder of ours");
    }
    fs::create_dir_all(&folder).expect("a writable target folder");
    folder
}

/// What `builder` writes for the golden protos: file name → content.
fn generate(builder: codegen::Builder, test: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = folder(test);
    let protos = golden_folder().join("proto");
    builder
        .out_dir(&folder)
        .compile(&["golden/golden.proto"], &[protos])
        .expect("valid protos");
    let files = fs::read_dir(&folder).expect("made above").map(|entry| {
        let entry = entry.expect("readable");
        let name = entry.file_name().into_string().expect("an ASCII name");
        (name, fs::read(entry.path()).expect("just written"))
    });
    files.collect()
}

fn service_code(builder: codegen::Builder, test: &str) -> String {
    let mut files = generate(builder, test);
    let code = files.remove("golden.v1.rs").expect("its package");
    String::from_utf8(code).expect("Rust")
}

#[test]
fn the_output_is_the_golden_one() {
    let files = generate(codegen::Builder::new(), "golden");
    let names: Vec<_> = files.keys().collect();
    assert_eq!(names, ["golden.common.rs", "golden.v1.rs"]);
    for (name, content) in files {
        let path = golden_folder().join(&name);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &content).unwrap();
        }
        let expected = fs::read(&path).unwrap_or_default();
        // Not assert_eq: two files on the screen show less than git does.
        assert!(
            content == expected,
            "{name} is not tests/golden/{name}; write it with UPDATE_GOLDEN=1 and look at git diff"
        );
    }
}

#[test]
fn either_side_can_be_left_out() {
    let client = service_code(codegen::Builder::new().without_server(), "client");
    assert!(client.contains("pub struct ShapesClient") && !client.contains("ShapesServer"));
    let server = service_code(codegen::Builder::new().without_client(), "server");
    assert!(server.contains("pub struct ShapesServer") && !server.contains("ShapesClient"));
}

#[test]
fn messages_can_come_from_another_package() {
    let builder = codegen::Builder::new().configure(|config| {
        config.extern_path(".golden.common", "::common::protos");
    });
    let code = service_code(builder, "extern");
    assert!(code.contains("request: ::common::protos::Money"));
    assert!(code.contains("::common::protos::money::Unit"));
}

#[test]
fn the_descriptor_set_has_all_imports_and_the_comments() {
    let builder = codegen::Builder::new().file_descriptor_set("golden.bin");
    let files = generate(builder, "descriptors");
    let set = FileDescriptorSet::decode(files["golden.bin"].as_slice()).unwrap();
    let names: Vec<_> = set.file.iter().map(FileDescriptorProto::name).collect();
    assert_eq!(
        names,
        [
            "golden/common.proto",
            "google/protobuf/empty.proto",
            "google/protobuf/timestamp.proto",
            "google/protobuf/wrappers.proto",
            "golden/golden.proto",
        ]
    );
    let comments = set.file[4].source_code_info.iter().flat_map(|info| {
        let locations = info.location.iter();
        locations.filter_map(|location| location.leading_comments.as_deref())
    });
    assert!(
        comments
            .into_iter()
            .any(|text| text == " One there, one back.\n")
    );
}

#[test]
fn an_error_names_the_file_and_the_place() {
    let folder = folder("error");
    fs::write(
        folder.join("bad.proto"),
        "syntax = \"proto3\";\nmessage M { Missing m = 1; }\n",
    )
    .unwrap();
    let error = codegen::compile(&["bad.proto"], &[&folder]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bad.proto:2:13: name 'Missing' is not defined"
    );
}

/// Answers with what it was asked, so that a call that reaches the wrong method shows.
struct Echo;

fn text(text: &str) -> Answer {
    Answer {
        text: text.to_owned(),
    }
}

impl shapes::Shapes for Echo {
    async fn unary(&self, call: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text(call.method().name()))
    }

    async fn server_streaming(
        &self,
        _: &Call,
        request: Question,
        tx: &mut Sender<Answer>,
    ) -> Result<(), Status> {
        for part in request.parts {
            tx.send(&text(&part.text)).await?;
        }
        Ok(())
    }

    async fn client_streaming(
        &self,
        _: &Call,
        rx: &mut Streaming<Question>,
    ) -> Result<Answer, Status> {
        let mut all = String::new();
        while let Some(question) = rx.message().await? {
            all.extend(question.parts.into_iter().map(|part| part.text));
        }
        Ok(text(&all))
    }

    async fn bidi(
        &self,
        call: &Call,
        rx: &mut Streaming<Question>,
        tx: &mut Sender<Answer>,
    ) -> Result<(), Status> {
        while let Some(question) = rx.message().await? {
            self.server_streaming(call, question, tx).await?;
        }
        Ok(())
    }
}

impl types::Types for Echo {
    async fn nested(
        &self,
        _: &Call,
        request: question::Part,
    ) -> Result<answer::part::Piece, Status> {
        let number = request.text.parse();
        Ok(answer::part::Piece {
            number: number.map_err(|_| Status::invalid_argument("no number"))?,
        })
    }

    async fn other_package(
        &self,
        _: &Call,
        request: Money,
        tx: &mut Sender<money::Unit>,
    ) -> Result<(), Status> {
        let name = request.amount.to_string();
        tx.send(&money::Unit { name }).await
    }

    async fn well_known(&self, _: &Call, request: Timestamp) -> Result<i32, Status> {
        Ok(request.nanos)
    }

    async fn nothing(&self, _: &Call, (): ()) -> Result<(), Status> {
        Ok(())
    }

    async fn stream_of_nothing(
        &self,
        _: &Call,
        rx: &mut Streaming<()>,
        tx: &mut Sender<()>,
    ) -> Result<(), Status> {
        while let Some(nothing) = rx.message().await? {
            tx.send(&nothing).await?;
        }
        Ok(())
    }

    async fn text(&self, _: &Call, request: String) -> Result<Vec<u8>, Status> {
        Ok(request.into_bytes())
    }
}

impl s::S for Echo {
    async fn r#type(&self, _: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text("Type"))
    }

    async fn self_(&self, _: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text("Self"))
    }

    async fn r#async(
        &self,
        _: &Call,
        _: &mut Streaming<Question>,
        tx: &mut Sender<Answer>,
    ) -> Result<(), Status> {
        tx.send(&text("Async")).await
    }

    async fn new_(&self, _: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text("New"))
    }

    async fn clone(&self, _: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text("Clone"))
    }

    async fn methods(&self, _: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text("Methods"))
    }

    async fn service_name(&self, _: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text("ServiceName"))
    }

    async fn lower_camel(&self, _: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text("lowerCamel"))
    }

    async fn http_get2(&self, _: &Call, _: Question) -> Result<Answer, Status> {
        Ok(text("HTTPGet2"))
    }
}

async fn serve() -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let server = Server::new()
        .add_service(shapes::ShapesServer::new(Echo))
        .add_service(types::TypesServer::new(Echo))
        .add_service(s::SServer::new(Echo));
    tokio::spawn(server.serve(listener, std::future::pending()));
    Channel::connect(&format!("http://{addr}")).expect("an address")
}

fn question(texts: &[&str]) -> Question {
    let parts = texts.iter().map(|text| question::Part {
        text: (*text).to_owned(),
    });
    Question {
        parts: parts.collect(),
        fee: None,
    }
}

#[tokio::test]
async fn all_four_shapes_go_from_the_client_to_the_trait_and_back() {
    let client = shapes::ShapesClient::new(serve().await);
    assert_eq!(
        client.unary(question(&[])).send().await.unwrap(),
        text("Unary")
    );

    let request = client.server_streaming(question(&["a", "b"]));
    let mut answers = request.start().await.unwrap();
    assert_eq!(answers.message().await.unwrap(), Some(text("a")));
    assert_eq!(answers.message().await.unwrap(), Some(text("b")));
    assert_eq!(answers.message().await.unwrap(), None);

    let mut upload = client.client_streaming().start().await.unwrap();
    upload.send(&question(&["a", "b"])).await.unwrap();
    upload.send(&question(&["c"])).await.unwrap();
    assert_eq!(upload.finish().await.unwrap(), text("abc"));

    let (mut tx, mut rx) = client.bidi().start().await.unwrap().split();
    for name in ["a", "b"] {
        tx.send(&question(&[name])).await.unwrap();
        assert_eq!(rx.message().await.unwrap(), Some(text(name)));
    }
    tx.finish();
    assert_eq!(rx.message().await.unwrap(), None);
}

#[tokio::test]
async fn messages_of_every_origin_travel() {
    let client = types::TypesClient::new(serve().await);
    let part = question::Part {
        text: "7".to_owned(),
    };
    assert_eq!(client.nested(part).send().await.unwrap().number, 7);
    let mut units = client
        .other_package(Money { amount: 8 })
        .start()
        .await
        .unwrap();
    assert_eq!(units.message().await.unwrap().unwrap().name, "8");
    let time = Timestamp {
        seconds: 0,
        nanos: 9,
    };
    assert_eq!(client.well_known(time).send().await.unwrap(), 9);
    client.nothing(()).send().await.unwrap();
    let mut stream = client.stream_of_nothing().start().await.unwrap();
    stream.send(&()).await.unwrap();
    assert_eq!(stream.message().await.unwrap(), Some(()));
    let bytes = client.text("ten".to_owned()).send().await.unwrap();
    assert_eq!(bytes, b"ten");
}

#[tokio::test]
async fn a_method_is_reached_whatever_its_name() {
    let client = s::SClient::new(serve().await);
    let ask = || question(&[]);
    for (request, name) in [
        (client.r#type(ask()), "Type"),
        (client.self_(ask()), "Self"),
        (client.new_(ask()), "New"),
        (client.clone(ask()), "Clone"),
        (client.methods(ask()), "Methods"),
        (client.service_name(ask()), "ServiceName"),
        (client.lower_camel(ask()), "lowerCamel"),
        (client.http_get2(ask()), "HTTPGet2"),
    ] {
        assert_eq!(request.send().await.unwrap(), text(name));
    }
    let mut answers = client.r#async().start().await.unwrap();
    assert_eq!(answers.message().await.unwrap(), Some(text("Async")));
}

#[test]
fn constants_tell_a_service_and_its_methods_in_the_order_of_the_file() {
    assert_eq!(shapes::SERVICE_NAME, "golden.v1.Shapes");
    let bidi = Method::new("/golden.v1.Shapes/Bidi", MethodKind::Bidi);
    assert_eq!(shapes::BIDI, bidi);
    assert_eq!(shapes::METHODS[3], bidi);
    assert_eq!(s::METHODS[5], s::METHODS_);
    assert!(golden::v1::empty::METHODS.is_empty());
}
