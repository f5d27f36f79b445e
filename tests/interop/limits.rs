//! Messages over a limit of 16 bytes: RESOURCE_EXHAUSTED in grpc-go's words, and the connection goes on.

use std::time::Duration;

use streamway::proto::stream_service::StreamServiceClient;
use streamway::proto::{Image, OrderSearchParams, StreamImageList, StreamSumData};
use streamway::{Channel, Code, MessageLimits, Status};

use super::records::export;
use super::servers::{GrpcGo, Serve};
use super::support::run;

const LONG: Duration = Duration::from_secs(120);

/// What grpc-go says of a call that failed.
fn grpc_go_fails(command: &str, addr: &str, more: &[&str]) -> (Vec<String>, String) {
    let args = [&[command, "-addr", addr], more].concat();
    run("INTEROP", &args).exit_code(1)
}

#[test]
fn an_order_over_the_send_limit_ends_the_export_with_a_trailer() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--max-send-message-bytes", "16"]);
    let (orders, said) = grpc_go_fails("orders", &serve.addr, &[]);
    assert_eq!(orders, ["0 - -"]);
    let text = "status ResourceExhausted: trying to send message larger than max (47 vs. 16)";
    assert!(
        said.starts_with(&format!("{text}\ntrailers: received")),
        "{said}"
    );
}

#[test]
fn orders_before_the_one_over_the_send_limit_arrive() {
    let data = tempfile::tempdir().expect("a folder");
    // The first order whose id takes two bytes is the first over the limit.
    let serve = Serve::start(data.path(), &["--max-send-message-bytes", "49"]);
    let (orders, said) = grpc_go_fails("orders", &serve.addr, &[]);
    assert_eq!(orders, ["128 0 127"]);
    let text = "status ResourceExhausted: trying to send message larger than max (50 vs. 49)";
    assert_eq!(said, format!("{text}\ntrailers: received"));
}

#[test]
fn an_image_over_the_receive_limit_ends_the_upload_with_a_trailer() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--max-recv-message-bytes", "16"]);
    let (_, said) = grpc_go_fails("upload", &serve.addr, &[]);
    let text = "status ResourceExhausted: received message larger than max (29 vs. 16)";
    assert!(
        said.starts_with(&format!("{text}\ntrailers: received")),
        "{said}"
    );
    let images = data.path().join("images");
    assert!(images.read_dir().expect("a folder").next().is_none());
}

#[test]
fn an_order_over_the_client_s_receive_limit_ends_the_export() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &[]);
    let go = GrpcGo::serve(200_000);
    let text = "received message larger than max (47 vs. 16)";
    for addr in [&serve.addr, &go.addr] {
        let (orders, said) = grpc_go_fails("orders", addr, &["-max-recv", "16"]);
        assert_eq!(orders, ["0 - -"]);
        assert!(
            said.contains("status ResourceExhausted: ") && said.contains("(47 vs. 16)"),
            "{said}"
        );
        let ours = export(addr, &["--max-recv-message-bytes", "16"]);
        let (orders, said) = ours.finish().exit_code(64 + 8);
        assert!(orders.is_empty());
        assert_eq!(said, format!("error: RESOURCE_EXHAUSTED: {text}"));
    }
}

#[tokio::test]
async fn the_next_call_on_the_connection_works() {
    let data = tempfile::tempdir().expect("a folder");
    let limits = [
        "--max-send-message-bytes",
        "16",
        "--max-recv-message-bytes",
        "16",
    ];
    let serve = Serve::start(data.path(), &limits);
    let client = client(&serve.addr);
    assert_eq!(
        export_fails(&client, MessageLimits::default()).await,
        "trying to send message larger than max (47 vs. 16)"
    );
    sum(&client).await;
    assert_eq!(
        upload_fails(&client).await,
        "received message larger than max (29 vs. 16)"
    );
    sum(&client).await;
    one_connection(&serve, 4);
}

#[tokio::test]
async fn the_next_call_on_the_connection_works_after_the_client_s_own_limit() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &[]);
    let client = client(&serve.addr);
    let limits = MessageLimits::default().recv(16);
    assert_eq!(
        export_fails(&client, limits).await,
        "received message larger than max (47 vs. 16)"
    );
    sum(&client).await;
    one_connection(&serve, 2);
}

fn client(addr: &str) -> StreamServiceClient {
    StreamServiceClient::new(Channel::connect(&format!("http://{addr}")).expect("an address"))
}

/// The message of the status that an export ends with, before any order.
async fn export_fails(client: &StreamServiceClient, limits: MessageLimits) -> String {
    let request = client.order_list(OrderSearchParams::default());
    let orders = request.limits(limits).timeout(LONG).start().await;
    let mut orders = orders.expect("a call");
    exhausted(&orders.message().await.expect_err("no order fits"))
}

async fn upload_fails(client: &StreamServiceClient) -> String {
    let upload = client.upload_file().timeout(LONG).start().await;
    let mut upload = upload.expect("a call");
    let image = Image {
        file_name: "grpc-go-0.txt".into(),
        file: "000000000\n".into(),
        ..Image::default()
    };
    let sent = upload.send(&StreamImageList { image: Some(image) }).await;
    exhausted(&match sent {
        Err(status) => status,
        Ok(()) => upload.finish().await.expect_err("no image fits"),
    })
}

fn exhausted(status: &Status) -> String {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    status.message().to_owned()
}

/// A whole call that fits the limits.
async fn sum(client: &StreamServiceClient) {
    let call = client.sum_data().timeout(LONG).start().await;
    let (mut tx, mut rx) = call.expect("a call").split();
    for number in 0..3 {
        let answer = rx.message().await.expect("OK").expect("an answer");
        assert_eq!(answer.number, number);
        let next = StreamSumData {
            number: 1,
            ..StreamSumData::default()
        };
        tx.send(&next).await.expect("OK");
    }
    tx.finish();
    assert_eq!(
        rx.message().await.expect("OK").map(|last| last.total),
        Some(3)
    );
    assert_eq!(rx.message().await.expect("OK"), None);
}

/// That these calls came on one connection, as the server tells.
fn one_connection(serve: &Serve, calls: usize) {
    let peers: Vec<_> = (0..calls)
        .map(|_| {
            let ended = serve.running.said("call ended ");
            let peer = ended.split(' ').find(|field| field.starts_with("peer="));
            peer.expect("a peer").to_owned()
        })
        .collect();
    assert!(peers.iter().all(|peer| *peer == peers[0]), "{peers:?}");
}
