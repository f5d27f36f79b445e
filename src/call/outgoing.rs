//! Frames on their way to h2: gathered into DATA of a good size, handed over as far as there is capacity.
//!
//! In: messages. Out: h2 DATA. Not here: when headers and the end are sent, which differs between the roles.

use std::mem;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use h2::SendStream;

use super::status_of;
use crate::codec::frame::{EncodeError, PREFIX_LEN, put_frame, sendable};
use crate::codec::{Codec, Encoding, MessageLimits};
use crate::status::Status;

/// How many bytes are gathered before h2 is asked to send: one DATA frame of the default largest size. One frame
/// for each small message costs twelve times the CPU.
const COALESCE_BYTES: usize = 16 * 1024;

/// Room for that, and for a message of usual size that is over it.
const ROOM_BYTES: usize = COALESCE_BYTES + COALESCE_BYTES / 8;

/// What is encoded and not yet h2's: at most [`COALESCE_BYTES`] and one message.
#[derive(Debug)]
pub(crate) struct Outgoing {
    buffer: BytesMut,
    limits: MessageLimits,
    /// Bytes at the head of the buffer that belong to a frame whose beginning is h2's already.
    cut: usize,
    /// Where the last frame in the buffer begins, if it does there.
    last: usize,
    /// The buffer has had a large message.
    large: bool,
    /// The sending task, waiting for the buffer to empty.
    room: Option<Waker>,
    messages: u64,
    bytes: u64,
    /// Bytes that were in the buffer when it was lent.
    lent: Option<u64>,
}

impl Outgoing {
    pub(crate) fn new(limits: MessageLimits) -> Self {
        Self {
            buffer: BytesMut::new(),
            limits,
            cut: 0,
            last: 0,
            large: false,
            room: None,
            messages: 0,
            bytes: 0,
            lent: None,
        }
    }

    /// The buffer, for whoever encodes elsewhere: until [`Outgoing::give_back`] there is nothing to hand over.
    pub(crate) fn lend(&mut self) -> Self {
        self.lent = Some(self.buffer.len() as u64);
        Self {
            buffer: mem::take(&mut self.buffer),
            room: None,
            lent: None,
            ..*self
        }
    }

    /// What was lent, and what has come to it.
    pub(crate) fn give_back(&mut self, lent: Self) {
        self.buffer = lent.buffer;
        self.last = lent.last;
        self.large = lent.large;
        self.messages = lent.messages;
        self.bytes = lent.bytes;
        self.lent = None;
    }

