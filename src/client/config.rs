//! What bounds a channel and its calls.

use std::time::Duration;

use h2::client::Builder;

use crate::codec::{Encoding, MessageLimits};
#[cfg(feature = "tls")]
use crate::transport::ClientTls;

/// How a channel connects and calls. Every default says what it protects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Message limits of calls that set none of their own.
    pub limits: MessageLimits,
    /// What requests are compressed with. Default: identity.
    pub encoding: Encoding,
    /// How long one attempt to connect may take, from name resolution to the server's SETTINGS. 20 s, as gRPC's
    /// connection backoff says.
    pub connect_timeout: Duration,
    /// Largest header block taken, in bytes as RFC 9113 counts them. 16 KiB: twice what gRPC suggests.
    pub max_header_list_bytes: u32,
    /// Bytes that one call may have waiting in h2. 32 KiB: two DATA frames.
    pub max_send_buffer_bytes: usize,
    /// Bytes that a server may send on one stream before they are consumed. 256 KiB: enough for a fast link.
    pub stream_window_bytes: u32,
    /// The same for all streams of a connection. 1 MiB: four full streams. A server that sends frames of a byte makes the
    /// client hold 256 times as much, until they are read.
    pub connection_window_bytes: u32,
    /// Whom `https` addresses trust, and what they are shown. Default: the certificates that the system trusts; none.
    #[cfg(feature = "tls")]
    pub tls: ClientTls,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: MessageLimits::default(),
            encoding: Encoding::Identity,
            connect_timeout: Duration::from_secs(20),
            max_header_list_bytes: 16 * 1024,
            max_send_buffer_bytes: 32 * 1024,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            #[cfg(feature = "tls")]
            tls: ClientTls::new(),
        }
    }
}

impl Config {
    /// h2's own settings.
    pub(super) fn h2(&self) -> Builder {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .max_header_list_size(self.max_header_list_bytes)
            .max_send_buffer_size(self.max_send_buffer_bytes)
            .initial_window_size(self.stream_window_bytes)
            .initial_connection_window_size(self.connection_window_bytes)
            .max_concurrent_reset_streams(RESETS_REMEMBERED)
            .reset_stream_duration(RESET_REMEMBERED_FOR)
            .data_frame_budget(DATA_FRAME_BUDGET);
        builder
    }
}

/// Calls that were given up and whose frames are still passed over. What comes for one that is forgotten is a breach, and the 1024th
/// of a connection ends it. 10,000: the channel's own calls, so no server decides how many; h2's default is 50.
const RESETS_REMEMBERED: usize = 10_000;

/// How long they are: a window of 256 KiB, on its way when its call is given up, takes two seconds at 1 Mbit/s. Ten; h2's default is
/// one.
const RESET_REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// h2 charges up to 256 bytes for each small DATA frame until it is read, and ends the connection when the budget is spent.
/// What it charges for a call that was given up it never gives back: seventy grpc-go exports, one frame for each message,
/// spend any budget that a connection's windows explain. The windows bound what is held: 256 MiB of frames of a byte.
const DATA_FRAME_BUDGET: usize = usize::MAX;
