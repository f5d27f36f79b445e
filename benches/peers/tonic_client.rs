//! tonic's client, receiving exports, on whichever runtime: the arguments are ADDR EXPORTS.

#[path = "usage.rs"]
mod usage;

mod proto {
    tonic::include_proto!("proto");
}

use std::error::Error;

use proto::OrderSearchParams;
use proto::stream_service_client::StreamServiceClient;
use usage::Usage;

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(exports)) = (args.next(), args.next()) else {
        return Err("ADDR EXPORTS".into());
    };
    let mut client = StreamServiceClient::connect(format!("http://{address}")).await?;
    let mut messages = 0;
    let usage = Usage::start();
    for _ in 0..exports.parse::<u32>()? {
        let search = OrderSearchParams::default();
        let mut orders = client.order_list(search).await?.into_inner();
        while let Some(order) = orders.message().await? {
            std::hint::black_box(order);
            messages += 1;
        }
    }
    usage.report(messages, Vec::new());
    Ok(())
}
