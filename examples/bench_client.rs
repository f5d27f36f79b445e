//! The client that benches/compare measures, and the load that it puts on every server.
//!
//! `bench_client --addr ADDR WORK [OPTIONS]`, where WORK is one of
//!
//! ```text
//! --exports N      receives N exports, one after the other
//! --ping-pong N    sends N numbers on each stream, each when the sum before it has come
//! --pipelined N    the same with --in-flight sums to come (100)
//! --upload N       sends N small images
//! --unary N        makes N calls on each stream, each when the answer to the one before it has come
//! ```
//!
//! `--streams S` does it on S streams at once (1), `--orders M` has exports of M orders (200,000). One line of JSON: messages, wall and CPU seconds, latencies in
//! microseconds.

#[path = "bench/proto.rs"]
mod proto;
#[path = "../benches/peers/usage.rs"]
mod usage;

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use prost::Message;
use streamway::{Channel, Status};
use tokio::task::JoinSet;

use proto::stream_service::StreamServiceClient;
use proto::{Image, OrderSearchParams, StreamImageList, StreamOrderList, StreamSumData};
use usage::Usage;

const USAGE: &str = "bench_client --addr ADDR --exports|--ping-pong|--pipelined|--upload|--unary N \
    [--streams S] [--in-flight M] [--orders M]";

#[derive(Clone, Copy)]
enum Work {
    Exports,
    PingPong,
    Pipelined,
    Upload,
    Unary,
}

/// What one stream did: messages, and how long each round trip took.
type Done = Result<(u64, Vec<u64>), Status>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut address, mut work) = (None, None);
    let (mut streams, mut in_flight, mut orders) = (1, 100, 0);
    let mut args = env::args().skip(1);
    while let (Some(flag), Some(value)) = (args.next(), args.next()) {
        match flag.as_str() {
            "--addr" => address = Some(value),
            "--exports" => work = Some((Work::Exports, value.parse()?)),
            "--ping-pong" => work = Some((Work::PingPong, value.parse()?)),
            "--pipelined" => work = Some((Work::Pipelined, value.parse()?)),
            "--upload" => work = Some((Work::Upload, value.parse()?)),
            "--unary" => work = Some((Work::Unary, value.parse()?)),
            "--orders" => orders = value.parse()?,
            "--streams" => streams = value.parse()?,
            "--in-flight" => in_flight = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    let (Some(address), Some((work, n))) = (address, work) else {
        return Err(USAGE.into());
    };
    let channel = Channel::connect(&format!("http://{address}"))?;
    let client = StreamServiceClient::new(channel);
    // Connects.
    client
        .echo(StreamSumData::default())
        .wait_for_ready()
        .send()
        .await?;
    let usage = Usage::start();
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let client = client.clone();
        tasks.spawn(async move {
            match work {
                Work::Exports => exports(&client, n, orders).await,
                Work::PingPong => ping_pong(&client, n).await,
                Work::Pipelined => pipelined(&client, n, in_flight).await,
                Work::Upload => upload(&client, n).await,
                Work::Unary => unary(&client, n).await,
            }
        });
    }
    let (mut messages, mut latencies) = (0, Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (more, mut times) = done??;
        messages += more;
        latencies.append(&mut times);
    }
    usage.report(messages, latencies);
    Ok(())
}

async fn exports(client: &StreamServiceClient, n: u64, count: i32) -> Done {
    let mut messages = 0;
    for _ in 0..n {
        let search = OrderSearchParams { count };
        let mut orders = client.order_list(search).start().await?;
        let mut message = StreamOrderList::default();
        while orders.merge(&mut message).await? {
            black_box(&message);
            messages += 1;
            // What the next one does not say is empty.
            if let Some(order) = &mut message.order {
                order.clear();
            }
        }
    }
    Ok((messages, Vec::new()))
}

async fn ping_pong(client: &StreamServiceClient, n: u64) -> Done {
    let (mut tx, mut rx) = client.sum_data().start().await?.split();
    let mut latencies = Vec::new();
    for _ in 0..n {
        let sent = Instant::now();
        tx.send(&StreamSumData { number: 1 }).await?;
        sum(rx.message().await?)?;
        latencies.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    tx.finish();
    Ok((n, latencies))
}

async fn pipelined(client: &StreamServiceClient, n: u64, in_flight: u64) -> Done {
    let (mut tx, mut rx) = client.sum_data().start().await?.split();
    for sent in 0..n + in_flight {
        if sent < n {
            tx.send(&StreamSumData { number: 1 }).await?;
        }
        if sent >= in_flight {
            sum(rx.message().await?)?;
        }
    }
    tx.finish();
    Ok((n, Vec::new()))
}

async fn upload(client: &StreamServiceClient, n: u64) -> Done {
    let image = StreamImageList {
        image: Some(Image {
            file_name: "image".to_owned(),
            file: "file data".to_owned(),
        }),
    };
    let mut upload = client.upload_file().start().await?;
    for _ in 0..n {
        upload.send(&image).await?;
    }
    upload.finish().await?;
    Ok((n, Vec::new()))
}

async fn unary(client: &StreamServiceClient, n: u64) -> Done {
    for _ in 0..n {
        black_box(client.echo(StreamSumData { number: 1 }).send().await?);
    }
    Ok((n, Vec::new()))
}

fn sum(data: Option<StreamSumData>) -> Result<(), Status> {
    match data {
        Some(data) => {
            black_box(data);
            Ok(())
        }
        None => Err(Status::internal("the server ended the stream early")),
    }
}
