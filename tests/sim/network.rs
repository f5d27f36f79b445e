//! The simulated network as a listener and a dialer, and what befalls one connection: it is cut after some bytes, its
//! ends move few bytes at a time, or pause.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use streamway::transport::{Dialer, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use turmoil::net::{TcpListener, TcpStream};

use crate::chance::Chance;
use crate::world::World;

const PORT: u16 = 9528;

/// The server's port.
pub(crate) struct Port {
    listener: TcpListener,
    world: Arc<World>,
    chance: Chance,
}

impl Port {
    pub(crate) async fn bind(world: &Arc<World>, chance: Chance) -> io::Result<Self> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await?;
        Ok(Self {
            listener,
            world: Arc::clone(world),
            chance,
        })
    }
}

impl Listener for Port {
    type Io = Wire;

    async fn accept(&mut self) -> io::Result<(Wire, Option<SocketAddr>)> {
        let (socket, peer) = self.listener.accept().await?;
        // Cut by clients only: one end is enough.
        let wire = Wire::new(socket, &self.world, self.chance.fork(), None);
        Ok((wire, Some(peer)))
    }
}

/// A client's way to the server.
pub(crate) struct Way {
    pub(crate) world: Arc<World>,
    pub(crate) chance: Mutex<Chance>,
}

impl Dialer for Way {
    type Io = Wire;

    async fn dial(&self) -> io::Result<Wire> {
        let socket = TcpStream::connect(("server", PORT)).await?;
        let mut chance = self.chance.lock().expect("one thread").fork();
        let cut_after = match !self.world.calm && chance.one_in(3) {
            true => {
                let magnitude = chance.within(5..21);
                Some(chance.within(1..1 << magnitude))
            }
            false => None,
        };
        Ok(Wire::new(socket, &self.world, chance, cut_after))
    }
}

/// One end of a connection.
pub(crate) struct Wire {
    /// `None` once it is cut.
    socket: Option<TcpStream>,
    /// Bytes in both directions until it is.
    left: Option<u64>,
    /// The most bytes that one read or write moves.
    step: usize,
    /// How often a read pauses, once in so many; 0 never.
    pauses: u64,
    pause: Option<Pin<Box<Sleep>>>,
    chance: Chance,
    world: Arc<World>,
}

impl Wire {
    fn new(socket: TcpStream, world: &Arc<World>, mut chance: Chance, left: Option<u64>) -> Self {
        Self {
            socket: Some(socket),
            left,
            step: chance.pick(&[37, 1000, 16_384, 65_536, 65_536]),
            pauses: chance.pick(&[0, 0, 50]),
            pause: None,
            chance,
            world: Arc::clone(world),
        }
    }

    /// The socket, and how many bytes may pass now.
    fn open(&mut self) -> io::Result<(&mut TcpStream, usize)> {
        let most = match self.left {
            Some(0) => {
                self.socket = None;
                self.world.event(format_args!("a connection is cut"));
                0
            }
            Some(left) => self.step.min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => self.step,
        };
        match &mut self.socket {
            Some(socket) => Ok((socket, most)),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.world.bytes(bytes);
        if let Some(left) = &mut self.left {
            *left -= bytes.len() as u64;
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pauses > 0 && self.pause.is_none() && self.chance.one_in(self.pauses) {
            self.pause = Some(Box::pin(sleep(self.chance.millis(1..300))));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_pause(cx));
        let (socket, most) = self.open()?;
        let mut bytes = vec![0; most.min(into.remaining())];
        let mut part = ReadBuf::new(&mut bytes);
        ready!(Pin::new(socket).poll_read(cx, &mut part))?;
        into.put_slice(part.filled());
        let read = part.filled().len();
        self.passed(&bytes[..read]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (socket, most) = self.open()?;
        let part = &bytes[..most.min(bytes.len())];
        let written = ready!(Pin::new(socket).poll_write(cx, part))?;
        self.passed(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (socket, _) = self.open()?;
        Pin::new(socket).poll_shutdown(cx)
    }
}

/// How long the simulation has gone on, inside one of its hosts.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}
