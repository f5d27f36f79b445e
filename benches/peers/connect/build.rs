//! Messages and the service, without protoc.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../bench.proto");
    let files = protox::compile(["../bench.proto"], [".."])?;
    let set = PathBuf::from(env::var("OUT_DIR")?).join("bench.bin");
    fs::write(&set, files.encode_to_vec())?;
    connectrpc_build::Config::new()
        .descriptor_set(&set)
        .files(&["bench.proto"])
        .generate_json(false)
        .include_file("_connectrpc.rs")
        .compile()?;
    Ok(())
}
