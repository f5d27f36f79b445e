//! `streamway gateway`: the HTTP front alone, before a server elsewhere.
//!
//! In: where the server is, and where to listen. Out: the front, until a signal. Not here: the front (`gateway`).

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::address::{listen, listening, reachable};
use super::failure::{Failure, say};
use super::signals::{Signals, exit_code, until_drained};
use super::tls;
use crate::client::Address;
use crate::gateway::{Front, ROUTES};

/// Serve the HTTP front alone, before a gRPC server elsewhere
#[derive(Args, Debug)]
pub(super) struct Gateway {
    /// Address of the gRPC server
    #[arg(
        long,
        env = "STREAMWAY_BACKEND",
        default_value = "http://127.0.0.1:9528",
        value_name = "URL"
    )]
    backend: Address,

    #[command(flatten)]
    tls: tls::Client,

    /// Where to serve HTTP: a host and a port; port 0 for any that is free
    #[arg(
        long,
        env = "STREAMWAY_HTTP_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    http_addr: String,
}

impl Gateway {
    pub(super) async fn run(self) -> Outcome {
        let tls = self.tls.settings(&self.backend, "--backend")?;
        let front = Front::new(&self.backend.to_string(), tls)
            .map_err(|error| Failure::other(error.to_string()))?;
        let listener = listen(&self.http_addr, "--http-addr").await?;
        let address = reachable(listening(&listener)?);
        let mut signals = Signals::listen()?;
        say(format_args!("streamway gateway to {}", self.backend));
        for route in ROUTES {
            say(format_args!("  http://{address}{route}"));
        }
        let draining = CancellationToken::new();
        let served = front.serve(listener, draining.cancelled());
        let drained = until_drained(&mut signals, served, || draining.cancel()).await?;
        Ok(exit_code(drained))
    }
}
