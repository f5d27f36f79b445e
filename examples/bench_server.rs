//! The server that benches/compare measures: the service of bench.proto, its orders made in memory.
//!
//! `bench_server --addr 127.0.0.1:9528` on one thread; `--threads N` on N, each with its own runtime.

#[path = "../benches/peers/orders.rs"]
mod orders;
#[path = "bench/proto.rs"]
mod proto;

use std::env;
use std::error::Error;
use std::future::pending;
use std::hint::black_box;
use std::num::NonZeroUsize;

use prost::Message;
use streamway::{Call, Sender, Server, Status, Streaming};
use tokio::net::TcpListener;

use proto::stream_service::{StreamService, StreamServiceServer};
use proto::{OrderSearchParams, StreamImageList, StreamOrderList, StreamSumData, UploadResponse};

const USAGE: &str = "bench_server --addr ADDR [--threads N]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut address, mut threads) = (None, None);
    let mut args = env::args().skip(1);
    while let (Some(flag), Some(value)) = (args.next(), args.next()) {
        match flag.as_str() {
            "--addr" => address = Some(value),
            "--threads" => threads = Some(value.parse::<NonZeroUsize>()?),
            _ => return Err(USAGE.into()),
        }
    }
    let listener = TcpListener::bind(address.ok_or(USAGE)?).await?;
    let server = Server::new().add_service(StreamServiceServer::new(Bench));
    match threads {
        None => server.serve(listener, pending()).await,
        Some(threads) => server.serve_on_threads(listener, threads, pending()).await,
    }?;
    Ok(())
}

struct Bench;

impl StreamService for Bench {
    async fn order_list(
        &self,
        _call: &Call,
        search: OrderSearchParams,
        tx: &mut Sender<StreamOrderList>,
    ) -> Result<(), Status> {
        // One message for all orders: its text is written anew and not allocated anew.
        let mut message = StreamOrderList::default();
        let mut ids = 0..orders::count(search.count);
        tx.send_while(&mut message, |message| {
            let Some(id) = ids.next() else { return false };
            let order = message.order.get_or_insert_default();
            order.id = id;
            orders::write_order_sn(&mut order.order_sn, id);
            orders::write_date(&mut order.date, id);
            true
        })
        .await
    }

    async fn upload_file(
        &self,
        _call: &Call,
        rx: &mut Streaming<StreamImageList>,
    ) -> Result<UploadResponse, Status> {
        let mut count = 0u64;
        let mut message = StreamImageList::default();
        while rx.merge(&mut message).await? {
            black_box(&message);
            count += 1;
            // What the next one does not say is empty.
            if let Some(image) = &mut message.image {
                image.clear();
            }
        }
        black_box(count);
        Ok(UploadResponse {})
    }

    async fn sum_data(
        &self,
        _call: &Call,
        rx: &mut Streaming<StreamSumData>,
        tx: &mut Sender<StreamSumData>,
    ) -> Result<(), Status> {
        let mut sum = 0i32;
        while let Some(data) = rx.message().await? {
            sum = sum.wrapping_add(data.number);
            tx.send(&StreamSumData { number: sum }).await?;
        }
        Ok(())
    }

    async fn echo(&self, _call: &Call, request: StreamSumData) -> Result<StreamSumData, Status> {
        Ok(request)
    }
}
