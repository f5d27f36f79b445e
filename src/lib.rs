//! gRPC by hand on raw `h2` streams: a library for services and clients, and a streaming server built on it.
//!
//! The data path of a call, in the order in which the files are best read:
//!
//! ```text
//! socket → 1 server/connection   accept, handshake, gathered writes; polls the calls
//!          2 server/router       :path → method and its limits
//!          3 server/handler      runs a handler to its status, whatever happens
//!          4 call/recv           h2 DATA → FrameDecoder → Codec; window credit back when consumed
//!          5 codec/frame         5-byte prefix, limit, meaning of END_STREAM
//!            service/…           your handler
//!          6 call/send           Codec → frames coalesced → capacity → DATA
//!          7 status/wire         trailers
//! socket ← 8 transport/io        one write for everything that became ready
//! ```
//!
//! The client is the mirror: `client/channel` → `client/connection` → `client/request` → `client/responses`.
//!
//! # A server
//!
//! Generated code has a trait for each service (see [`codegen`](crate#features)); implement it and serve it:
//!
//! ```no_run
//! use streamway::health::{Health, ServingStatus};
//! use streamway::Server;
//!
//! # async fn serve() -> std::io::Result<()> {
//! let health = Health::new();
//! health.set("my.Service", ServingStatus::Serving);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9528").await?;
//! let shutdown = std::future::pending();
//! Server::new().add_service(health.service()).serve(listener, shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # A client
//!
//! ```no_run
//! use streamway::Channel;
//! use streamway::health::proto::HealthCheckRequest;
//! use streamway::health::proto::health::HealthClient;
//!
//! # async fn check() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = Channel::connect("http://127.0.0.1:9528")?;
//! let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).send().await?;
//! println!("{:?}", answer.status());
//! # Ok(())
//! # }
//! ```
//!
//! # Cancel safety
//!
//! Dropping is cancelling, on both sides and at any moment: the peer sees RST_STREAM(CANCEL), a handler's future is
//! dropped. The methods that send and receive single messages lose nothing when their futures are dropped.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `app` (default) | the binary: the streaming service, its store, the HTTP front, the command line |
//! | `gzip` (default), `deflate`, `zstd`, `brotli`, `snappy` | messages compressed so, in both directions |
//! | `tls` (in `app`) | TLS on both sides: `https://` addresses, client certificates, new certificates without a restart |
//! | `codegen` | `codegen`, for build scripts of other packages |
//! | `conformance` | no API: the code of the services that the public test suites call, for `examples/` |

// Generated code says `::streamway` wherever it is included, here too.
extern crate self as streamway;

pub mod call;
#[cfg(feature = "app")]
pub mod cli;
pub mod client;
pub mod codec;
#[cfg(feature = "codegen")]
pub mod codegen;
#[cfg(feature = "app")]
pub mod export;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "app")]
pub mod gateway;
pub mod health;
pub mod metadata;
pub mod method;
#[cfg(feature = "app")]
pub mod objects;
#[cfg(feature = "app")]
pub mod proto;
mod protocol;
pub mod reflection;
pub mod server;
#[cfg(feature = "app")]
pub mod service;
pub mod status;
#[cfg(feature = "app")]
pub mod store;
pub mod transport;

pub use self::call::{Call, Sender, Streaming};
pub use self::client::Channel;
pub use self::codec::{Codec, Encoding, MessageLimits};
pub use self::metadata::Metadata;
pub use self::method::{Method, MethodKind};
pub use self::server::Server;
pub use self::status::{Code, Status};
