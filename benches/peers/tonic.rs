//! Build script of the two tonic packages.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../bench.proto");
    let files = protox::compile(["../bench.proto"], [".."])?;
    tonic_prost_build::compile_fds(files)?;
    Ok(())
}
