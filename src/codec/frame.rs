//! The gRPC message framing: `*Length-Prefixed-Message` (PROTOCOL-HTTP2.md, "Requests").
//!
//! In: the bytes of a stream, cut anywhere. Out: whole payloads with their Compressed-Flag; and the way back.
//! Not here: decompression (`compression`), messages ([`Codec`]), window credit (`call::recv`).

use std::fmt;
use std::mem;

use bytes::{Buf, Bytes, BytesMut};

use super::compression::{CompressError, Encoding, compress};
use super::{Codec, MessageLimits, Payload};
use crate::status::Status;

/// 1-byte Compressed-Flag + 4-byte big-endian Message-Length.
pub const PREFIX_LEN: usize = 5;

/// One Length-Prefixed-Message without its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The Compressed-Flag: the payload is compressed with the stream's `grpc-encoding`.
    pub compressed: bool,
    /// The bytes after the prefix.
    pub payload: Bytes,
}

/// Cuts a stream of bytes into frames.
///
/// [`push`](Self::push) bytes as they come, then take frames with [`next_frame`](Self::next_frame) until it has
/// none, and at the end of the stream ask [`finish`](Self::finish) whether it ended between two frames. The frames
/// and the error are the same however the bytes were cut.
///
/// A frame that lies in one chunk is read there, without a copy; only a frame that spans chunks is gathered, and for
/// it nothing is reserved on the word of its prefix: memory grows with what has arrived, to at most twice that.
#[derive(Debug)]
pub struct FrameDecoder {
    max_message_bytes: usize,
    /// The unread rest of the newest chunk.
    chunk: Bytes,
    /// The head of a frame whose rest has not arrived; non-empty only when `chunk` was read to its end.
    gathered: BytesMut,
    state: State,
}

/// Prefix ──5 bytes──▶ Payload ──len bytes──▶ Prefix; any error ──▶ Failed
#[derive(Debug)]
enum State {
    Prefix,
    Payload { compressed: bool, len: usize },
    Failed(FrameError),
}

/// Why bytes are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The Compressed-Flag is neither 0 nor 1.
    BadFlag(u8),
    /// The prefix announces more than the limit, both in bytes.
    TooLarge {
        /// What the prefix says.
        len: usize,
        /// The receive limit.
        limit: usize,
    },
    /// The stream ended inside a prefix or a payload.
    Truncated {
        /// Bytes of the unfinished frame that arrived, prefix included.
        received: usize,
        /// Bytes it should have had, as far as is known.
        expected: usize,
    },
}