    /// Whether more may come of what is lent.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether enough is gathered to be worth a DATA frame.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= COALESCE_BYTES
    }

    /// Whether what h2 has so far ends inside a frame.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut > 0
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of these bytes are h2's.
    pub(crate) fn handed_bytes(&self) -> u64 {
        self.bytes - self.lent.unwrap_or(self.buffer.len() as u64)
    }

    /// Adds one message, compressed with `encoding`.
    #[inline]
    pub(crate) fn encode<T: Codec>(
        &mut self,
        message: &T,
        encoding: Encoding,
    ) -> Result<(), EncodeError> {
        let len = sendable(message.encoded_len(), self.limits.max_send_bytes)?;
        let before = self.buffer.len();
        // How short one gets that is compressed is not known before.
        let frame = match encoding == Encoding::Identity {
            true => PREFIX_LEN.saturating_add(len),
            false => PREFIX_LEN,
        };
        if self.buffer.capacity() < ROOM_BYTES && (before > 0 || self.messages == 0) {
            self.make_room(frame);
        }
        let mut unfinished = Unfinished {
            buffer: &mut self.buffer,
            whole: before,
        };
        put_frame(message, len, encoding, unfinished.buffer)?;
        unfinished.whole = unfinished.buffer.len();
        drop(unfinished);
        self.last = before;
        self.messages += 1;
        self.bytes += (self.buffer.len() - before) as u64;
        Ok(())
    }

    /// Makes room for the first frame, or for many behind those that have gathered.
    #[cold]
    fn make_room(&mut self, frame: usize) {
        if self.messages == 0 {
            // It may be the only one, and `Bytes` are made of a room that is full without another allocation.
            self.buffer = BytesMut::with_capacity(frame);
            return;
        }
        // One allocation for each DATA frame, or none when it was copied, instead of growing to it; what is left of the last goes
        // to the front. A message alone, as between two turns of the client, takes what it needs.
        let room = ROOM_BYTES.max(COALESCE_BYTES.saturating_add(frame));
        let gathered = self.buffer.len();
        self.buffer.reserve(room.saturating_sub(gathered));
    }

    /// Hands `stream` as much as it has capacity for now; registers no waker.
    pub(crate) fn push(&mut self, stream: &mut SendStream<Bytes>) -> Result<(), Status> {
        while !self.buffer.is_empty() {
            stream.reserve_capacity(self.buffer.len());
            let ready = stream.capacity().min(self.buffer.len());
            if ready == 0 {
                return Ok(());
            }
            let data = self.take(ready);
            let sent = stream.send_data(data, false);
            sent.map_err(|error| status_of(&error))?;
        }
        if let Some(waker) = self.room.take() {
            waker.wake();
        }
        Ok(())
    }

    /// The next `length` bytes. What h2 holds is bounded in bytes and not in buffers: a few must not keep the room of many
    /// alive, so they are copied out, and the next messages go behind the rest.
    fn take(&mut self, length: usize) -> Bytes {
        self.cut = match length > self.last {
            // Usually it is the last frame that is cut, the one that has filled the buffer.
            true => self.buffer.len().saturating_sub(length),
            false => cut_after(&self.buffer, self.cut, length),
        };
        self.last = self.last.saturating_sub(length);
        self.large |= self.buffer.len() > 2 * ROOM_BYTES;
        if length == self.buffer.len() && (self.messages == 1 || self.large) {
            // The only message so far leaves with its room; and that of a large one is not kept for small ones.
            self.large = false;
            return mem::take(&mut self.buffer).freeze();
        }
        if self.buffer.len() > ROOM_BYTES || length.saturating_mul(2) >= self.buffer.capacity() {
            return self.buffer.split_to(length).freeze();
        }
        let few = Bytes::copy_from_slice(self.buffer.get(..length).unwrap_or_default());
        match few.len() == self.buffer.len() {
            // From the start again: room behind what is gone would have to be asked for with the next message.
            true => self.buffer.clear(),
            false => self.buffer.advance(few.len()),
        }
        few
    }

    /// Hands `stream` everything; pending while it lacks capacity.
    pub(crate) fn poll_push(
        &mut self,
        stream: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        loop {
            self.push(stream)?;
            if self.buffer.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(status_of(&error))),
                // No longer streaming: reset, or the peer is gone. Whoever reads the stream learns why.
                Poll::Ready(None) => {
                    return Poll::Ready(Err(Status::cancelled("the stream is closed")));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Hands over what is left together with the end of the stream.
    pub(crate) fn finish(&mut self, stream: &mut SendStream<Bytes>) -> Result<(), Status> {
        let sent = stream.send_data(self.buffer.split().freeze(), true);
        sent.map_err(|error| status_of(&error))
    }

    /// Pending while the buffer is full; then the task in `cx` is woken when it has emptied.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_full() {
            self.room = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Nothing will be sent any more: lets go of the buffer and of whoever waits for it.
    pub(crate) fn close(&mut self) {
        self.buffer = BytesMut::new();
        if let Some(waker) = self.room.take() {
            waker.wake();
        }
    }
}

/// A frame that is being encoded: should its codec panic, nothing of it stays.
struct Unfinished<'a> {
    buffer: &'a mut BytesMut,
    /// How much of the buffer is whole frames.
    whole: usize,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.buffer.truncate(self.whole);
    }
}

