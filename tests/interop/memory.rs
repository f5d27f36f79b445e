//! What an export costs the server in memory: the same for any number of orders, and for a client that stops reading.

use super::records::export;
use super::servers::Serve;
use super::support::run;

/// Peak RSS of the whole server, the making of its store included.
const MAX_PEAK_KIB: u64 = 24 * 1024;

/// What two looks at the RSS of a server that does the same again may differ by.
const NOISE_KIB: u64 = 1024;

#[test]
fn an_export_of_200_000_orders_takes_less_than_24_mib() {
    export_in_bounded_memory(200_000);
}

#[test]
fn an_export_of_2_000_000_orders_takes_less_than_24_mib() {
    export_in_bounded_memory(2_000_000);
}

fn export_in_bounded_memory(orders: usize) {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &["--sample-orders", &orders.to_string()]);
    let peak = || serve.running.memory_kib("VmHWM");
    let whole = || {
        let summary = run("INTEROP", &["orders", "-addr", &serve.addr]).success();
        assert_eq!(summary, [format!("{orders} 0 {}", orders - 1)]);
    };
    let started = peak();
    whole();
    let exported = peak();

    let stopped = export(&serve.addr, &[]);
    stopped.line();
    // It is stopped for as long as another export takes, and for as long as one more.
    whole();
    let before = serve.running.memory_kib("VmRSS");
    whole();
    let after = serve.running.memory_kib("VmRSS");
    println!(
        "{orders} orders, KiB: peak {started} at start, {exported} after an export, {} with a stopped client; RSS {before}, then {after}",
        peak()
    );
    assert!(peak() < MAX_PEAK_KIB, "{} KiB", peak());
    assert!(after < before + NOISE_KIB, "{before} KiB, then {after} KiB");
    assert_eq!(1 + stopped.lines().count(), orders);
    assert!(peak() < MAX_PEAK_KIB, "{} KiB", peak());
}
