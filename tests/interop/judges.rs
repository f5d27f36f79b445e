//! The judges among themselves: what the other tests compare with has to be right first.

use super::records::{ORDER_LIST, grpcurl};
use super::servers::GrpcGo;
use super::support::run;

#[test]
fn grpcurl_and_grpc_go_agree_on_the_records_of_grpc_go() {
    let go = GrpcGo::serve(1000);
    let dumped = run("INTEROP", &["dump", "-addr", &go.addr]).success();
    assert_eq!(dumped.len(), 1000);
    let first =
        r#"{"order":{"id":0,"orderSn":"20240101000000order_sn","date":"2024-01-01 00:00:00"}}"#;
    assert_eq!(dumped[0], first);
    assert_eq!(grpcurl(&[&go.addr, ORDER_LIST]), dumped);
}

#[test]
fn grpc_go_answers_its_own_clients() {
    let go = GrpcGo::serve(1000);
    for (command, more, expected) in [
        ("sum", ["-count", "1000"], "ok 1001"),
        ("upload", ["-count", "1000"], "ok"),
        ("orders", ["-pause-at", "1000"], "1000 0 999"),
        ("deadline", ["-timeout", "60s"], "ok"),
    ] {
        let lines = run(
            "INTEROP",
            &[&[command, "-addr", go.addr.as_str()][..], &more].concat(),
        )
        .success();
        assert_eq!(lines, [expected], "{command}");
    }
}

#[test]
fn grpc_go_cancels_an_export_of_its_own() {
    // More than the windows take: a shorter one can be over before it is cancelled.
    let go = GrpcGo::serve(200_000);
    let cancel = ["cancel", "-addr", &go.addr, "-after", "1"];
    assert_eq!(run("INTEROP", &cancel).success(), ["ok"]);
}
