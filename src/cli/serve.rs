//! `streamway serve`: the gRPC server with all its services, and the HTTP front before it.
//!
//! In: where to listen and to keep things, and limits. Out: a server that runs until a signal and drains then. Not here:
//! any of its parts.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use humantime::format_duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::address::{listen, listening, reachable};
use super::failure::{Failure, say};
use super::signals::{Signals, exit_code, until_drained};
use super::tls::{self, Security};
use super::values::{HttpAddress, MessageBytes, bytes, duration};
use crate::codec::MessageLimits;
use crate::gateway::{Front, ROUTES};
use crate::health::{self, Health, ServingStatus};
use crate::objects::Images;
use crate::proto;
use crate::proto::stream_service::{SERVICE_NAME, StreamServiceServer};
use crate::reflection::Reflection;
use crate::server::{Config, Drained, Server};
use crate::service::Streams;
use crate::store::OrderStore;
use crate::store::folder::DataFolder;
use crate::store::sqlite::SqliteStore;
use crate::transport::{ServerTls, in_process};

/// Serve the streaming service, and the HTTP front before it
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Where to serve gRPC: a host and a port; port 0 for any that is free
    #[arg(
        long,
        env = "STREAMWAY_GRPC_ADDR",
        default_value = "127.0.0.1:9528",
        value_name = "ADDRESS"
    )]
    grpc_addr: String,

    /// Where to serve HTTP: a host and a port; port 0 for any that is free, off for no HTTP
    #[arg(
        long,
        env = "STREAMWAY_HTTP_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    http_addr: HttpAddress,

    #[command(flatten)]
    tls: tls::Server,

    /// The folder of orders and images; made when it is missing
    #[arg(
        long,
        env = "STREAMWAY_DATA_DIR",
        default_value = "./streamway-data",
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,

    /// How many orders to make, when there is no store of orders yet
    #[arg(
        long,
        env = "STREAMWAY_SAMPLE_ORDERS",
        default_value_t = 200_000,
        value_name = "N"
    )]
    sample_orders: u32,

    /// Largest message received, in bytes, or with a unit: 16, 4MiB, unlimited
    #[arg(
        long,
        env = "STREAMWAY_MAX_RECV_MESSAGE_BYTES",
        default_value_t = MessageBytes::DEFAULT_RECV,
        value_name = "BYTES"
    )]
    max_recv_message_bytes: MessageBytes,

    /// Largest message sent, in bytes, or with a unit: 16, 4MiB, unlimited
    #[arg(
        long,
        env = "STREAMWAY_MAX_SEND_MESSAGE_BYTES",
        default_value_t = MessageBytes::UNLIMITED,
        value_name = "BYTES"
    )]
    max_send_message_bytes: MessageBytes,

    /// Most calls in hand at once, over all connections
    #[arg(
        long,
        env = "STREAMWAY_MAX_CONCURRENT_CALLS",
        default_value_t = Config::default().max_concurrent_calls,
        value_name = "N"
    )]
    max_concurrent_calls: usize,

    /// How long a client may neither take nor send a byte in a call that waits for it, such as 30s or 5m
    #[arg(
        long,
        env = "STREAMWAY_STALL_TIMEOUT",
        default_value = "1m",
        value_name = "DURATION",
        value_parser = duration
    )]
    stall_timeout: Duration,

    /// How much room uploads leave on the disk, in bytes, or with a unit: 16, 500MiB, 0 for none
    #[arg(
        long,
        env = "STREAMWAY_MIN_FREE_BYTES",
        default_value = "1GiB",
        value_name = "BYTES",
        value_parser = bytes
    )]
    min_free_bytes: u64,

    /// Threads that serve gRPC; unless told otherwise one for each core
    #[arg(long, env = "STREAMWAY_THREADS", default_value_t = cores(), value_name = "N")]
    threads: NonZeroUsize,

    /// How long calls in flight may go on after SIGINT or SIGTERM, such as 30s or 5m
    #[arg(
        long,
        env = "STREAMWAY_DRAIN_TIMEOUT",
        default_value = "30s",
        value_name = "DURATION",
        value_parser = duration
    )]
    drain_timeout: Duration,
}

fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

impl Serve {
    pub(super) async fn run(self) -> Outcome {
        // What is wrong is said first, and a second server that is started by mistake touches nothing.
        let tls = self.tls.settings()?;
        let grpc = listen(&self.grpc_addr, "--grpc-addr").await?;
        let http = match &self.http_addr {
            HttpAddress::Off => None,
            HttpAddress::At(address) => Some(listen(address, "--http-addr").await?),
        };
        // Blocks, and nothing else runs yet; a signal ends the process here, and the next start begins anew.
        let (streams, folder) = self.open()?;
        let orders = streams.orders().count().await.map_err(|status| {
            Failure::other(format!("cannot count the orders: {}", status.message()))
        })?;

        let mut signals = Signals::listen()?;
        let health = Health::new();
        health.set(SERVICE_NAME, ServingStatus::Serving);
        let service = StreamServiceServer::new(streams);
        let server = self.server(service.clone(), &health, tls)?;
        let banner = Banner {
            grpc: listening(&grpc)?,
            http: http.as_ref().map(listening).transpose()?,
            folder,
            orders,
            serve: &self,
        };
        say(&banner);

        let draining = CancellationToken::new();
        let served = async {
            tokio::join!(
                server.serve_on_threads(grpc, self.threads, draining.cancelled()),
                self.front(http, service, &draining),
            )
        };
        let (grpc, http) = until_drained(&mut signals, served, || {
            health.shutdown();
            draining.cancel();
        })
        .await?;
        let grpc = grpc.map_err(|error| Failure::io("cannot serve gRPC", &error))?;
        Ok(exit_code(match (grpc, http?) {
            (Drained::Clean, Drained::Clean) => Drained::Clean,
            (Drained::Cut, _) | (_, Drained::Cut) => Drained::Cut,
        }))
    }

