//! Messages only.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../bench.proto");
    let files = protox::compile(["../bench.proto"], [".."])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
