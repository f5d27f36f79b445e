//! One end of a connection, which sends what it is told and reads frame by frame.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};

use super::frame::{Frame, PREFACE, flag, kind};
use super::hpack::{Decoder, Headers};

/// One end of an HTTP/2 connection. The halves can go different ways: to write on while nobody reads, and the other way
/// round.
#[derive(Debug)]
pub(crate) struct Peer<Io> {
    pub(crate) input: Input<ReadHalf<Io>>,
    pub(crate) output: Output<WriteHalf<Io>>,
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct Input<Io> {
    io: Io,
    wire: BytesMut,
    decoder: Decoder,
}

/// Writes frames.
#[derive(Debug)]
pub(crate) struct Output<Io>(Io);

impl<Io: AsyncRead + AsyncWrite> Peer<Io> {
    /// A peer that has said nothing yet.
    pub(crate) fn new(io: Io) -> Self {
        let (read, write) = split(io);
        Self {
            input: Input {
                io: read,
                wire: BytesMut::new(),
                decoder: Decoder::default(),
            },
            output: Output(write),
        }
    }

    /// A server that has exchanged SETTINGS with its client; the client's ACK is still to come.
    pub(crate) async fn accept(io: Io, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut peer = Self::new(io);
        peer.input.preface().await?;
        peer.shake(settings).await
    }

    /// A client that has exchanged SETTINGS with its server; the server's ACK is still to come.
    pub(crate) async fn connect(io: Io, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut peer = Self::new(io);
        peer.output.send_raw(PREFACE).await?;
        peer.shake(settings).await
    }

    async fn shake(mut self, settings: &[(u16, u32)]) -> io::Result<Self> {
        self.output.send(&Frame::settings(settings)).await?;
        let first = self.input.next().await;
        if first.is_none_or(|frame| frame.kind != kind::SETTINGS || frame.is_ack()) {
            return Err(io::Error::other("the peer does not begin with SETTINGS"));
        }
        self.output.send(&Frame::settings_ack()).await?;
        Ok(self)
    }

    /// As [`Output::send`].
    pub(crate) async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.output.send(frame).await
    }

    /// As [`Output::send_all`].
    pub(crate) async fn send_all(&mut self, frames: &[Frame]) -> io::Result<()> {
        self.output.send_all(frames).await
    }

    /// As [`Output::send_raw`].
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.send_raw(bytes).await
    }

    /// As [`Input::next`].
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        self.input.next().await
    }

    /// As [`Input::next_of`].
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        self.input.next_of(kind).await
    }

    /// As [`Input::next_of_ack`].
    pub(crate) async fn next_of_ack(&mut self, kind: u8) -> Option<Frame> {
        self.input.next_of_ack(kind).await
    }

    /// As [`Input::headers`].
    pub(crate) async fn headers(&mut self, first: &Frame) -> Option<Headers> {
        self.input.headers(first).await
    }
}

impl<Io: AsyncRead + Unpin> Input<Io> {
    /// The next frame; `None` when the connection has ended, in whatever way. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.wire) {
                return Some(frame);
            }
            match self.io.read_buf(&mut self.wire).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next frame of one kind, no acknowledgement; what comes before it is passed over.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind && !frame.is_ack() {
                return Some(frame);
            }
        }
    }

    /// The next acknowledgement of one kind; what comes before it is passed over.
    pub(crate) async fn next_of_ack(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind && frame.is_ack() {
                return Some(frame);
            }
        }
    }

    /// The headers that begin with the frame `first`, and read on to the end of the block. Blocks refer to earlier ones, so
    /// each has to be read here, in its order. `None` when it is no header block.
    pub(crate) async fn headers(&mut self, first: &Frame) -> Option<Headers> {
        let mut block = first.content().to_vec();
        let mut flags = first.flags;
        while flags & flag::END_HEADERS == 0 {
            let more = self.next().await?;
            block.extend_from_slice(&more.payload);
            flags = more.flags;
        }
        self.decoder.decode(&block)
    }

    /// How much the peer has put into the table of headers, in bytes as RFC 7541 counts them.
    pub(crate) fn table_size(&self) -> usize {
        self.decoder.table_size()
    }

    /// Reads a client's preface.
    pub(crate) async fn preface(&mut self) -> io::Result<()> {
        while self.wire.len() < PREFACE.len() {
            if self.io.read_buf(&mut self.wire).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        match &self.wire.split_to(PREFACE.len())[..] == PREFACE {
            true => Ok(()),
            false => Err(io::Error::other("no HTTP/2 preface")),
        }
    }
}

impl<Io: AsyncWrite + Unpin> Output<Io> {
    pub(crate) async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.send_all(std::slice::from_ref(frame)).await
    }

    /// In one write, so that the other side is likely to see them together.
    pub(crate) async fn send_all(&mut self, frames: &[Frame]) -> io::Result<()> {
        let mut wire = Vec::new();
        for frame in frames {
            frame.encode(&mut wire);
        }
        self.send_raw(&wire).await
    }

    /// Any bytes: half a frame, a length that lies, another protocol.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Says that nothing more comes; the other direction stays open.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::super::frame::setting;
    use super::*;

    #[tokio::test]
    async fn both_ends_of_a_raw_connection_understand_each_other() {
        let (client, server) = duplex(64);
        let client = Peer::connect(client, &[]);
        let server = Peer::accept(server, &[(setting::MAX_CONCURRENT_STREAMS, 1)]);
        let (client, server) = tokio::join!(client, server);
        let (mut client, mut server) = (client.expect("open"), server.expect("open"));
        let request = Frame::headers(1, &[(":path", "/a/B")]).padded(9);
        client
            .send_all(&[request.end_stream()])
            .await
            .expect("open");
        let request = server.next_of(kind::HEADERS).await.expect("sent");
        assert!(request.is_end_stream());
        let headers = server.headers(&request).await.expect("HPACK");
        assert_eq!(headers.get(":path"), Some("/a/B"));
    }
}
