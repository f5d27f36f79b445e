//! The client of the gRPC project's interop tests, with the flags of grpc-go's: one case for each run.
//!
//! `interop_client --server_port 10000 --test_case large_unary [--use_tls --use_test_ca --ca_file ca.pem]`

#[path = "interop/cases.rs"]
mod cases;
#[path = "interop/mod.rs"]
mod interop;

use std::error::Error;
use std::path::Path;

use streamway::Channel;
use streamway::client::Config;
use streamway::transport::ClientTls;

use interop::Flags;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::read(
        &[
            "server_host",
            "server_port",
            "test_case",
            "ca_file",
            "server_host_override",
        ],
        &["use_tls", "use_test_ca"],
    )?;
    let mut config = Config::default();
    let scheme = match flags.or("use_tls", false)? {
        false => "http",
        true => {
            config.tls = tls(&flags)?;
            "https"
        }
    };
    let host = flags.get("server_host").unwrap_or("localhost");
    let port = flags.or("server_port", 10000_u16)?;
    let address = format!("{scheme}://{host}:{port}");
    let connect = || Channel::with_config(&address, config.clone());
    let case = flags.get("test_case").unwrap_or("large_unary");
    cases::run(case, &connect).await?;
    println!("{case}: ok");
    Ok(())
}

fn tls(flags: &Flags) -> Result<ClientTls, Box<dyn Error>> {
    let mut tls = ClientTls::new();
    if flags.or("use_test_ca", false)? {
        let file = flags.get("ca_file");
        let file = file.ok_or("--use_test_ca without --ca_file")?;
        tls = tls.ca_file(Path::new(file))?;
    }
    Ok(match flags.get("server_host_override") {
        Some(name) => tls.server_name(name),
        None => tls,
    })
}
