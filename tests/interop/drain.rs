//! SIGTERM while exports run to clients that do not read.

use std::time::{Duration, Instant};

use streamway::proto::OrderSearchParams;
use streamway::proto::stream_service::StreamServiceClient;
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

/// Orders of each export. More than the windows hold, so that each waits for its client at SIGTERM.
const ORDERS: u32 = 2000;

/// From the end of the last export to the end of the process. One second, and what a busy machine takes.
const END: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_thousand_exports_in_flight_at_sigterm_end_whole_time_after_time() {
    let data = tempfile::tempdir().expect("a folder");
    let (mut slowest, mut refused) = (Duration::ZERO, 0);
    for _ in 0..DRAINS {
        let serve = Serve::start(data.path(), &["--drain-timeout", "150s"]);
        let address = format!("http://{}", serve.addr);
        let clients: Vec<_> = (0..10).map(|_| client(&address)).collect();
        let mut exports = Vec::new();
        for n in 0..EXPORTS {
            let search = OrderSearchParams {
                limit: ORDERS,
                ..Default::default()
            };
            let call = clients[n % clients.len()].order_list(search);
            let mut orders = call.start().await.expect("served");
            orders.message().await.expect("served").expect("an order");
            exports.push(orders);
        }
        serve.running.signal("TERM");
        serve.running.said("SIGTERM: draining");

        let mut reads = JoinSet::new();
        for mut orders in exports {
            reads.spawn(async move {
                let mut count = 1;
                while orders.message().await?.is_some() {
                    count += 1;
                }
                Ok::<_, Status>(count)
            });
        }
        // New calls on the same connections, while the server drains.
        for client in &clients {
            match client
                .order_list(OrderSearchParams::default())
                .start()
                .await
            {
                Ok(_) => panic!("a server that drains has begun a call"),
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
            refused += 1;
        }
        while let Some(read) = reads.join_next().await {
            assert_eq!(read.expect("no panic").expect("none is dropped"), ORDERS);
        }
        let ended = Instant::now();
        serve.running.finish().success();
        slowest = slowest.max(ended.elapsed());
    }
    println!(
        "{DRAINS} drains of {EXPORTS} exports: none dropped, {refused} new calls UNAVAILABLE, \
         the process ended at most {slowest:.1?} after the last"
    );
    assert!(slowest < END, "{slowest:?}");
}

fn client(address: &str) -> StreamServiceClient {
    StreamServiceClient::new(Channel::connect(address).expect("an address"))
}
