//! A channel: one server, connected when a call needs it, and again when the connection is lost.
//!
//! In: an address. Out: an HTTP/2 connection for each call. Not here: calls.
//!
//! ```text
//!   Idle ──a call──▶ Connecting ──▶ Ready ──lost, or the server says GOAWAY──▶ Idle
//!    ▲                   │
//!    └──after a delay── Failed: calls end with UNAVAILABLE, but for those that wait for ready
//! ```

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Uri;
use http::uri::{Authority, PathAndQuery};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::address::{Address, AddressError, Scheme};
use super::config::Config;
use super::connection::{self, Reach};
use super::reconnect::Backoff;
use super::request::{Bidi, ClientStreaming, Request, ServerStreaming, Unary};
use crate::call::Watched;
use crate::codec::Codec;
use crate::method::Method;
use crate::status::Status;
#[cfg(feature = "tls")]
use crate::transport::Connector;
use crate::transport::{Dialer, InProcess, random};

/// A server to call. Clones are cheap and share the connection.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    target: Arc<Target>,
    link: Arc<Link>,
    /// The task that connects; started by the first call, ended with the channel.
    manager: OnceLock<AbortHandle>,
}

/// Where the server is, and how to talk to it.
pub(super) struct Target {
    pub(super) route: Route,
    pub(super) config: Config,
}

/// What is below h2.
pub(super) enum Route {
    Cleartext(Address),
    #[cfg(feature = "tls")]
    Tls(Address, Connector),
    Dialed(Address, Box<dyn Reach>),
}

/// What the calls and the manager share.
struct Link {
    state: Watched<State>,
    /// Told by a call that finds the channel idle.
    wanted: Notify,
}

enum State {
    Idle,
    Connecting,
    Ready(Ready),
    Failed(Status),
}

/// A connection that takes calls.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) send: SendRequest<Bytes>,
    /// Which of the channel's connections this is.
    generation: u64,
    /// Whether a call was ever opened on it.
    used: Arc<AtomicBool>,
}

impl Channel {
    /// A channel to `address`, such as `http://127.0.0.1:9528`, or `https://…` with the feature `tls`. Connects when
    /// the first call is made, which must be inside a tokio runtime.
    ///
    /// # Errors
    /// When the address has no host, or a scheme other than `http` and `https`; when the certificates of
    /// [`Config::tls`] cannot be used.
    pub fn connect(address: &str) -> Result<Self, AddressError> {
        Self::with_config(address, Config::default())
    }

    /// As [`Channel::connect`], with other settings than the defaults.
    ///
    /// # Errors
    /// As [`Channel::connect`].
    pub fn with_config(address: &str, config: Config) -> Result<Self, AddressError> {
        let route = Route::to(address.parse()?, &config)?;
        Ok(Self::new(Target { route, config }))
    }

    /// A channel to a server in this process, which serves the listener that came with `server`.
    pub fn in_process(server: InProcess, config: Config) -> Self {
        let address = Address::in_process();
        let route = Route::Dialed(address, Box::new(server));
        Self::new(Target { route, config })
    }

    /// A channel whose connections come from `dialer`. What `address` says is only told to the server: an `https` address
    /// claims that the dialer's streams are encrypted.
    ///
    /// # Errors
    /// When the address is none, as [`Channel::connect`].
    pub fn with_dialer(
        address: &str,
        dialer: impl Dialer,
        config: Config,
    ) -> Result<Self, AddressError> {
        let route = Route::Dialed(address.parse()?, Box::new(dialer));
        Ok(Self::new(Target { route, config }))
    }

    fn new(target: Target) -> Self {
        Self(Arc::new(Inner {
            target: Arc::new(target),
            link: Arc::new(Link {
                state: Watched::new(State::Idle),
                wanted: Notify::new(),
            }),
            manager: OnceLock::new(),
        }))
    }

    /// A call of `method` with one message there and one back.
    pub fn unary<Req: Codec, Res: Codec>(
        &self,
        method: Method,
        message: Req,
    ) -> Request<Unary<Req, Res>> {
        Request::new(self, method, Unary::new(message))
    }

    /// A call of `method` with one message there and any number back.
    pub fn server_streaming<Req: Codec, Res: Codec>(
        &self,
        method: Method,
        message: Req,
    ) -> Request<ServerStreaming<Req, Res>> {
        Request::new(self, method, ServerStreaming::new(message))
    }

    /// A call of `method` with any number of messages there and one back.
    pub fn client_streaming<Req: Codec, Res: Codec>(
        &self,
        method: Method,
    ) -> Request<ClientStreaming<Req, Res>> {
        Request::new(self, method, ClientStreaming::new())
    }

    /// A call of `method` with any number of messages both ways.
    pub fn bidi<Req: Codec, Res: Codec>(&self, method: Method) -> Request<Bidi<Req, Res>> {
        Request::new(self, method, Bidi::new())
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.target.config
    }

