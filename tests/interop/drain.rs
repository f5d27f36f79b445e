//! SIGTERM while exports run to clients that do not read.

use std::time::{Duration, Instant};

use streamway::client::{Config, Responses};
use streamway::proto::stream_service::StreamServiceClient;
use streamway::proto::{OrderSearchParams, StreamOrderList};
use streamway::{Channel, Code, Status};
use tokio::task::JoinSet;

use super::exports::id;
use super::records::{assert_same, export, exported, stored};
use super::servers::Serve;

#[test]
fn an_export_in_flight_at_sigterm_ends_whole() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--drain-timeout", "150s"]);
    let slow = export(&serve.addr, &[]);
    let first = slow.line();
    serve.running.signal("TERM");
    serve.running.said("SIGTERM: draining");
    let rest = slow.finish().success();
    assert_same(&[vec![first], rest].concat(), &stored(data.path()));
    serve.running.finish().success();
}

#[test]
fn an_export_at_the_drain_limit_is_unavailable_and_can_be_resumed() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--drain-timeout", "100ms"]);
    let slow = export(&serve.addr, &[]);
    let first = slow.line();
    serve.running.signal("TERM");
    let (_, said) = serve.running.finish().exit_code(1);
    assert!(
        said.contains("calls were still in flight at the drain limit"),
        "{said}"
    );
    let (more, said) = slow.finish().exit_code(64 + 14);
    assert!(said.contains("error: UNAVAILABLE: "), "{said}");

    let begin = [vec![first], more].concat();
    let orders = stored(data.path());
    assert!(begin.len() < orders.len());
    let serve = Serve::start(data.path(), &[]);
    let rest = exported(&serve.addr, &["--after-id", &id(&begin)]);
    assert_same(&[begin, rest].concat(), &orders);
}

/// How often, and how many exports each time.
const DRAINS: usize = 20;
const EXPORTS: usize = 1000;

/// Orders of each export: several windows of its client, so that it is in flight at SIGTERM.
const ORDERS: u32 = 400;
const WINDOW_BYTES: u32 = 4096;

/// From the end of the last export to the end of the process. One second, and what a busy machine takes.
const END: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_thousand_exports_in_flight_at_sigterm_end_whole_time_after_time() {
    let data = tempfile::tempdir().expect("a folder");
    let search = OrderSearchParams {
        limit: ORDERS,
        ..Default::default()
    };
    let (mut slowest, mut served, mut refused) = (Duration::ZERO, 0, 0);
    for _ in 0..DRAINS {
        let serve = Serve::start(data.path(), &["--drain-timeout", "150s"]);
        let address = format!("http://{}", serve.addr);
        let clients: Vec<_> = (0..10).map(|_| client(&address)).collect();
        let mut exports = Vec::new();
        for n in 0..EXPORTS {
            let call = clients[n % clients.len()].order_list(search.clone());
            let mut orders = call.start().await.expect("served");
            orders.message().await.expect("served").expect("an order");
            exports.push(orders);
        }
        serve.running.signal("TERM");
        serve.running.said("SIGTERM: draining");

        let mut reads = JoinSet::new();
        for orders in exports {
            reads.spawn(async move { rest(orders).await.map(|count| 1 + count) });
        }
        // New calls on the same connections: a client does not know yet that the server drains.
        for client in &clients {
            let begun = client.order_list(search.clone()).start().await;
            let outcome = match begun {
                Ok(orders) => rest(orders).await,
                Err(status) => Err(status),
            };
            match outcome {
                Ok(count) => {
                    assert_eq!(count, ORDERS);
                    served += 1;
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    refused += 1;
                }
            }
        }
        while let Some(read) = reads.join_next().await {
            assert_eq!(read.expect("no panic").expect("none is dropped"), ORDERS);
        }
        let ended = Instant::now();
        serve.running.finish().success();
        slowest = slowest.max(ended.elapsed());
    }
    println!(
        "{DRAINS} drains of {EXPORTS} exports: none dropped, of new calls {served} were served and {refused} \
         UNAVAILABLE, the process ended at most {slowest:.1?} after the last"
    );
    assert!(slowest < END, "{slowest:?}");
}

/// Reads an export to its end.
async fn rest(mut orders: Responses<StreamOrderList>) -> Result<u32, Status> {
    let mut count = 0;
    while orders.message().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn client(address: &str) -> StreamServiceClient {
    let mut config = Config::default();
    config.stream_window_bytes = WINDOW_BYTES;
    let channel = Channel::with_config(address, config);
    StreamServiceClient::new(channel.expect("an address"))
}
