//! SIGTERM while an export runs to a client that does not read.

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
