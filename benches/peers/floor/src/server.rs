//! Servers without gRPC: h2 sending bytes encoded beforehand and answering unary with a constant, and plain TCP.

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::export;

type Failure = Box<dyn Error + Send + Sync>;

/// A frame with the sum 1.
const ANSWER: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// Bare h2.
pub async fn h2(address: &str) -> Result<(), Failure> {
    let export = Arc::new(export());
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(connection(socket, Arc::clone(&export)));
    }
}

async fn connection(socket: TcpStream, export: Arc<Vec<Bytes>>) -> Result<(), Failure> {
    socket.set_nodelay(true)?;
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(1000)
        .handshake(socket)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        if request.uri().path().ends_with("/Echo") {
            answer(respond)?;
        } else {
            tokio::spawn(stream(request, respond, Arc::clone(&export)));
        }
    }
    Ok(())
}

/// Without reading the request.
fn answer(mut respond: SendResponse<Bytes>) -> Result<(), Failure> {
    let mut stream = respond.send_response(head(), false)?;
    stream.send_data(Bytes::from_static(ANSWER), false)?;
    stream.send_trailers(trailers())?;
    Ok(())
}

async fn stream(
    _request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    export: Arc<Vec<Bytes>>,
) -> Result<(), Failure> {
    let mut stream = respond.send_response(head(), false)?;
    for chunk in export.iter() {
        send(&mut stream, chunk.clone()).await?;
    }
    stream.send_trailers(trailers())?;
    Ok(())
}

pub async fn send(stream: &mut SendStream<Bytes>, mut chunk: Bytes) -> Result<(), Failure> {
    while !chunk.is_empty() {
        stream.reserve_capacity(chunk.len());
        let Some(capacity) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Err("the stream was closed".into());
        };
        let part = chunk.split_to(capacity?.min(chunk.len()));
        stream.send_data(part, false)?;
    }
    Ok(())
}

pub fn head() -> Response<()> {
    let mut response = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, grpc);
    response
}

pub fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

/// Plain TCP: each byte that comes is answered with an export.
pub async fn tcp(address: &str) -> Result<(), Failure> {
    let export = export();
    let listener = TcpListener::bind(address).await?;
    loop {
        let (mut socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        while let Ok(1) = socket.read(&mut [0]).await {
            for chunk in &export {
                socket.write_all(chunk).await?;
            }
        }
    }
}
