//! The service as grpcurl finds it: what reflection says, and the right answers of all three methods.

use std::fs;

use sha2::{Digest, Sha256};

use super::records::{ORDER_LIST, assert_same, grpcurl, stored};
use super::servers::{GrpcGo, Serve};
use super::support::run;

#[test]
fn grpcurl_lists_the_services() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
    let services = run("GRPCURL", &["-plaintext", &serve.addr, "list"]).success();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "proto.StreamService",
    ];
    assert_eq!(services, expected);
}

#[test]
fn grpcurl_describes_the_service_with_our_comments() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
    let describe = ["-plaintext", &serve.addr, "describe", "proto.StreamService"];
    let described = run("GRPCURL", &describe).success();
    for rpc in [
        "rpc OrderList ( .proto.OrderSearchParams ) returns ( stream .proto.StreamOrderList );",
        "rpc UploadFile ( stream .proto.StreamImageList ) returns ( .proto.UploadResponse );",
        "rpc SumData ( stream .proto.StreamSumData ) returns ( stream .proto.StreamSumData );",
    ] {
        assert!(described.iter().any(|line| line.trim() == rpc), "{rpc}");
    }
    // Every comment of the service, as it stands in the file.
    let proto = include_str!("../../proto/stream.proto");
    let (_, from) = proto.split_once("\npackage proto;\n").expect("a package");
    let (service, _) = from.split_once("\n}\n").expect("the end of the service");
    let comments: Vec<_> = service
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("//"))
        .collect();
    assert!(comments.len() > 5);
    for comment in comments {
        assert!(
            described.iter().any(|line| line.trim() == comment),
            "{comment}"
        );
    }
}

#[test]
fn grpcurl_gets_all_orders_of_the_store() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &[]);
    let orders = stored(data.path());
    assert_eq!(orders.len(), 200_000);
    assert_same(&grpcurl(&[&serve.addr, ORDER_LIST]), &orders);
    // And they are the orders that the service has always had.
    let go = GrpcGo::serve(200_000);
    assert_same(
        &run("INTEROP", &["dump", "-addr", &go.addr]).success(),
        &orders,
    );

    let search = r#"{"afterId":7,"limit":100,"toDate":"2024-01-01 00:00:09"}"#;
    assert_same(
        &grpcurl(&["-d", search, &serve.addr, ORDER_LIST]),
        &orders[8..10],
    );
}

#[test]
fn grpcurl_uploads_files_in_parts() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
    let images = r#"{"image":{"fileName":"a.txt","file":"file "}}
        {"image":{"fileName":"a.txt","file":"data","content":"AP8="}}
        {"image":{"fileName":"b.bin"}}"#;
    let receipt = grpcurl(&["-d", images, &serve.addr, "proto.StreamService/UploadFile"]).concat();
    let mut rest = receipt
        .strip_prefix(r#"{"fileCount":"2","byteCount":"11","files":["#)
        .expect(&receipt);
    for (name, bytes) in [("a.txt", &b"file data\x00\xFF"[..]), ("b.bin", b"")] {
        let sum: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let size = bytes.len();
        let said = format!(r#"{{"name":"{name}","size":"{size}","sha256":"{sum}","url":"file://"#);
        let (path, more) = rest
            .strip_prefix(&said)
            .and_then(|rest| rest.split_once(r#""}"#))
            .expect(&receipt);
        assert_eq!(fs::read(path).expect("a file"), bytes);
        rest = more.trim_start_matches(',');
    }
    assert_eq!(rest, "]}");
}

#[test]
fn grpcurl_sums_in_lock_step() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
    let numbers = r#"{"number":5}{"number":-7}{"number":2147483647}"#;
    let answers = grpcurl(&["-d", numbers, &serve.addr, "proto.StreamService/SumData"]);
    let expected = [
        r#"{"number":0,"sum":"0","total":"0"}"#,
        r#"{"number":1,"sum":"5","total":"5"}"#,
        r#"{"number":2,"sum":"-6","total":"-2"}"#,
        r#"{"number":3,"sum":"2147483649","total":"2147483645"}"#,
    ];
    assert_eq!(answers, expected);
}
