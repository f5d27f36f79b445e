//! Generates Rust from `proto/`, without protoc.
//!
//! A file of code for each package, and beside it the descriptors that reflection serves of the packages with
//! services.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the library's own module, which has more than is used here"
)]
#[path = "src/codegen/mod.rs"]
mod codegen;

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use codegen::Builder;

const INCLUDES: [&str; 1] = ["proto"];

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=src/codegen");
    codegen::compile(&["google/rpc/status.proto"], &INCLUDES)?;
    Builder::new()
        .file_descriptor_set("health.bin")
        .compile(&["grpc/health/v1/health.proto"], &INCLUDES)?;
    // Both versions have the same messages, so they share one set of types and with it one implementation.
    Builder::new()
        .file_descriptor_set("reflection.bin")
        .configure(|config| {
            config
                .extern_path(
                    ".grpc.reflection.v1alpha",
                    "::streamway::reflection::proto::v1",
                )
                // The descriptors are there once, however often they are sent.
                .bytes([".grpc.reflection.v1.FileDescriptorResponse"]);
        })
        .compile(
            &[
                "grpc/reflection/v1/reflection.proto",
                "grpc/reflection/v1alpha/reflection.proto",
            ],
            &INCLUDES,
        )?;
    if env::var_os("CARGO_FEATURE_APP").is_some() {
        Builder::new()
            .file_descriptor_set("stream.bin")
            .compile(&["stream.proto"], &INCLUDES)?;
    }
    if env::var_os("CARGO_FEATURE_CONFORMANCE").is_some() {
        let files = ["service", "server_compat", "client_compat"];
        let protos = files.map(|file| format!("connectrpc/conformance/v1/{file}.proto"));
        Builder::new()
            .configure(|config| {
                // The programs pack messages as google.protobuf.Any.
                config
                    .enable_type_names()
                    .type_name_domain(["."], "type.googleapis.com");
            })
            .compile(&protos, &INCLUDES)?;
        Builder::new().compile(&["grpc/testing/test.proto"], &INCLUDES)?;
    }
    if env::var_os("CARGO_FEATURE_BENCH").is_some() {
        // Its package has the name of the service's own, so its file would replace that one.
        let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("bench");
        fs::create_dir_all(&out_dir)?;
        Builder::new()
            .out_dir(out_dir)
            .compile(&["bench.proto"], &["benches/peers"])?;
    }
    Ok(())
}
