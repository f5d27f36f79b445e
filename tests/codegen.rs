//! The generator against a folder of its output, byte for byte. `UPDATE_GOLDEN=1` writes what it says now.
//!
//! That the output builds is shown by `generated`, which is the same files.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the library's own module, compiled into this test so that it needs no feature"
)]
#[path = "../src/codegen/mod.rs"]
mod codegen;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

fn golden() -> PathBuf {
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
    let protos = golden().join("proto");
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
        let path = golden().join(&name);
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
