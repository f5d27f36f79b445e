//! Stock grpc-go clients against our server: many small messages on one stream, pauses, cancellation, deadlines.

use super::servers::Serve;
use super::support::run;

/// A server, and what a command of the grpc-go program against it must print.
fn grpc_go_prints(args: &[&str], expected: &str) -> Serve {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &[]);
    let (command, more) = args.split_first().expect("a command");
    let args = [&[*command, "-addr", &serve.addr], more].concat();
    assert_eq!(run("INTEROP", &args).success(), [expected]);
    serve
}

#[test]
fn grpc_go_sends_200_000_numbers_on_one_stream_and_gets_every_answer() {
    grpc_go_prints(&["sum", "-count", "200000"], "ok 200001");
}

#[test]
fn grpc_go_sends_numbers_in_lock_step_and_gets_every_answer() {
    grpc_go_prints(&["sum", "-count", "20000", "-window", "1"], "ok 20001");
}

#[test]
fn grpc_go_uploads_200_000_small_parts_on_one_stream() {
    let serve = grpc_go_prints(&["upload", "-count", "200000", "-files", "10"], "ok");
    let ended = serve.running.said("/proto.StreamService/UploadFile");
    assert!(ended.contains("received_messages=200000 "), "{ended}");
}

#[test]
fn grpc_go_pauses_for_a_second_and_gets_every_order() {
    for at in ["1", "100000"] {
        grpc_go_prints(&["orders", "-pause-at", at], "200000 0 199999");
    }
}

#[test]
fn grpc_go_cancels_an_export_and_the_server_sees_it() {
    let serve = grpc_go_prints(&["cancel"], "ok");
    let ended = serve.running.said("/proto.StreamService/OrderList");
    assert!(ended.contains("CANCELLED"), "{ended}");
}

#[test]
fn grpc_go_lets_a_deadline_pass() {
    grpc_go_prints(&["deadline", "-timeout", "60s"], "ok");
}
