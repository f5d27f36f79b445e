//! `streamway serve` as a process: what it makes, what it says, how it ends.

use std::fs;

use streamway::Code;
use streamway::client::{Requests, Responses};
use streamway::health::ServingStatus;
use streamway::health::proto::HealthCheckRequest;
use streamway::health::proto::health::HealthClient;
use streamway::proto::StreamSumData;
use streamway::proto::stream_service::StreamServiceClient;

use super::process::run;
use super::serving::{Serving, folder, get, sample};

#[test]
fn a_server_makes_its_folder_and_orders_and_says_where_to_find_them() {
    let folder = folder();
    let server = Serving::start(folder.path(), &["--sample-orders", "500"]);
    let data = folder.path().join("streamway-data");
    assert!(data.is_dir());
    let banner = &server.banner;
    let data = data.canonicalize().expect("a folder");
    assert!(
        banner.contains(&format!("{}, 500 orders", data.display())),
        "{banner}"
    );
    assert!(
        banner.contains(
            "received 4194304 bytes, sent unlimited bytes; 10000 calls; stall 1m, drain 30s"
        ),
        "{banner}"
    );
    let line = format!(
        "grpcurl -plaintext -d '{{\"limit\":3}}' {} proto.StreamService/OrderList\n",
        server.grpc.trim_start_matches("http://")
    );
    assert!(banner.ends_with(&line), "{banner}");

    let orders = run(&["orders", "--addr", &server.grpc]);
    let expected: String = (0..500).map(sample).collect();
    assert_eq!((orders.code, orders.stdout), (Some(0), expected));
    for service in ["", "proto.StreamService"] {
        let health = run(&["health", "--addr", &server.grpc, service]);
        assert_eq!(
            (health.code, health.stdout.as_str()),
            (Some(0), "SERVING\n")
        );
    }

    // The HTTP front is there too.
    let orders = get(banner, "/testOrderList");
    assert!(orders.contains(&sample(499)), "{orders}");
    let sums = get(banner, "/testSumData");
    assert!(
        sums.ends_with("{\"numbers\":[0,1,2,3,4,5,6,7,8,9]}\n"),
        "{sums}"
    );
    let images = get(banner, "/testUploadImage");
    assert!(
        images.contains("\"fileCount\":10,\"byteCount\":90,"),
        "{images}"
    );
    server.stop();
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let folder = folder();
    let server = Serving::start(folder.path(), &["--sample-orders", "7"]);
    let file = folder.path().join("photo.jpg");
    fs::write(&file, [0xFF; 300_000]).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let upload = run(&["upload", "--addr", &server.grpc, file]);
    assert_eq!(upload.code, Some(0), "{}", upload.stderr);
    let stored: serde_json::Value = serde_json::from_str(&upload.stdout).expect("JSON");
    let url = stored["url"].as_str().expect("a text");
    let path = url.trim_start_matches("file://").to_owned();
    server.stop();

    // How many orders are asked for counts only when there are none.
    let server = Serving::start(
        folder.path(),
        &["--sample-orders", "9", "--http-addr", "off"],
    );
    assert!(server.banner.contains(", 7 orders"), "{}", server.banner);
    assert!(server.banner.contains("HTTP    off\n"), "{}", server.banner);
    assert_eq!(fs::read(path).expect("the image").len(), 300_000);
    server.stop();
}

#[test]
fn the_message_limits_hold_for_the_service_and_leave_the_others_alone() {
    let folder = folder();
    let limits = [
        "--max-send-message-bytes",
        "16",
        "--max-recv-message-bytes",
        "16",
    ];
    let server = Serving::start(
        folder.path(),
        &[&["--sample-orders", "9"], &limits[..]].concat(),
    );
    let orders = run(&["orders", "--addr", &server.grpc]);
    assert_eq!((orders.code, orders.stdout.as_str()), (Some(64 + 8), ""));
    assert!(
        orders
            .stderr
            .contains("trying to send message larger than max ("),
        "{}",
        orders.stderr
    );
    let file = folder.path().join("a-name-that-is-longer");
    fs::write(&file, "").expect("a file");
    let upload = run(&[
        "upload",
        "--addr",
        &server.grpc,
        file.to_str().expect("UTF-8"),
    ]);
    assert_eq!(upload.code, Some(64 + 8));
    assert!(
        upload.stderr.contains("received message larger than max ("),
        "{}",
        upload.stderr
    );
    let health = run(&["health", "--addr", &server.grpc, "proto.StreamService"]);
    assert_eq!(health.code, Some(0));
    server.stop();
}

