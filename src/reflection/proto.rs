//! The generated code of the reflection services, servers and clients.

/// Every message, and the service's newer name, `grpc.reflection.v1`.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/grpc.reflection.v1.rs"));
}

/// The service's older name, `grpc.reflection.v1alpha`, with the messages of [`v1`].
pub mod v1alpha {
    include!(concat!(env!("OUT_DIR"), "/grpc.reflection.v1alpha.rs"));
}

/// The encoded descriptors of both packages.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reflection.bin"));