/// How much of a frame is left over when `sent` bytes of `buffer` go, which begins with the last `cut` bytes of a frame.
fn cut_after(buffer: &[u8], cut: usize, sent: usize) -> usize {
    let mut end = cut;
    while end < sent {
        let Some(&[_, a, b, c, d]) = buffer.get(end..).and_then(<[u8]>::first_chunk) else {
            break;
        };
        end += PREFIX_LEN + u32::from_be_bytes([a, b, c, d]) as usize;
    }
    end.saturating_sub(sent)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::codec::{DecodeError, Payload, RawMessage};

    #[test]
    fn a_few_bytes_that_h2_holds_do_not_keep_the_room_of_many() {
        let mut outgoing = Outgoing::new(MessageLimits::default());
        let message = RawMessage(Bytes::from_static(b"0123456789"));
        let mut held = Vec::new();
        for _ in 0..COALESCE_BYTES / 15 {
            for _ in 0..2 {
                let encoded = outgoing.encode(&message, Encoding::Identity);
                encoded.expect("within the limit");
            }
            held.push(outgoing.take(30));
        }
        assert!(outgoing.is_empty());
        // All are copies, but perhaps the first.
        let shared = held.into_iter().filter(|held| !held.is_unique()).count();
        assert!(shared <= 1, "{shared}");
        assert!(outgoing.buffer.capacity() >= ROOM_BYTES);
        assert!(outgoing.buffer.capacity() <= 2 * ROOM_BYTES);
    }

    #[test]
    fn messages_that_leave_one_by_one_take_no_more_room_than_they_need() {
        let mut outgoing = Outgoing::new(MessageLimits::default());
        let message = RawMessage(Bytes::from_static(b"0123456789"));
        let encode = |outgoing: &mut Outgoing| {
            let encoded = outgoing.encode(&message, Encoding::Identity);
            encoded.expect("within the limit");
        };
        for _ in 0..100 {
            encode(&mut outgoing);
            assert!(outgoing.buffer.capacity() < 64);
            outgoing.take(15);
        }
        encode(&mut outgoing);
        encode(&mut outgoing);
        assert!(outgoing.buffer.capacity() >= ROOM_BYTES, "they gather");
        outgoing.take(30);
        assert!(outgoing.buffer.capacity() >= ROOM_BYTES, "it is kept");
    }

    #[test]
    fn a_message_that_may_be_the_only_one_fills_its_room_and_leaves_with_it() {
        for len in [0, 2, 1000, 2 * ROOM_BYTES] {
            let mut outgoing = Outgoing::new(MessageLimits::default());
            let message = RawMessage(Bytes::from(vec![1; len]));
            let encoded = outgoing.encode(&message, Encoding::Identity);
            encoded.expect("within the limit");
            assert_eq!(outgoing.buffer.capacity(), PREFIX_LEN + len);
            let room = outgoing.buffer.as_ptr();
            let taken = outgoing.take(PREFIX_LEN + len);
            assert_eq!(taken.as_ptr(), room);
            assert!(taken.is_unique(), "{len}");
        }
    }

    #[test]
    fn what_is_left_in_a_buffer_goes_to_its_front_and_does_not_make_it_grow() {
        let mut outgoing = Outgoing::new(MessageLimits::default());
        let message = RawMessage(Bytes::from_static(b"0123456789"));
        for left in [15, 1500, 3000] {
            for n in 0.. {
                if n == 400 {
                    outgoing.take(6000 - left);
                }
                if outgoing.is_full() {
                    break;
                }
                let encoded = outgoing.encode(&message, Encoding::Identity);
                encoded.expect("within the limit");
            }
            assert!(outgoing.buffer.capacity() <= ROOM_BYTES, "{left}");
            outgoing.take(outgoing.buffer.len());
        }
    }

    #[test]
    fn the_room_of_a_large_message_is_kept_by_none_that_has_left() {
        let mut outgoing = Outgoing::new(MessageLimits::default());
        let encode = |outgoing: &mut Outgoing, len| {
            let message = RawMessage(Bytes::from(vec![1; len]));
            let encoded = outgoing.encode(&message, Encoding::Identity);
            encoded.expect("within the limit");
        };
        for len in [1 << 20, 1 << 22, 10, 1 << 21, 3 * ROOM_BYTES] {
            encode(&mut outgoing, len);
            let mut last = Bytes::new();
            while !outgoing.is_empty() {
                // As h2 takes it, and drops it when it is sent.
                last = outgoing.take(COALESCE_BYTES.min(outgoing.buffer.len()));
            }
            assert!(last.is_unique() || len == 10, "{len}");
        }
        for _ in 0..100 {
            encode(&mut outgoing, 10);
            outgoing.take(15);
            assert!(outgoing.buffer.capacity() <= ROOM_BYTES);
        }
    }

    #[test]
    fn wherever_it_is_cut_twice_it_knows_the_rest_of_the_frame_as_its_bytes_say_it() {
        let total = 3 * (PREFIX_LEN + 4);
        for (first, second) in
            (1..total).flat_map(|first| (1..=total - first).map(move |n| (first, n)))
        {
            let mut outgoing = Outgoing::new(MessageLimits::default());
            for n in 0..3 {
                let message = RawMessage(Bytes::from_static(b"1234"));
                // Where it lies, and in what was lent.
                let encoded = match n {
                    0 => outgoing.encode(&message, Encoding::Identity),
                    _ => {
                        let mut lent = outgoing.lend();
                        let encoded = lent.encode(&message, Encoding::Identity);
                        outgoing.give_back(lent);
                        encoded
                    }
                };
                encoded.expect("within the limit");
            }
            for sent in [first, second] {
                let said = cut_after(&outgoing.buffer, outgoing.cut, sent);
                outgoing.take(sent);
                assert_eq!(outgoing.cut, said, "{first}, then {second}");
            }
        }
    }

    #[test]
    fn what_is_lent_is_counted_as_it_was_and_what_comes_back_as_it_is() {
        let mut outgoing = Outgoing::new(MessageLimits::default());
        let message = RawMessage(Bytes::from_static(b"12345"));
        let encode = |outgoing: &mut Outgoing| {
            let encoded = outgoing.encode(&message, Encoding::Identity);
            encoded.expect("within the limit");
        };
        encode(&mut outgoing);
        outgoing.take(4);
        let counts = |outgoing: &Outgoing| {
            let (messages, bytes) = (outgoing.messages(), outgoing.bytes());
            (messages, bytes, outgoing.handed_bytes())
        };
        let mut lent = outgoing.lend();
        encode(&mut lent);
        assert_eq!(counts(&outgoing), (1, 10, 4));
        assert!(outgoing.is_lent() && outgoing.is_cut() && !lent.is_lent());
        outgoing.give_back(lent);
        assert_eq!(counts(&outgoing), (2, 20, 4));
        assert!(!outgoing.is_lent() && outgoing.is_cut());
    }

    /// A codec that panics in the middle of a message.
    #[derive(Debug)]
    struct Panics;

    impl Codec for Panics {
        fn encoded_len(&self) -> usize {
            8
        }

        fn encode(&self, buffer: &mut BytesMut) {
            buffer.extend_from_slice(b"half");
            panic!("on purpose");
        }

        fn decode(_: Payload<'_>) -> Result<Self, DecodeError> {
            Ok(Self)
        }
    }

    #[test]
    fn nothing_stays_of_a_message_whose_codec_panics() {
        let mut outgoing = Outgoing::new(MessageLimits::default());
        let message = RawMessage(Bytes::from_static(b"12345"));
        let encoded = outgoing.encode(&message, Encoding::Identity);
        encoded.expect("within the limit");
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            outgoing.encode(&Panics, Encoding::Identity)
        }));
        encoded.expect_err("it panics");
        assert_eq!((outgoing.messages(), outgoing.bytes()), (1, 10));
        assert_eq!((outgoing.buffer.len(), outgoing.handed_bytes()), (10, 0));
    }

    #[test]
    fn wherever_a_buffer_is_cut_the_rest_of_the_frame_is_known() {
        // Frames of 8, 5 and 6 bytes.
        let frames = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x01x";
        let ends = [8, 13, 19];
        for first in 1..frames.len() {
            let cut = cut_after(frames, 0, first);
            let next = ends
                .iter()
                .find(|end| **end >= first)
                .expect("the last is the length");
            assert_eq!(cut, next - first, "cut at {first}");
            let rest = &frames[first..];
            for second in 1..rest.len() {
                let sent = first + second;
                let next = ends
                    .iter()
                    .find(|end| **end >= sent)
                    .expect("the last is the length");
                assert_eq!(
                    cut_after(rest, cut, second),
                    next - sent,
                    "{first}, {second}"
                );
            }
        }
    }
}