#[test]
fn what_is_taken_by_another_server_is_said_and_nothing_is_touched() {
    let folder = folder();
    let server = Serving::start(folder.path(), &["--sample-orders", "1"]);
    let address = server.grpc.trim_start_matches("http://");

    let elsewhere = folder.path().join("elsewhere");
    let args = [
        "serve",
        "--grpc-addr",
        address,
        "--data-dir",
        elsewhere.to_str().expect("UTF-8"),
    ];
    let second = run(&args);
    assert_eq!((second.code, second.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        second.stderr,
        format!(
            "error: cannot listen on {address}: address in use; another streamway? choose --grpc-addr\n"
        )
    );
    assert!(!elsewhere.exists());

    let mut args = vec!["serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off"];
    let data = folder.path().join("streamway-data");
    args.extend(["--data-dir", data.to_str().expect("UTF-8")]);
    let second = run(&args);
    assert_eq!(second.code, Some(1));
    assert!(
        second
            .stderr
            .contains("another server holds the data folder"),
        "{}",
        second.stderr
    );
    server.stop();
}

/// A call that goes on until it is told to end.
async fn open_call(server: &Serving) -> (Requests<StreamSumData>, Responses<StreamSumData>) {
    let client = StreamServiceClient::new(server.channel());
    let call = client.sum_data().start().await.expect("taken");
    let (tx, mut rx) = call.split();
    rx.message()
        .await
        .expect("begun")
        .expect("the first counter");
    (tx, rx)
}

#[tokio::test]
async fn a_drain_says_not_serving_and_lets_the_calls_in_flight_end() {
    let folder = folder();
    let mut server = Serving::start(folder.path(), &["--sample-orders", "1"]);
    let (mut tx, mut rx) = open_call(&server).await;
    let health = HealthClient::new(server.channel());
    let watch = health.watch(HealthCheckRequest::default());
    let mut watch = watch.start().await.expect("taken");
    let status = watch.message().await.expect("open").expect("a status");
    assert_eq!(status.status(), ServingStatus::Serving);

    server.process.signal("TERM");
    let status = watch.message().await.expect("open").expect("a status");
    assert_eq!(status.status(), ServingStatus::NotServing);
    server.draining();
    tx.send(&StreamSumData::default()).await.expect("goes on");
    assert_eq!(
        rx.message()
            .await
            .expect("goes on")
            .expect("the next")
            .number,
        1
    );
    tx.finish();
    assert_eq!(rx.message().await.expect("ends well"), None);
    assert_eq!(server.process.ended().code, Some(0));
}

#[tokio::test]
async fn at_the_drain_limit_calls_end_with_unavailable_and_the_exit_code_says_so() {
    let folder = folder();
    let args = ["--sample-orders", "1", "--drain-timeout", "100ms"];
    let server = Serving::start(folder.path(), &args);
    let (_tx, mut rx) = open_call(&server).await;
    server.process.signal("INT");
    let status = rx.message().await.expect_err("cut");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(server.process.ended().code, Some(1));
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let folder = folder();
    let args = ["--sample-orders", "1", "--drain-timeout", "1h"];
    let mut server = Serving::start(folder.path(), &args);
    let (_tx, _rx) = open_call(&server).await;
    server.process.signal("INT");
    server.draining();
    server.process.signal("TERM");
    assert_eq!(server.process.ended().code, Some(143));
}