impl FrameDecoder {
    /// A decoder that refuses frames whose message must be over `max_message_bytes`. A compressed payload may be a little
    /// longer than that; its message is measured when it is decompressed.
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            chunk: Bytes::new(),
            gathered: BytesMut::new(),
            state: State::Prefix,
        }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        if !self.chunk.is_empty() {
            // Only when the caller did not take every frame first.
            self.gathered.extend_from_slice(&self.chunk);
        }
        self.chunk = chunk;
    }

    /// The next whole frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError::BadFlag`] and [`FrameError::TooLarge`], as soon as the prefix is there. The decoder stays
    /// failed: every later call returns the same error.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.read_frame(|compressed, payload| {
            Ok(Frame {
                compressed,
                payload: payload.into_bytes(),
            })
        })
    }

    /// What `read` makes of the next whole frame, its Compressed-Flag and its payload; otherwise as
    /// [`next_frame`](Self::next_frame).
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame), and those of `read`, which leave the decoder at the next frame.
    #[inline]
    pub fn read_frame<T, E: From<FrameError>>(
        &mut self,
        read: impl FnOnce(bool, Payload<'_>) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        if matches!(self.state, State::Prefix) && self.gathered.is_empty() {
            if self.chunk.is_empty() {
                return Ok(None);
            }
            // The usual frame lies in one chunk: no reference is counted for it.
            if let Some((prefix, rest)) = self.chunk.split_first_chunk() {
                let (compressed, len) = read_prefix(*prefix, self.max_message_bytes)
                    .inspect_err(|error| self.state = State::Failed(*error))?;
                if let Some(payload) = rest.get(..len) {
                    let whole = rest.len() == len;
                    let message = read(compressed, Payload::within(&self.chunk, payload));
                    match whole {
                        // Between two frames nothing is held of what the last ones came in.
                        true => self.chunk = Bytes::new(),
                        false => self.chunk.advance(PREFIX_LEN.saturating_add(len)),
                    }
                    return message.map(Some);
                }
            }
        }
        match self.gather_frame()? {
            Some(frame) => read(frame.compressed, Payload::from(&frame.payload)).map(Some),
            None => Ok(None),
        }
    }

    /// The next frame, however it is cut.
    fn gather_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            match self.state {
                State::Failed(error) => return Err(error),
                State::Prefix => {
                    let Some(prefix) = self.take(PREFIX_LEN) else {
                        return Ok(None);
                    };
                    let prefix = prefix.first_chunk().expect("as long as was taken");
                    let (compressed, len) = read_prefix(*prefix, self.max_message_bytes)
                        .inspect_err(|error| self.state = State::Failed(*error))?;
                    self.state = State::Payload { compressed, len };
                }
                State::Payload { compressed, len } => {
                    let Some(payload) = self.take(len) else {
                        return Ok(None);
                    };
                    self.state = State::Prefix;
                    return Ok(Some(Frame {
                        compressed,
                        payload,
                    }));
                }
            }
        }
    }

    /// Whether the next frame, as far as its first byte has come, says that it is compressed.
    pub(crate) fn next_is_compressed(&self) -> bool {
        match self.state {
            State::Payload { compressed, .. } => compressed,
            State::Prefix => self.gathered.first().or(self.chunk.first()) == Some(&1),
            State::Failed(_) => false,
        }
    }

    /// What the end of the stream means here.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] inside a frame, and the error that the decoder failed with before.
    pub fn finish(&self) -> Result<(), FrameError> {
        let received = self.buffered();
        match self.state {
            State::Failed(error) => Err(error),
            State::Prefix if received == 0 => Ok(()),
            State::Prefix => Err(FrameError::Truncated {
                received,
                expected: PREFIX_LEN,
            }),
            State::Payload { len, .. } => Err(FrameError::Truncated {
                received: received.saturating_add(PREFIX_LEN),
                expected: len.saturating_add(PREFIX_LEN),
            }),
        }
    }

    /// Bytes held that are not yet part of a frame handed out.
    pub fn buffered(&self) -> usize {
        self.gathered.len().saturating_add(self.chunk.len())
    }

    /// `n` bytes in a row, or `None` and everything gathered when there are not as many.
    fn take(&mut self, n: usize) -> Option<Bytes> {
        if self.gathered.is_empty() {
            if self.chunk.len() >= n {
                return Some(self.chunk.split_to(n));
            }
        } else if self.buffered() >= n {
            let missing = n.saturating_sub(self.gathered.len());
            self.gathered
                .extend_from_slice(&self.chunk.split_to(missing));
            let taken = self.gathered.split_to(n).freeze();
            if self.gathered.is_empty() {
                // Let go of the allocation: it now belongs to the frame.
                self.gathered = BytesMut::new();
            }
            return Some(taken);
        }
        self.gathered.extend_from_slice(&mem::take(&mut self.chunk));
        None
    }
}

#[inline]
fn read_prefix(prefix: [u8; PREFIX_LEN], limit: usize) -> Result<(bool, usize), FrameError> {
    let [flag, len @ ..] = prefix;
    let compressed = match flag {
        0 => false,
        1 => true,
        flag => return Err(FrameError::BadFlag(flag)),
    };
    // Checked before anything is held for it: a peer's promise buys no memory.
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > payload_limit(compressed, limit) {
        return Err(FrameError::TooLarge { len, limit });
    }
    Ok((compressed, len))
}

