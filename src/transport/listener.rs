//! Where connections come from. Tests and simulations bring their own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::tcp;

/// A source of connections.
pub trait Listener: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and where its client is if that is known.
    ///
    /// # Errors
    /// When a connection cannot be taken. The server goes on after any error.
    ///
    /// # Cancel safety
    /// Dropping the future must lose no connection.
    fn accept(&mut self)
    -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (socket, peer) = Self::accept(self).await?;
        // Fails only when the client has left, which is found out soon enough.
        let _ = tcp::accepted(&socket);
        Ok((socket, Some(peer)))
    }
}

/// How long to wait after a connection could not be accepted. 50 ms: soon enough for a client, rare enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is a warning that connections cannot be accepted. One minute: whoever reads the log learns that it goes on, and
/// twenty lines a second do not fill it.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// What to do about connections that cannot be accepted; most often there is no descriptor left. They stay in the listener's
/// queue.
#[derive(Debug, Default)]
pub(crate) struct AcceptFailures {
    warned_at: Option<Instant>,
}

impl AcceptFailures {
    /// Says so in the log, and pauses.
    pub(crate) async fn pause(&mut self, error: &io::Error) {
        match self.is_news(Instant::now()) {
            true => tracing::warn!(%error, "cannot accept a connection"),
            false => tracing::debug!(%error, "cannot accept a connection"),
        }
        sleep(ACCEPT_PAUSE).await;
    }

    fn is_news(&mut self, now: Instant) -> bool {
        let old = |at| now.saturating_duration_since(at) >= WARNING_INTERVAL;
        let news = self.warned_at.is_none_or(old);
        if news {
            self.warned_at = Some(now);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_that_cannot_be_accepted_are_a_warning_once_a_minute() {
        let mut failures = AcceptFailures::default();
        let begun = Instant::now();
        let mut warnings = Vec::new();
        while begun.elapsed() < WARNING_INTERVAL * 2 {
            if failures.is_news(Instant::now()) {
                warnings.push(begun.elapsed());
            }
            sleep(ACCEPT_PAUSE).await;
        }
        assert_eq!(warnings, [Duration::ZERO, WARNING_INTERVAL]);
    }
}
