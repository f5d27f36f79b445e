//! What build.rs makes of benches/peers/bench.proto.

#![expect(missing_docs, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/bench/proto.rs"));
