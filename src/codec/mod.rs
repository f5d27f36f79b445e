//! Messages ⇄ bytes: how a type is put in a gRPC frame and taken out of it, and how large it may be.
//!
//! In: bytes of the stream, or messages. Out: the other one. Not here: HTTP/2, flow control, statuses of whole
//! calls. Nothing in this layer is async or knows a socket.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod algorithms;
pub(crate) mod compression;
pub mod frame;
mod payload;
mod prost;

use std::fmt;

use bytes::{Bytes, BytesMut};

pub use self::compression::Encoding;
pub use self::payload::Payload;

/// How a message type is written to and read from the payload of a frame.
///
/// Every `prost::Message` has it; [`RawMessage`] passes bytes through. Implement it for another format.
pub trait Codec: Sized {
    /// Exactly how many bytes [`Codec::encode`] will write.
    fn encoded_len(&self) -> usize;

    /// Appends the message to `payload`.
    ///
    /// `Sender::send` calls it under the lock of its call: whoever sends on the call, sets its headers or trailers or its
    /// encoding waits until this is done, its connection too, and an `encode` that does so itself waits for ever.
    fn encode(&self, payload: &mut BytesMut);

    /// Reads a message from a whole payload.
    ///
    /// # Errors
    /// When the bytes are no such message; the call then ends with INTERNAL (statuscodes.md).
    fn decode(payload: Payload<'_>) -> Result<Self, DecodeError>;

    /// Reads a message from a whole payload into this one, which keeps what it has allocated.
    ///
    /// A format that can merge does, as protobuf: what the payload does not say stays as it was. Others replace the
    /// message, which is the default.
    ///
    /// # Errors
    /// As [`Codec::decode`]. The message may have some of its new fields then.
    fn merge(&mut self, payload: Payload<'_>) -> Result<(), DecodeError> {
        *self = Self::decode(payload)?;
        Ok(())
    }
}

/// A payload passed through as it is, for proxies and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawMessage(pub Bytes);

impl Codec for RawMessage {
    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, payload: &mut BytesMut) {
        payload.extend_from_slice(&self.0);
    }

    fn decode(payload: Payload<'_>) -> Result<Self, DecodeError> {
        Ok(Self(payload.into_bytes()))
    }
}

/// Why a payload is not the message it should be.
#[derive(Clone, Debug)]
pub struct DecodeError(String);

impl DecodeError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot decode the message: {}", self.0)
    }
}

impl std::error::Error for DecodeError {}

/// How large one message may be, before compression, in each direction.
///
/// Over a limit the call ends with RESOURCE_EXHAUSTED; messages before it arrive, the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Largest message accepted, in bytes. Default [`MessageLimits::DEFAULT_MAX_RECV_BYTES`].
    pub max_recv_bytes: usize,
    /// Largest message sent, in bytes. Default: as large as a frame can say, 4 GiB - 1.
    pub max_send_bytes: usize,
}

impl MessageLimits {
    /// 4 MiB, as in every other implementation: a peer cannot make this side hold more for one message.
    pub const DEFAULT_MAX_RECV_BYTES: usize = 4 * 1024 * 1024;

    /// These limits with another receive limit, in bytes.
    #[must_use]
    pub const fn recv(self, max_recv_bytes: usize) -> Self {
        Self {
            max_recv_bytes,
            ..self
        }
    }

    /// These limits with another send limit, in bytes.
    #[must_use]
    pub const fn send(self, max_send_bytes: usize) -> Self {
        Self {
            max_send_bytes,
            ..self
        }
    }
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            max_recv_bytes: Self::DEFAULT_MAX_RECV_BYTES,
            max_send_bytes: u32::MAX as usize,
        }
    }
}
