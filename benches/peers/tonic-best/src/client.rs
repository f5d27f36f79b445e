//! tonic's client at its best: a current-thread runtime.
//!
//! `tonic-best-client ADDR EXPORTS`

#[path = "../../tonic_client.rs"]
mod client;

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    client::run().await
}
