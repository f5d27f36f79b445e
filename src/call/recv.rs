//! The receiving half of a call: h2 DATA → frames → messages, and window credit back when they are consumed.
//!
//! In: an h2 receive stream. Out: messages, and an honest end. Not here: what the end means to a client, which
//! needs trailers.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;

use super::room::{Room, Taken};
use super::{Shared, pace};
use crate::codec::compression::decompress;
use crate::codec::frame::FrameDecoder;
use crate::codec::{Codec, DecodeError, Encoding, Payload, RawMessage};
use crate::status::Status;

/// From how many bytes on their credit is given back before the consumer asks for more. 512: a thousand calls that read
/// less and wait hold half of the connection's window; and a small message is answered for 2 % less.
const PROMPT_BYTES: usize = 512;

/// The bytes of one direction of a stream, cut into payloads.
#[derive(Debug)]
pub(crate) struct Inbound {
    body: RecvStream,
    frames: FrameDecoder,
    encoding: Encoding,
    max_recv_bytes: usize,
    /// What the unfinished message takes; without bound when there is none.
    room: Option<Taken>,
    /// What an h2 error means to this role.
    status_of: fn(&h2::Error) -> Status,
    /// Bytes taken from h2 whose window credit was not given back.
    uncredited: usize,
    compressed: bool,
    /// The peer has ended the body.
    ended: bool,
    messages: u64,
    bytes: u64,
}

impl Inbound {
    pub(crate) fn new(
        body: RecvStream,
        encoding: Encoding,
        max_recv_bytes: usize,
        status_of: fn(&h2::Error) -> Status,
    ) -> Self {
        Self {
            body,
            frames: FrameDecoder::new(max_recv_bytes),
            encoding,
            max_recv_bytes,
            room: None,
            status_of,
            uncredited: 0,
            compressed: false,
            ended: false,
            messages: 0,
            bytes: 0,
        }
    }

    /// Shares `room` with other calls.
    pub(crate) fn within(mut self, room: &Room) -> Self {
        self.room = Some(room.take());
        self
    }

    /// What `decode` makes of the next message of what has come; `None` when it is not there, or not whole.
    #[inline]
    pub(crate) fn next_message<T>(&mut self, decode: impl Decode<T>) -> Result<Option<T>, Status> {
        let read = self.frames.read_frame(|compressed, payload| {
            self.messages += 1;
            self.compressed = compressed;
            let message = match compressed {
                false => decode(payload),
                true => decode(Payload::from(&plain(
                    payload,
                    self.encoding,
                    self.max_recv_bytes,
                )?)),
            };
            // statuscodes.md: INTERNAL on both sides.
            message.map_err(|error| Status::internal(error.to_string()))
        });
        if self.uncredited >= PROMPT_BYTES && self.frames.buffered() == 0 {
            // Now and not when the consumer asks for more: it may take its time, and others wait for the window.
            self.give_credit();
        }
        read
    }

    /// Waits for more bytes; false when the stream has ended, between two messages.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Status>> {
        // The consumer waits for more, so it is done with everything before; what is left in the decoder is one
        // unfinished message, which the receive limit bounds, and those of all calls together the room.
        if let Some(room) = &mut self.room {
            room.resize(self.frames.buffered())?;
        }
        self.give_credit();
        Poll::Ready(match ready!(self.body.poll_data(cx)) {
            Some(Ok(chunk)) => {
                self.uncredited += chunk.len();
                self.bytes += chunk.len() as u64;
                self.frames.push(chunk);
                Ok(true)
            }
            Some(Err(error)) => Err((self.status_of)(&error)),
            None => {
                self.ended = true;
                self.frames.finish()?;
                Ok(false)
            }
        })
    }

    /// Whether it is known by now that nothing more comes, and nothing is left.
    fn is_over(&self) -> bool {
        self.frames.finish().is_ok() && self.body.is_end_stream()
    }

    /// Lets go of what others wait for.
    fn let_go(&mut self) {
        self.room = None;
        self.give_credit();
    }

    /// Waits for the trailers behind the last message; `None` when the stream ended without.
    pub(crate) fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, h2::Error>> {
        self.body.poll_trailers(cx)
    }

    /// Whether the body was read to its end: trailers may follow, also when it ended inside a message.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// How many payloads there were.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether the last payload came compressed.
    pub(crate) fn compressed(&self) -> bool {
        self.compressed
    }

    /// Whether the next payload, which may not be there yet, is to be unfolded.
    fn unfolds_next(&self) -> bool {
        self.encoding != Encoding::Identity && self.frames.next_is_compressed()
    }

    fn give_credit(&mut self) {
        if self.uncredited > 0 {
            // Fails only when the stream is gone, and then h2 took the credit back itself.
            let _ = self.body.flow_control().release_capacity(self.uncredited);
            self.uncredited = 0;
        }
    }
}

