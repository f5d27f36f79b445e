//! The typed details of a status: `google.rpc.Status` in `grpc-status-details-bin`.
//!
//! In: messages packed as `google.protobuf.Any`. Out: a status that carries them. Not here: the standard detail
//! messages themselves (`google.rpc.BadRequest` and its kin); generate those you use.

use bytes::Bytes;
use prost::Message;
use prost_types::Any;

use super::Status;

/// `google.rpc`, generated from `proto/google/rpc/status.proto`.
mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/google.rpc.rs"));
}

impl Status {
    /// Attaches `details`, packed in a `google.rpc.Status` whose code and message equal this one's.
    #[must_use]
    pub fn with_details(self, details: impl IntoIterator<Item = Any>) -> Self {
        let packed = proto::Status {
            code: self.code().number().into(),
            message: self.message().to_owned(),
            details: details.into_iter().collect(),
        };
        self.with_raw_details(Bytes::from(packed.encode_to_vec()))
    }

    /// The details, in the order they were attached; empty when there are none.
    ///
    /// # Errors
    /// When [`Status::raw_details`] is not a `google.rpc.Status`.
    pub fn details(&self) -> Result<Vec<Any>, prost::DecodeError> {
        Ok(proto::Status::decode(self.raw_details().clone())?.details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_come_back_in_order_and_repeat_the_code_and_message() {
        let any = |n: u8| Any {
            type_url: format!("type.googleapis.com/test.{n}"),
            value: vec![n],
        };
        let status = Status::not_found("gone").with_details([any(1), any(2)]);
        assert_eq!(status.details().expect("well-formed"), [any(1), any(2)]);
        let packed = proto::Status::decode(status.raw_details().clone()).expect("well-formed");
        assert_eq!((packed.code, packed.message.as_str()), (5, "gone"));
        assert!(Status::not_found("").details().expect("none").is_empty());
    }
}