/// The limit is one on messages, and a message that does not compress is a little longer in its compressed form: by less
/// than one part in 128 and 64 bytes in every format here.
#[inline]
fn payload_limit(compressed: bool, limit: usize) -> usize {
    match compressed {
        true => limit.saturating_add(limit / 128).saturating_add(64),
        false => limit,
    }
}

/// Appends `message` to `buffer` as one frame, compressed when `encoding` is not [`Encoding::Identity`].
///
/// # Errors
/// [`EncodeError::TooLarge`] when the message is over `limits.max_send_bytes` before compression. `buffer` is as
/// before then.
#[inline]
pub fn encode_frame<T: Codec>(
    message: &T,
    encoding: Encoding,
    limits: MessageLimits,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    let len = sendable(message.encoded_len(), limits.max_send_bytes)?;
    put_frame(message, len, encoding, buffer)
}

/// `len`, when a message may be so long.
#[inline]
pub(crate) fn sendable(len: usize, limit: usize) -> Result<usize, EncodeError> {
    let limit = limit.min(u32::MAX as usize);
    match len > limit {
        true => Err(EncodeError::TooLarge { len, limit }),
        false => Ok(len),
    }
}

/// As [`encode_frame`], of a message of `len` bytes, which is [`sendable`].
#[inline]
pub(crate) fn put_frame<T: Codec>(
    message: &T,
    len: usize,
    encoding: Encoding,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    if encoding == Encoding::Identity {
        put_prefix(buffer, false, len);
        message.encode(buffer);
        return Ok(());
    }
    let mut plain = BytesMut::with_capacity(len);
    message.encode(&mut plain);
    let packed = compress(encoding, &plain).map_err(EncodeError::Compress)?;
    put_prefix(buffer, true, sendable(packed.len(), usize::MAX)?);
    buffer.extend_from_slice(&packed);
    Ok(())
}

/// Appends the prefix of `len` bytes, for which there is room then.
#[inline]
fn put_prefix(buffer: &mut BytesMut, compressed: bool, len: usize) {
    buffer.reserve(len.saturating_add(PREFIX_LEN));
    let bytes = u32::try_from(len).expect("the length was checked against the send limit");
    let [a, b, c, d] = bytes.to_be_bytes();
    buffer.extend_from_slice(&[u8::from(compressed), a, b, c, d]);
}

/// Why a message cannot be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// Over the send limit, both in bytes.
    TooLarge {
        /// The message's size.
        len: usize,
        /// The send limit.
        limit: usize,
    },
    /// The compressor failed.
    Compress(CompressError),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadFlag(flag) => {
                write!(f, "compressed flag of a message is {flag}, neither 0 nor 1")
            }
            // grpc-go's text, which people search for.
            Self::TooLarge { len, limit } => {
                write!(f, "received message larger than max ({len} vs. {limit})")
            }
            Self::Truncated { received, expected } => {
                write!(
                    f,
                    "stream ended inside a message: {received} of {expected} bytes received"
                )
            }
        }
    }
}

impl std::error::Error for FrameError {}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // grpc-go's text, which people search for.
            Self::TooLarge { len, limit } => {
                write!(
                    f,
                    "trying to send message larger than max ({len} vs. {limit})"
                )
            }
            Self::Compress(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Codes: grpc/doc/statuscodes.md.
impl From<FrameError> for Status {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge { .. } => Self::resource_exhausted(error.to_string()),
            FrameError::BadFlag(_) | FrameError::Truncated { .. } => {
                Self::internal(error.to_string())
            }
        }
    }
}

impl From<EncodeError> for Status {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::TooLarge { .. } => Self::resource_exhausted(error.to_string()),
            EncodeError::Compress(_) => Self::internal(error.to_string()),
        }
    }
}

