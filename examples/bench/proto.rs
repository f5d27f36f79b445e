//! What build.rs makes of benches/peers/bench.proto.

#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "each program uses a part of it"
)]

include!(concat!(env!("OUT_DIR"), "/bench/proto.rs"));
