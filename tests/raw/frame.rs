//! HTTP/2 frames as they stand on the wire (RFC 9113, sections 4.1 and 6), legal or not.

use bytes::{Buf, Bytes, BytesMut};

use super::hpack;

/// What a client says first (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, kind, flags and stream of a frame, in bytes.
const HEAD_LEN: usize = 9;

/// RFC 9113, section 11.2.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    /// None that is registered.
    pub(crate) const UNKNOWN: u8 = 0xbe;
}

/// RFC 9113, section 6; each frame kind has its own.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// RFC 9113, section 6.5.2.
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// None that is registered.
    pub(crate) const UNKNOWN: u16 = 0xbeef;
}

/// RFC 9113, section 7.
pub(crate) mod error {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const PROTOCOL_ERROR: u32 = 1;
    pub(crate) const INTERNAL_ERROR: u32 = 2;
    pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(crate) const SETTINGS_TIMEOUT: u32 = 4;
    pub(crate) const STREAM_CLOSED: u32 = 5;
    pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const COMPRESSION_ERROR: u32 = 9;
    pub(crate) const CONNECT_ERROR: u32 = 10;
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
    pub(crate) const INADEQUATE_SECURITY: u32 = 12;
    pub(crate) const HTTP_1_1_REQUIRED: u32 = 13;
}

/// One frame. Its length on the wire is that of its payload; a length that lies is written with
/// [`super::Output::send_raw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Bytes,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    pub(crate) fn data(stream: u32, bytes: impl Into<Bytes>) -> Self {
        Self::new(kind::DATA, 0, stream, bytes)
    }

    /// A whole header block, its strings as they are given.
    pub(crate) fn headers(stream: u32, headers: &[(&str, &str)]) -> Self {
        Self::block(stream, hpack::block(headers)).with(flag::END_HEADERS)
    }

    /// The beginning of a header block, or with [`flag::END_HEADERS`] all of it.
    pub(crate) fn block(stream: u32, block: impl Into<Bytes>) -> Self {
        Self::new(kind::HEADERS, 0, stream, block)
    }

    /// More of a header block.
    pub(crate) fn continuation(stream: u32, block: impl Into<Bytes>) -> Self {
        Self::new(kind::CONTINUATION, 0, stream, block)
    }

    pub(crate) fn reset(stream: u32, error: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, error.to_be_bytes().to_vec())
    }

    pub(crate) fn settings(settings: &[(u16, u32)]) -> Self {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        Self::new(kind::SETTINGS, 0, 0, payload)
    }

    pub(crate) fn settings_ack() -> Self {
        Self::settings(&[]).with(flag::ACK)
    }

    pub(crate) fn ping(payload: [u8; 8]) -> Self {
        Self::new(kind::PING, 0, 0, payload.to_vec())
    }

    pub(crate) fn go_away(last_stream: u32, error: u32, debug: &[u8]) -> Self {
        let payload = [&last_stream.to_be_bytes()[..], &error.to_be_bytes(), debug].concat();
        Self::new(kind::GOAWAY, 0, 0, payload)
    }

    /// More window for a stream; for the connection when the stream is 0.
    pub(crate) fn window_update(stream: u32, increment: u32) -> Self {
        Self::new(
            kind::WINDOW_UPDATE,
            0,
            stream,
            increment.to_be_bytes().to_vec(),
        )
    }

    /// The same with more flags.
    pub(crate) fn with(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    pub(crate) fn end_stream(self) -> Self {
        self.with(flag::END_STREAM)
    }

    /// The same with `padding` bytes behind it and the byte before it that says so.
    pub(crate) fn padded(mut self, padding: u8) -> Self {
        let zeros = vec![0; usize::from(padding)];
        self.payload = [&[padding][..], &self.payload, &zeros].concat().into();
        self.with(flag::PADDED)
    }

    pub(crate) fn is_ack(&self) -> bool {
        matches!(self.kind, kind::SETTINGS | kind::PING) && self.flags & flag::ACK != 0
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & flag::END_STREAM != 0
    }

    /// What a RST_STREAM or a GOAWAY gives as its reason.
    pub(crate) fn error(&self) -> Option<u32> {
        match self.kind {
            kind::RST_STREAM => self.number(0),
            kind::GOAWAY => self.number(4),
            _ => None,
        }
    }

    /// The four bytes of the payload at `from`.
    pub(crate) fn number(&self, from: usize) -> Option<u32> {
        let bytes = self.payload.get(from..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// The payload of DATA and HEADERS without padding and without a priority.
    pub(crate) fn content(&self) -> Bytes {
        let mut content = self.payload.clone();
        if self.flags & flag::PADDED != 0 && !content.is_empty() {
            let padding = usize::from(content.get_u8());
            content.truncate(content.len().saturating_sub(padding));
        }
        if self.kind == kind::HEADERS && self.flags & flag::PRIORITY != 0 {
            content.advance(content.len().min(5));
        }
        content
    }

    pub(crate) fn encode(&self, wire: &mut Vec<u8>) {
        let length = u32::try_from(self.payload.len()).expect("less than 16 MiB");
        wire.extend_from_slice(&length.to_be_bytes()[1..]);
        wire.extend_from_slice(&[self.kind, self.flags]);
        wire.extend_from_slice(&self.stream.to_be_bytes());
        wire.extend_from_slice(&self.payload);
    }

    /// Takes the first frame off `wire`, when it is whole.
    pub(crate) fn decode(wire: &mut BytesMut) -> Option<Self> {
        let &[a, b, c, kind, flags, e, f, g, h] = wire.first_chunk::<HEAD_LEN>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if wire.len() < HEAD_LEN + length {
            return None;
        }
        wire.advance(HEAD_LEN);
        Some(Self {
            kind,
            flags,
            stream: u32::from_be_bytes([e & 0x7f, f, g, h]),
            payload: wire.split_to(length).freeze(),
        })
    }
}
