//! The generated code of `proto/stream.proto`, the service of this package: messages, server and client.

include!(concat!(env!("OUT_DIR"), "/proto.rs"));

/// The encoded descriptors of the package, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stream.bin"));
