//! Exports: the same records whoever asks whom, pauses that lose nothing, and cuts that resume exactly.

use super::records::{ORDER_LIST, assert_same, export, exported, get, grpcurl, stored};
use super::servers::{Gateway, GrpcGo, Serve};
use super::support::run;

const ORDERS: usize = 200_000;

#[test]
fn our_client_and_our_front_give_the_records_of_the_store() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &[]);
    let orders = stored(data.path());
    assert_eq!(orders.len(), ORDERS);
    assert_same(&exported(&serve.addr, &[]), &orders);
    assert_same(&get(&serve.http, "/testOrderList"), &orders);
}

#[test]
fn our_client_and_our_gateway_give_the_records_of_grpc_go() {
    let go = GrpcGo::serve(ORDERS as u32);
    let records = grpcurl(&[&go.addr, ORDER_LIST]);
    assert_eq!(records.len(), ORDERS);
    assert_same(&exported(&go.addr, &[]), &records);
    let gateway = Gateway::start(&go.addr);
    assert_same(&get(&gateway.http, "/testOrderList"), &records);
    // The other two exchanges, while both are there.
    let numbers = get(&gateway.http, "/testSumData");
    assert_eq!(numbers, [r#"{"numbers":[0,1,2,3,4,5,6,7,8,9]}"#]);
    let uploaded = get(&gateway.http, "/testUploadImage").concat();
    assert!(
        uploaded.starts_with(r#"{"message":"success","#),
        "{uploaded}"
    );
}

#[test]
fn our_client_reads_an_export_of_grpc_go_with_pauses() {
    let go = GrpcGo::serve(ORDERS as u32);
    let paused = export(&go.addr, &[]);
    let mut count = 0;
    for step in [1, 1000, 100_000] {
        count += paused.lines().take(step).count();
        // A pause as long as another export takes.
        run("INTEROP", &["orders", "-addr", &go.addr]).success();
    }
    assert_eq!(count + paused.finish().success().len(), ORDERS);
}

#[test]
fn an_export_whose_client_is_killed_resumes_with_exactly_the_rest() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &[]);
    let orders = stored(data.path());
    for cut in [1, 4321, 150_000] {
        let killed = export(&serve.addr, &[]);
        let begin: Vec<_> = killed.lines().take(cut).collect();
        drop(killed);
        assert_same(&begin, &orders[..cut]);
        let rest = exported(&serve.addr, &["--after-id", &id(&begin)]);
        assert_same(&rest, &orders[cut..]);
    }
}

#[test]
fn an_export_whose_server_is_killed_resumes_at_the_next_start() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &[]);
    let orders = stored(data.path());
    let cut = export(&serve.addr, &[]);
    let mut begin: Vec<_> = cut.lines().take(1000).collect();
    drop(serve);
    let (more, said) = cut.finish().exit_code(64 + 14);
    begin.extend(more);
    assert!(begin.len() < ORDERS);
    let resume = format!("go on with --after-id {}", id(&begin));
    assert!(said.contains(&resume), "{said}");

    let serve = Serve::start(data.path(), &[]);
    let rest = exported(&serve.addr, &["--after-id", &id(&begin)]);
    assert_same(&[begin, rest].concat(), &orders);
}

/// The id of the last record.
pub(crate) fn id(records: &[String]) -> String {
    let last = records
        .last()
        .and_then(|last| last.strip_prefix(r#"{"order":{"id":"#));
    let (id, _) = last
        .and_then(|last| last.split_once(','))
        .expect("a record");
    id.to_owned()
}
