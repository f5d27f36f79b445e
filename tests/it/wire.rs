//! A raw h2 client, and the headers that a gRPC client sends.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use streamway::server::Server;
use tokio::net::TcpStream;

use crate::support::{Fixture, Served};

/// A client of `fixture`, which is served as long as the test runs.
pub(crate) async fn serve_raw(server: Server, fixture: Fixture) -> SendRequest<Bytes> {
    let served = fixture.serve(server).await;
    let client = connect_to(&served).await;
    tokio::spawn(async move {
        let _served = served;
        std::future::pending::<()>().await;
    });
    client
}

pub(crate) async fn connect_to(served: &Served) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(served.socket_address())
        .await
        .expect("served");
    let (client, connection) = h2::client::handshake(socket).await.expect("h2");
    tokio::spawn(connection);
    client
}

/// Everything that came back.
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// `grpc-status` and `grpc-message`, from trailers or from Trailers-Only.
    pub(crate) fn status(&self) -> (&str, &str) {
        let text = |name| {
            let value = self
                .trailers
                .get(name)
                .or_else(|| self.head.headers().get(name));
            value.map_or("", |value| value.to_str().expect("ASCII"))
        };
        (text("grpc-status"), text("grpc-message"))
    }

    /// A header of the head; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.head.headers().get(name);
        value.map_or("", |value| value.to_str().expect("ASCII"))
    }
}

/// Sends a whole request and waits for the whole answer.
pub(crate) async fn call(client: &SendRequest<Bytes>, request: Request<()>, body: Bytes) -> Answer {
    let mut client = client.clone().ready().await.expect("open");
    let (response, mut stream) = client.send_request(request, false).expect("legal");
    stream.send_data(body, true).expect("open");
    let (parts, mut stream) = response.await.expect("an answer").into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.expect("whole");
        stream
            .flow_control()
            .release_capacity(chunk.len())
            .expect("taken");
        assert!(
            !chunk.is_empty() || stream.is_end_stream(),
            "an empty DATA frame"
        );
        body.extend_from_slice(&chunk);
    }
    let trailers = stream.trailers().await.expect("whole").unwrap_or_default();
    Answer {
        head: Response::from_parts(parts, ()),
        body,
        trailers,
    }
}

/// What a gRPC client asks for `path` with.
pub(crate) fn grpc(path: &str) -> http::request::Builder {
    Request::post(format!("http://t{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}
