//! Connections within one process: no port, no name, no certificate.
//!
//! In: nothing. Out: a listener for a server, and what channels reach it with. Not here: HTTP/2, which is spoken on them
//! as on any other.

use std::io;
use std::net::SocketAddr;

use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::{Dialer, Listener};

/// Bytes on their way on one connection, each way. 64 KiB: one gathered write.
const BUFFER_BYTES: usize = 64 * 1024;

/// Connections that may wait to be accepted; a further one waits to be made. 16: a channel has one at a time.
const MAX_WAITING: usize = 16;

/// Reaches a server in this process. Clones reach the same one.
#[derive(Clone, Debug)]
pub struct InProcess(mpsc::Sender<DuplexStream>);

/// Where such a server listens. Once it is dropped, nothing reaches it.
#[derive(Debug)]
pub struct InProcessListener(mpsc::Receiver<DuplexStream>);

/// A listener that only this process can reach.
pub fn in_process() -> (InProcess, InProcessListener) {
    let (dialed, accepted) = mpsc::channel(MAX_WAITING);
    (InProcess(dialed), InProcessListener(accepted))
}

impl Dialer for InProcess {
    type Io = DuplexStream;

    /// Fails when the server has stopped listening.
    async fn dial(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(BUFFER_BYTES);
        let dialed = self.0.send(theirs).await;
        dialed.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }
}

impl Listener for InProcessListener {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.recv().await {
            Some(socket) => Ok((socket, None)),
            // Nobody is left who could connect.
            None => std::future::pending().await,
        }
    }
}