/// A handler may read no more and answer on: the connection's window is not to wait for the end of its call, when h2 would
/// give it back.
impl Drop for Inbound {
    fn drop(&mut self) {
        self.give_credit();
    }
}

/// [`Codec::decode`], or [`Codec::merge`] into some message.
pub(crate) trait Decode<T>: FnOnce(Payload<'_>) -> Result<T, DecodeError> {}

impl<T, F: FnOnce(Payload<'_>) -> Result<T, DecodeError>> Decode<T> for F {}

/// What is in a payload that came compressed.
fn plain(payload: Payload<'_>, encoding: Encoding, limit: usize) -> Result<Bytes, Status> {
    if encoding == Encoding::Identity {
        // compression.md: the flag without an encoding is an INTERNAL error.
        return Err(Status::internal(
            "a message is flagged as compressed, but the call has no grpc-encoding",
        ));
    }
    let packed = payload.into_bytes();
    let plain = decompress(encoding, &packed, limit);
    // A bomb is as much work as what is taken.
    let bytes = plain.as_ref().map_or(limit, Bytes::len);
    pace::unfolded(bytes.max(packed.len()));
    Ok(plain?)
}

/// The messages that a client streams to a handler.
pub struct Streaming<T> {
    inbound: Inbound,
    shared: Arc<Shared>,
    message: PhantomData<fn() -> T>,
}

impl<T: Codec> Streaming<T> {
    pub(crate) fn new(inbound: Inbound, shared: Arc<Shared>) -> Self {
        Self {
            inbound,
            shared,
            message: PhantomData,
        }
    }

    /// The next message; `Ok(None)` only when the client really finished.
    ///
    /// # Errors
    /// CANCELLED when the client reset the stream or the connection broke, INTERNAL when it ended inside a message
    /// or a message cannot be decoded, RESOURCE_EXHAUSTED over the receive limit.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn message(&mut self) -> Result<Option<T>, Status> {
        self.next(T::decode).await
    }

    /// Merges the next message into `message`, which keeps what it has allocated; false only when the client really
    /// finished. On a stream of small messages with text, allocating is a third of receiving.
    ///
    /// As protobuf merges: what the next message does not say stays as it was, so clear `message` before.
    /// `prost::Message::clear` keeps the room of its strings and lists, and drops the messages inside it; to keep those,
    /// clear their fields.
    ///
    /// # Errors
    /// As [`Streaming::message`]. A message that cannot be decoded may have been merged in part.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn merge(&mut self, message: &mut T) -> Result<bool, Status> {
        let merged = self.next(|payload: Payload<'_>| message.merge(payload));
        Ok(merged.await?.is_some())
    }

    /// The only message of a call that has exactly one.
    ///
    /// # Errors
    /// UNIMPLEMENTED when there are none or several (statuscodes.md, "cardinality violation"), and as
    /// [`Streaming::message`].
    pub async fn only(&mut self) -> Result<T, Status> {
        let Some(message) = self.message().await? else {
            return Err(Status::unimplemented(
                "the request has no message, the method takes one",
            ));
        };
        // Usually the end has come with the message.
        if self.inbound.is_over() {
            self.inbound.let_go();
            return Ok(message);
        }
        match self.next(RawMessage::decode).await? {
            None => Ok(message),
            Some(_) => Err(Status::unimplemented(
                "the request has several messages, the method takes one",
            )),
        }
    }

    /// Whether the last message came compressed.
    pub fn compressed(&self) -> bool {
        self.inbound.compressed()
    }

    async fn next<M>(
        &mut self,
        mut decode: impl FnMut(Payload<'_>) -> Result<M, DecodeError>,
    ) -> Result<Option<M>, Status> {
        loop {
            if self.inbound.unfolds_next() {
                pace::turn().await;
            }
            if let Some(message) = self.inbound.next_message(&mut decode)? {
                self.shared.was_compressed(self.inbound.compressed());
                return Ok(Some(message));
            }
            let more = {
                let _awaiting = self.shared.await_client();
                poll_fn(|cx| {
                    let more = self.inbound.poll_more(cx);
                    if more.is_pending() {
                        self.shared.respond().driver().reads(cx);
                    }
                    more
                })
                .await?
            };
            if !more {
                return Ok(None);
            }
            self.count();
        }
    }
}

impl<T> Streaming<T> {
    fn count(&self) {
        self.shared
            .count_received(self.inbound.messages, self.inbound.bytes);
    }
}

impl<T> Drop for Streaming<T> {
    fn drop(&mut self) {
        self.count();
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("inbound", &self.inbound)
            .finish_non_exhaustive()
    }
}