    /// The URI of `method` on this server.
    pub(super) fn uri(&self, method: Method) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.0.target.route.scheme());
        parts.authority = Some(self.0.target.route.authority());
        parts.path_and_query = Some(PathAndQuery::from_static(method.path));
        Uri::from_parts(parts).expect("scheme, authority and path are all there")
    }

    /// A connection that takes calls; connects first when there is none.
    ///
    /// While connecting fails, calls fail at once unless they wait for ready (wait-for-ready.md).
    pub(super) async fn ready(&self, wait_for_ready: bool) -> Result<Ready, Status> {
        let link = &self.0.link;
        let connected = |state: &State| match state {
            State::Ready(ready) => Some(ready.clone()),
            _ => None,
        };
        if let Some(ready) = link.state.look(connected) {
            return Ok(ready);
        }
        self.0.manager.get_or_init(|| {
            let manage = manage(Arc::clone(&self.0.target), Arc::clone(&self.0.link));
            tokio::spawn(manage).abort_handle()
        });
        let found = link.state.until(|state| match state {
            State::Ready(ready) => Some(Ok(ready.clone())),
            State::Failed(status) if !wait_for_ready => Some(Err(status.clone())),
            State::Idle => {
                link.wanted.notify_one();
                None
            }
            State::Connecting | State::Failed(_) => None,
        });
        found.await
    }

    /// `ready` turned out to take no more calls: the next one gets a new connection.
    pub(super) fn retire(&self, ready: &Ready) {
        self.0.link.retire(ready.generation);
    }
}

impl Ready {
    /// A call was opened on it.
    pub(super) fn set_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }
}

impl Link {
    fn retire(&self, generation: u64) {
        let current =
            |state: &State| matches!(state, State::Ready(ready) if ready.generation == generation);
        self.state.set_if(current, State::Idle);
    }
}

/// Connects whenever a call wants it, and drives the connections: the current one, and those that a GOAWAY retired
/// while their calls finish.
async fn manage(target: Arc<Target>, link: Arc<Link>) {
    let mut backoff = Backoff::new();
    let mut connections = JoinSet::new();
    // The last connection: when it was made, and whether a call was opened on it.
    let mut last: Option<(Instant, Arc<AtomicBool>)> = None;
    for generation in 0.. {
        loop {
            tokio::select! {
                biased;
                () = link.wanted.notified() => break,
                Some(_) = connections.join_next() => {}
            }
        }
        if !link.state.look(|state| matches!(state, State::Idle)) {
            // A wish from before the current connection.
            continue;
        }
        // A server that leaves as soon as it has come would be asked again and again, as fast as it leaves.
        let useless = last.take().is_some_and(|(made, used)| {
            let useless = !used.load(Ordering::Relaxed) && made.elapsed() < USELESS;
            if !useless {
                backoff.on_success();
            }
            useless
        });
        link.state.set(State::Connecting);
        let opened = match useless {
            false => connection::open(&target).await,
            true => Err(Status::unavailable(format!(
                "{}: the server closed the connection as soon as it was made",
                target.route
            ))),
        };
        match opened {
            Ok((send, driver)) => {
                let used = Arc::new(AtomicBool::new(false));
                last = Some((now(), Arc::clone(&used)));
                link.state.set(State::Ready(Ready {
                    send,
                    generation,
                    used,
                }));
                let link = Arc::clone(&link);
                connections.spawn(async move {
                    driver.await;
                    link.retire(generation);
                });
            }
            Err(status) => {
                let delay = backoff.on_failure(random());
                tracing::debug!(%status, ?delay, "cannot connect");
                link.state.set(State::Failed(status));
                sleep(delay).await;
                link.state.set(State::Idle);
            }
        }
    }
}

/// A connection that is lost within this, without a call on it, counts as one that could not be made. One second: the
/// first delay of the backoff, which is then at least as long.
const USELESS: Duration = Duration::from_secs(1);

fn now() -> Instant {
    Instant::now()
}

impl Route {
    fn to(address: Address, config: &Config) -> Result<Self, AddressError> {
        match address.scheme() {
            Scheme::Cleartext => Ok(Self::Cleartext(address)),
            #[cfg(feature = "tls")]
            Scheme::Tls => match config.tls.connector(address.host()) {
                Ok(connector) => Ok(Self::Tls(address, connector)),
                Err(error) => Err(AddressError::new(address, format!("over TLS: {error}"))),
            },
            #[cfg(not(feature = "tls"))]
            Scheme::Tls => {
                let _ = config;
                Err(AddressError::new(address, "needs the feature `tls`"))
            }
        }
    }

    fn scheme(&self) -> http::uri::Scheme {
        match self {
            Self::Cleartext(_) => http::uri::Scheme::HTTP,
            #[cfg(feature = "tls")]
            Self::Tls(..) => http::uri::Scheme::HTTPS,
            Self::Dialed(address, _) => match address.scheme() {
                Scheme::Cleartext => http::uri::Scheme::HTTP,
                Scheme::Tls => http::uri::Scheme::HTTPS,
            },
        }
    }

    fn authority(&self) -> Authority {
        match self {
            Self::Cleartext(address) => address.authority().clone(),
            #[cfg(feature = "tls")]
            Self::Tls(address, _) => address.authority().clone(),
            Self::Dialed(address, _) => address.authority().clone(),
        }
    }
}

/// As `:authority` says it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.authority(), f)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(manager) = self.manager.get() {
            manager.abort();
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel")
            .field(&self.0.target.route.authority())
            .finish()
    }
}
