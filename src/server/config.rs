//! What bounds one connection, and how long a drain may take.

use std::time::Duration;

use h2::server::Builder;

use crate::codec::{Encoding, MessageLimits};
#[cfg(feature = "tls")]
use crate::transport::ServerTls;

/// How a server serves. Every default says what it protects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Message limits of methods that have none of their own.
    pub limits: MessageLimits,
    /// What responses are compressed with when the client reads it and the handler does not choose. Default:
    /// identity.
    pub encoding: Encoding,
    /// Calls that one connection may have open. 1000: more than a busy proxy needs; a further one is refused with
    /// REFUSED_STREAM, which clients retry.
    pub max_concurrent_streams: u32,
    /// Calls that all connections together may have in hand. 10,000: ten full connections; what a call may hold is in
    /// docs/operations.md. A further one ends with UNAVAILABLE, and with a second of pushback, which clients keep
    /// before they try again. A call whose handler has given parts of it to others is in hand until they let go of them.
    pub max_concurrent_calls: usize,
    /// Bytes of messages that have not arrived whole, of all calls together; a call has 64 KiB beside. 256 MiB: sixty
    /// of the default's largest. Over it the call that takes more ends with RESOURCE_EXHAUSTED and a second of pushback. As
    /// much as the largest receive limit, when that is more.
    pub max_unfinished_bytes: usize,
    /// Largest header block taken, in bytes as RFC 9113 counts them. 16 KiB: twice what gRPC suggests, and
    /// a flood of CONTINUATION frames is cut after a few times that.
    pub max_header_list_bytes: u32,
    /// Largest header block sent, counted in the same way. 8 KiB: what gRPC suggests to whoever receives, and what most
    /// take; a larger block costs the call there, or every call of the connection. Metadata of a handler that do not fit
    /// end its call with INTERNAL; what a status carries is left out, and its text says so.
    pub max_send_header_list_bytes: u32,
    /// Bytes that one call may have waiting in h2. 16 KiB: a DATA frame, while the next is gathered; a thousand slow
    /// readers cost 16 MiB.
    pub max_send_buffer_bytes: usize,
    /// Bytes that a client may send on one stream before they are consumed. 256 KiB: enough for a fast link.
    pub stream_window_bytes: u32,
    /// The same for all streams of a connection. 1 MiB: four full streams.
    pub connection_window_bytes: u32,
    /// How long a client may take no byte that waits for it, and send none that is waited for, while the other direction
    /// is still as well; then its call ends with DEADLINE_EXCEEDED, up to a quarter later. 1 min: longer than a network
    /// fails, short enough that what the call holds is soon free. A connection that takes no byte at all for so long is
    /// closed. Streams that are still for longer by their nature need more.
    pub stall_timeout: Duration,
    /// How long a connection without calls is kept. 5 min: a client that polls each minute keeps its connection.
    pub idle_timeout: Duration,
    /// After how long without a byte from the client it is asked for one, with a PING. 1 min: a client that vanished
    /// costs its calls no longer than this and [`Config::keepalive_timeout`].
    pub keepalive_interval: Duration,
    /// How long the client may take to send a byte after that. 20 s, as in other implementations.
    pub keepalive_timeout: Duration,
    /// After how long a connection takes no more calls, give or take a tenth, so that clients spread over new servers
    /// and take up new certificates. 2 h.
    pub max_connection_age: Duration,
    /// How long calls in flight may go on after that; then they end with UNAVAILABLE. A client without calls stays no
    /// longer either, however much it says. 1 h.
    pub max_connection_age_grace: Duration,
    /// How long calls in flight may go on once the server drains; then they end with UNAVAILABLE. 30 s.
    pub drain_timeout: Duration,
    /// Serves over TLS, and over TLS only. Default: cleartext.
    #[cfg(feature = "tls")]
    pub tls: Option<ServerTls>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: MessageLimits::default(),
            encoding: Encoding::Identity,
            max_concurrent_streams: 1000,
            max_concurrent_calls: 10_000,
            max_unfinished_bytes: 256 * 1024 * 1024,
            max_header_list_bytes: 16 * 1024,
            max_send_header_list_bytes: 8 * 1024,
            max_send_buffer_bytes: 16 * 1024,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            stall_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(5 * 60),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            max_connection_age: Duration::from_secs(2 * 60 * 60),
            max_connection_age_grace: Duration::from_secs(60 * 60),
            drain_timeout: Duration::from_secs(30),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Config {
    /// h2's own settings.
    pub(super) fn h2(&self) -> Builder {
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_header_list_size(self.max_header_list_bytes)
            .max_send_buffer_size(self.max_send_buffer_bytes)
            .initial_window_size(self.stream_window_bytes)
            .initial_connection_window_size(self.connection_window_bytes)
            .max_pending_accept_reset_streams(RESETS_AT_ONCE)
            .max_concurrent_reset_streams(self.max_concurrent_streams as usize)
            .reset_stream_duration(RESET_REMEMBERED_FOR)
            .data_frame_budget(DATA_FRAME_BUDGET * self.connection_window_bytes as usize);
        builder
    }
}

/// Calls that may be cancelled before they were looked at. 200: as many as `transport::guard` lets a client cancel at
/// once; h2's default of 20 closes the connection of a client that gives up on many calls together.
const RESETS_AT_ONCE: usize = 200;

/// How long what still comes for a call that was answered before its request had ended is passed over, of as many as may be open. What
/// comes later is a breach, and the 1024th of a connection ends it. Ten seconds: a window of 256 KiB, on its way when the
/// answer leaves, takes two at 1 Mbit/s; h2's default is one, and 50 calls.
const RESET_REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// h2 charges up to 256 bytes for each unread small DATA frame, and ends the connection when the budget is spent.
/// grpc-go sends one frame for each message; with h2's default 130 unread ones do it. Sixteen connection windows: as many
/// frames with an empty message as fit in the window of a stream. It is memory: h2 keeps as much for each.
const DATA_FRAME_BUDGET: usize = 16;
