//! Where commands find the server, and where servers listen.
//!
//! In: addresses as the user wrote them. Out: clients, listeners. Not here: which flag they come from.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use tokio::net::TcpListener;

use super::failure::Failure;
use super::tls;
use crate::client::{Address, Channel, Config};
use crate::codec::MessageLimits;

/// The server that a command calls.
#[derive(Args, Debug)]
pub(super) struct Server {
    /// Address of the gRPC server
    #[arg(
        long,
        env = "STREAMWAY_ADDR",
        default_value = "http://127.0.0.1:9528",
        value_name = "URL"
    )]
    addr: Address,

    #[command(flatten)]
    tls: tls::Client,
}

impl Server {
    /// A channel to it, with these limits of messages.
    pub(super) fn channel(&self, limits: MessageLimits) -> Result<Channel, Failure> {
        let config = Config {
            limits,
            tls: self.tls.settings(&self.addr, "--addr")?,
            ..Config::default()
        };
        Channel::with_config(&self.addr.to_string(), config)
            .map_err(|error| Failure::other(error.to_string()))
    }
}

/// Listens on `address`, which `flag` gave.
pub(super) async fn listen(address: &str, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("address in use; another streamway? choose {flag}")
            }
            io::ErrorKind::InvalidInput => format!("{flag} is a host and a port: {error}"),
            _ => format!("{error}; choose {flag}"),
        };
        Failure::other(format!("cannot listen on {address}: {why}"))
    })
}

/// Where `listener` listens: with port 0, on which port.
pub(super) fn listening(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    let address = listener.local_addr();
    address.map_err(|error| Failure::io("cannot tell where the server listens", &error))
}

/// Where a client in this process finds a server that listens on `address`: a server on every interface is on loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_interface_is_reached_on_loopback() {
        for (listening, reached) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("127.0.0.1:3", "127.0.0.1:3"),
            ("10.0.0.7:4", "10.0.0.7:4"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()).to_string(), reached);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_said_with_the_way_out() {
        let taken = listen("127.0.0.1:0", "--grpc-addr").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let failure = listen(&address, "--grpc-addr").await.unwrap_err();
        let Failure::Other(text) = failure else {
            panic!("{failure:?}");
        };
        assert_eq!(
            text,
            format!(
                "cannot listen on {address}: address in use; another streamway? choose --grpc-addr"
            )
        );
    }
}
