//! A server in this process, behind connections that something befalls: they are cut or fall silent at a byte, or move a
//! few bytes at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use streamway::client::{Channel, Config};
use streamway::server::Server;
use streamway::transport::{Dialer, InProcess, in_process};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::JoinHandle;

use crate::support::Fixture;

/// What befalls every connection of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The most bytes that one read or write moves.
    pub(crate) step: usize,
    pub(crate) fault: Option<(Way, usize, Fault)>,
}

/// Which bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What happens behind the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is reset.
    Cut,
    /// Nothing arrives any more in either direction, and nobody is told.
    Silence,
}

impl Plan {
    pub(crate) const NONE: Self = Self {
        step: usize::MAX,
        fault: None,
    };

    pub(crate) fn after(way: Way, bytes: usize, fault: Fault) -> Self {
        Self {
            fault: Some((way, bytes, fault)),
            ..Self::NONE
        }
    }
}

/// A server of the fixture in this process, for as long as it lives.
pub(crate) struct Near {
    reach: InProcess,
    /// Connections made so far.
    pub(crate) dialed: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Near {
    pub(crate) fn serve(server: Server, fixture: Fixture) -> Self {
        let (reach, listener) = in_process();
        let served = server.add_service(fixture);
        let task = tokio::spawn(async move {
            let served = served.serve(listener, std::future::pending()).await;
            served.expect("legal services");
        });
        Self {
            reach,
            dialed: Arc::default(),
            task,
        }
    }

    /// A channel whose connections go by `plan`.
    pub(crate) fn channel(&self, plan: Plan) -> Channel {
        let dialer = Faulty {
            reach: self.reach.clone(),
            plan,
            dialed: Arc::clone(&self.dialed),
        };
        Channel::with_dialer("http://near", dialer, Config::default()).expect("an address")
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Faulty {
    reach: InProcess,
    plan: Plan,
    dialed: Arc<AtomicUsize>,
}

impl Dialer for Faulty {
    type Io = Wire;

    async fn dial(&self) -> io::Result<Wire> {
        self.dialed.fetch_add(1, Ordering::Relaxed);
        Ok(Wire {
            socket: Some(self.reach.dial().await?),
            plan: self.plan,
        })
    }
}

/// The client's end of a connection.
pub(crate) struct Wire {
    socket: Option<DuplexStream>,
    plan: Plan,
}

impl Wire {
    /// The socket and how many bytes may pass this way; pending when it has fallen silent.
    fn open(&mut self, way: Way) -> Poll<io::Result<(&mut DuplexStream, usize)>> {
        let mut most = self.plan.step;
        match self.plan.fault {
            Some((_, 0, Fault::Silence)) => return Poll::Pending,
            Some((_, 0, Fault::Cut)) => self.socket = None,
            Some((counted, left, _)) if counted == way => most = most.min(left),
            Some(_) | None => {}
        }
        Poll::Ready(match &mut self.socket {
            Some(socket) => Ok((socket, most)),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        })
    }

    fn passed(&mut self, way: Way, bytes: usize) {
        if let Some((counted, left, _)) = &mut self.plan.fault
            && *counted == way
        {
            *left -= bytes;
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (socket, most) = ready!(self.open(Way::ToClient))?;
        let mut bytes = vec![0; most.min(into.remaining())];
        let mut part = ReadBuf::new(&mut bytes);
        ready!(Pin::new(socket).poll_read(cx, &mut part))?;
        into.put_slice(part.filled());
        let read = part.filled().len();
        self.passed(Way::ToClient, read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (socket, most) = match self.open(Way::ToServer) {
            Poll::Ready(open) => open?,
            // The kernel takes it and sends it for ever.
            Poll::Pending => return Poll::Ready(Ok(bytes.len())),
        };
        let part = &bytes[..most.min(bytes.len())];
        let written = ready!(Pin::new(socket).poll_write(cx, part))?;
        self.passed(Way::ToServer, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.open(Way::ToServer) {
            Poll::Ready(open) => Pin::new(open?.0).poll_shutdown(cx),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}