/// The fuzz target `frame`: any cutting of the bytes gives the same frames and the same error as a reference that
/// sees them whole, and nothing is held beyond twice what has arrived.
///
/// The first byte chooses the limit, the second how the bytes are cut.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let [limit, cut, wire @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit).saturating_mul(4);
    let (expected, expected_end) = reference(wire, limit);

    let mut decoder = FrameDecoder::new(limit);
    let mut frames = Vec::new();
    let mut end = Ok(());
    let step = usize::from(*cut % 17).saturating_add(1);
    'stream: for chunk in wire.chunks(step) {
        decoder.push(Bytes::copy_from_slice(chunk));
        let (held, arrived) = (decoder.gathered.capacity(), wire.len());
        assert!(held <= arrived.saturating_mul(2).max(64), "{held}");
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    end = Err(error);
                    break 'stream;
                }
            }
        }
    }
    assert_eq!(frames, expected);
    assert_eq!(end.and_then(|()| decoder.finish()), expected_end);
}

/// What the decoder must do, in the fewest lines.
#[cfg(any(test, fuzzing))]
fn reference(mut wire: &[u8], limit: usize) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut frames = Vec::new();
    loop {
        let received = wire.len();
        let Some((&[flag, a, b, c, d], rest)) = wire.split_first_chunk() else {
            let expected = PREFIX_LEN;
            let error = FrameError::Truncated { received, expected };
            let end = if received == 0 { Ok(()) } else { Err(error) };
            return (frames, end);
        };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if flag > 1 {
            return (frames, Err(FrameError::BadFlag(flag)));
        } else if len > payload_limit(flag == 1, limit) {
            return (frames, Err(FrameError::TooLarge { len, limit }));
        }
        let Some((payload, rest)) = rest.split_at_checked(len) else {
            let expected = len.saturating_add(PREFIX_LEN);
            return (frames, Err(FrameError::Truncated { received, expected }));
        };
        frames.push(Frame {
            compressed: flag == 1,
            payload: Bytes::copy_from_slice(payload),
        });
        wire = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Three messages: "ab", nothing, and a compressed "xyz".
    const WIRE: &[u8] = b"\0\0\0\0\x02ab\0\0\0\0\0\x01\0\0\0\x03xyz";

    fn drain(decoder: &mut FrameDecoder) -> Vec<(bool, Bytes)> {
        std::iter::from_fn(|| decoder.next_frame().expect("legal"))
            .map(|frame| (frame.compressed, frame.payload))
            .collect()
    }

    #[test]
    fn a_message_decodes_the_same_however_it_is_cut() {
        let expected: [(bool, Bytes); 3] = [
            (false, "ab".into()),
            (false, Bytes::new()),
            (true, "xyz".into()),
        ];
        for first in 0..=WIRE.len() {
            for second in first..=WIRE.len() {
                let parts = [&WIRE[..first], &WIRE[first..second], &WIRE[second..]];
                let parts = parts.map(Bytes::copy_from_slice);
                let mut decoder = FrameDecoder::new(3);
                let mut got = Vec::new();
                for part in &parts {
                    decoder.push(part.clone());
                    got.extend(drain(&mut decoder));
                }
                assert_eq!(got, expected, "cut at {first} and {second}");
                assert_eq!(decoder.finish(), Ok(()));
                drop(got);
                let held = parts
                    .iter()
                    .any(|part| !part.is_empty() && !part.is_unique());
                assert!(!held, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn bytes_pushed_before_the_frames_are_taken_are_not_lost() {
        let mut decoder = FrameDecoder::new(3);
        for byte in WIRE.chunks(4) {
            decoder.push(Bytes::copy_from_slice(byte));
        }
        assert_eq!(drain(&mut decoder).len(), 3);
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn the_limit_is_checked_from_the_prefix_alone() {
        for (limit, len) in [(4, 3u8), (4, 4), (4, 5), (0, 0), (0, 1)] {
            let mut decoder = FrameDecoder::new(limit);
            decoder.push(Bytes::copy_from_slice(&[0, 0, 0, 0, len]));
            let expected = match usize::from(len) {
                len if len > limit => Err(FrameError::TooLarge { len, limit }),
                _ => Ok(()),
            };
            assert_eq!(decoder.next_frame().map(drop), expected);
        }
    }

    #[test]
    fn a_compressed_frame_may_be_a_little_over_the_limit_of_its_message() {
        for (flag, len, legal) in [(0, 1001, false), (1, 1071, true), (1, 1072, false)] {
            let mut decoder = FrameDecoder::new(1000);
            let [high, low] = u16::to_be_bytes(len);
            decoder.push(Bytes::copy_from_slice(&[flag, 0, 0, high, low]));
            assert_eq!(decoder.next_frame().is_ok(), legal, "{flag} {len}");
        }
    }

    #[test]
    fn a_promise_of_four_gigabytes_reserves_nothing() {
        let mut decoder = FrameDecoder::new(usize::MAX);
        decoder.push(Bytes::from_static(b"\0\xff\xff\xff\xffab"));
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.gathered.capacity() < 128);
    }

    #[test]
    fn an_error_is_final() {
        let mut decoder = FrameDecoder::new(10);
        decoder.push(Bytes::from_static(b"\x02\0\0\0\0"));
        decoder.push(Bytes::from_static(b"\0\0\0\0\0"));
        assert_eq!(decoder.next_frame(), Err(FrameError::BadFlag(2)));
        assert_eq!(decoder.next_frame(), Err(FrameError::BadFlag(2)));
        assert_eq!(decoder.finish(), Err(FrameError::BadFlag(2)));
    }

    #[test]
    fn an_end_inside_a_prefix_or_a_payload_is_told() {
        for end in 0..WIRE.len() {
            let mut decoder = FrameDecoder::new(3);
            decoder.push(Bytes::copy_from_slice(&WIRE[..end]));
            drain(&mut decoder);
            let whole = [0, 7, 12].contains(&end);
            let finished = decoder.finish();
            assert_eq!(finished.is_ok(), whole, "ended at {end}: {finished:?}");
        }
    }

    #[test]
    fn a_message_over_the_send_limit_leaves_the_buffer_as_it_was() {
        let message = super::super::RawMessage(Bytes::from_static(b"12345"));
        let mut buffer = BytesMut::from(&b"before"[..]);
        let limits = MessageLimits::default().send(4);
        let error =
            encode_frame(&message, Encoding::Identity, limits, &mut buffer).expect_err("5 > 4");
        let text = "trying to send message larger than max (5 vs. 4)";
        assert_eq!(error.to_string(), text);
        assert_eq!(buffer, "before");
        encode_frame(&message, Encoding::Identity, limits.send(5), &mut buffer).expect("5 = 5");
        assert_eq!(buffer, &b"before\0\0\0\0\x0512345"[..]);
    }

    #[test]
    fn the_length_of_a_prefix_is_big_endian() {
        let message = super::super::RawMessage(Bytes::from(vec![0; 258]));
        let mut buffer = BytesMut::new();
        let limits = MessageLimits::default();
        encode_frame(&message, Encoding::Identity, limits, &mut buffer).expect("small");
        assert_eq!(buffer.get(..PREFIX_LEN), Some(&[0, 0, 0, 1, 2][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_as_the_reference_says(data in any::<Vec<u8>>()) {
            fuzz(&data);
        }

        #[test]
        fn frames_survive_any_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in any::<u8>(),
        ) {
            let mut data = vec![10, cut];
            for payload in &payloads {
                data.extend_from_slice(&[0, 0, 0, 0, u8::try_from(payload.len()).expect("short")]);
                data.extend_from_slice(payload);
            }
            fuzz(&data);
        }
    }
}
