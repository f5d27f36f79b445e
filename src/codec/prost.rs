//! Protobuf messages, by `prost`.

use bytes::BytesMut;
use prost::Message;

use super::{Codec, DecodeError, Payload};

impl<M: Message + Default> Codec for M {
    fn encoded_len(&self) -> usize {
        Message::encoded_len(self)
    }

    fn encode(&self, payload: &mut BytesMut) {
        self.encode_raw(payload);
    }

    fn decode(payload: Payload<'_>) -> Result<Self, DecodeError> {
        Message::decode(payload).map_err(|error| DecodeError::new(error.to_string()))
    }

    fn merge(&mut self, payload: Payload<'_>) -> Result<(), DecodeError> {
        Message::merge(self, payload).map_err(|error| DecodeError::new(error.to_string()))
    }
}
