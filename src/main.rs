//! Arguments → library → exit code.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    streamway::cli::main(env::args_os())
}