    fn open(&self) -> Result<(Streams<SqliteStore>, PathBuf), Failure> {
        let folder = DataFolder::open(&self.data_dir).map_err(|error| {
            let path = self.data_dir.display();
            Failure::io(format_args!("cannot use --data-dir {path}"), &error)
        })?;
        let path = folder.path().display();
        let store = SqliteStore::open(&folder, self.sample_orders).map_err(|status| {
            Failure::other(format!(
                "cannot open the orders in {path}: {}",
                status.message()
            ))
        })?;
        let images = Images::open(&folder, self.min_free_bytes).map_err(|error| {
            Failure::io(format_args!("cannot open the images in {path}"), &error)
        })?;
        let path = folder.path().to_owned();
        Ok((Streams::new(store, images), path))
    }

    /// The server for everyone.
    fn server(
        &self,
        service: Service,
        health: &Health,
        tls: Option<ServerTls>,
    ) -> Result<Server, Failure> {
        let reflection = Reflection::new([
            proto::FILE_DESCRIPTOR_SET,
            health::proto::FILE_DESCRIPTOR_SET,
        ])
        .map_err(|error| Failure::other(error.to_string()))?;
        let server = self
            .limited(service)
            .add_service(health.service())
            .add_service(reflection.service());
        Ok(match tls {
            Some(tls) => server.tls(tls),
            None => server,
        })
    }

    /// A server of the service alone, with the limits that the arguments say.
    fn limited(&self, service: Service) -> Server {
        let limits = MessageLimits::default()
            .recv(self.max_recv_message_bytes.get())
            .send(self.max_send_message_bytes.get());
        let config = Config {
            max_concurrent_calls: self.max_concurrent_calls,
            stall_timeout: self.stall_timeout,
            drain_timeout: self.drain_timeout,
            ..Config::default()
        };
        Server::new()
            .config(config)
            // Other services must work whatever the size of the service's messages: grpcurl asks them first.
            .service_limits(SERVICE_NAME, limits)
            .add_service(service)
    }

    /// Serves HTTP, as a client of the service.
    async fn front(
        &self,
        http: Option<TcpListener>,
        service: Service,
        draining: &CancellationToken,
    ) -> Result<Drained, Failure> {
        let Some(http) = http else {
            return Ok(Drained::Clean);
        };
        // In this process: the front needs no certificate, and nobody else gets in without one.
        let (backend, calls) = in_process();
        let front = Front::in_process(backend).drain_timeout(self.drain_timeout);
        let (served, drained) = tokio::join!(
            self.limited(service).serve(calls, draining.cancelled()),
            front.serve(http, draining.cancelled()),
        );
        served.map_err(|error| Failure::io("cannot serve the HTTP front", &error))?;
        Ok(drained)
    }
}

type Service = StreamServiceServer<Streams<SqliteStore>>;

/// What is said when the server is ready.
struct Banner<'a> {
    grpc: SocketAddr,
    http: Option<SocketAddr>,
    folder: PathBuf,
    orders: u64,
    serve: &'a Serve,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        let grpc = reachable(self.grpc);
        let serve = self.serve;
        writeln!(f, "streamway {version}")?;
        let (over, certificates) = match serve.tls.security() {
            Security::Cleartext => ("", "-plaintext"),
            Security::Tls => (", over TLS", "-cacert CA"),
            Security::MutualTls => (", over mutual TLS", "-cacert CA -cert CERT -key KEY"),
        };
        let threads = serve.threads;
        writeln!(f, "  gRPC    {} on {threads} threads{over}", self.grpc)?;
        match self.http {
            None => writeln!(f, "  HTTP    off")?,
            Some(http) => {
                let http = reachable(http);
                for route in ROUTES {
                    writeln!(f, "  HTTP    http://{http}{route}")?;
                }
            }
        }
        writeln!(
            f,
            "  data    {}, {} orders",
            self.folder.display(),
            self.orders
        )?;
        writeln!(
            f,
            "  limits  messages received {} bytes, sent {} bytes; {} calls; stall {}, drain {}",
            serve.max_recv_message_bytes,
            serve.max_send_message_bytes,
            serve.max_concurrent_calls,
            format_duration(serve.stall_timeout),
            format_duration(serve.drain_timeout)
        )?;
        write!(
            f,
            "  try     grpcurl {certificates} -d '{{\"limit\":3}}' {grpc} {SERVICE_NAME}/OrderList"
        )
    }
}
