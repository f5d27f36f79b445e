//! tonic's client as people write it: a multi-thread runtime.
//!
//! `tonic-written-client ADDR EXPORTS`

#[path = "../../tonic_client.rs"]
mod client;

use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    client::run().await
}
