//! A client that sends no faster than the server lets it: what is over a window would be a breach, and no attack.
//!
//! In: bytes for a stream. Out: DATA, as the server's windows open. Not here: what the server answers, but that it has.

use std::collections::{BTreeMap, BTreeSet};

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::LONG;
use crate::raw::frame::{Frame, kind};
use crate::raw::peer::Peer;

/// What one frame may carry (RFC 9113, section 4.2).
const FRAME_BYTES: usize = 16_384;

/// What a connection may send before the server says more (RFC 9113, section 6.9.2).
const CONNECTION_BYTES: usize = 65_535;

/// What the server's first SETTINGS let a stream send: `Config::stream_window_bytes`.
const STREAM_BYTES: usize = 256 * 1024;

/// A connection and its windows.
pub(crate) struct Paced {
    pub(crate) peer: Peer<TcpStream>,
    connection: usize,
    streams: BTreeMap<u32, usize>,
    /// Streams that the server has answered to the end.
    answered: BTreeSet<u32>,
}

impl Paced {
    /// A connection on which no DATA was sent.
    pub(crate) fn new(peer: Peer<TcpStream>) -> Self {
        Self {
            peer,
            connection: CONNECTION_BYTES,
            streams: BTreeMap::new(),
            answered: BTreeSet::new(),
        }
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame) {
        self.peer.send(&frame).await.expect("open");
    }

    /// Sends DATA; whether the server took it all before it answered.
    pub(crate) async fn send(&mut self, stream: u32, bytes: &[u8]) -> bool {
        for part in bytes.chunks(FRAME_BYTES) {
            while self.connection < part.len() || *self.window(stream) < part.len() {
                if self.answered.contains(&stream) {
                    return false;
                }
                let read = timeout(LONG, self.read()).await;
                assert!(read.is_ok(), "stream {stream}: its window does not open");
            }
            self.connection -= part.len();
            *self.window(stream) -= part.len();
            self.send_frame(Frame::data(stream, part.to_vec())).await;
        }
        true
    }

    fn window(&mut self, stream: u32) -> &mut usize {
        self.streams.entry(stream).or_insert(STREAM_BYTES)
    }

    async fn read(&mut self) {
        let frame = self.peer.next().await.expect("open");
        match frame.kind {
            kind::WINDOW_UPDATE => {
                let more = frame.number(0).expect("four bytes") as usize;
                match frame.stream {
                    0 => self.connection += more,
                    stream => *self.window(stream) += more,
                }
            }
            // Each block counts for those behind it.
            kind::HEADERS => drop(self.peer.headers(&frame).await.expect("HPACK")),
            _ => {}
        }
        if frame.is_end_stream() || frame.kind == kind::RST_STREAM {
            self.answered.insert(frame.stream);
        }
    }
}
