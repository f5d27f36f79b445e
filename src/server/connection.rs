//! One connection: its streams become calls, and the calls are polled in the connection's own task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::handler::Rpc;
use super::{CallFuture, Server};
use crate::call::{Inbound, Outgoing, SharedOutgoing};
use crate::metadata::Metadata;
use crate::protocol::{ContentType, Rejection, RequestHead, exact_path};
use crate::status::Status;

/// Receive window of a connection, in bytes: four full streams at once.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve(
    socket: TcpStream,
    server: Arc<Server>,
    mut draining: watch::Receiver<bool>,
) {
    let handshake = builder().handshake::<_, Bytes>(socket).await;
    let mut h2 = match handshake {
        Ok(h2) => h2,
        // The peer's fault is not our log line above debug.
        Err(error) => return tracing::debug!(%error, "handshake failed"),
    };
    let mut calls = FuturesUnordered::<CallFuture>::new();
    let drain = draining.wait_for(|drain| *drain);
    tokio::select! {
        () = poll_fn(|cx| poll(cx, &mut h2, &mut calls, &server)) => return,
        _ = drain => {}
    }
    h2.graceful_shutdown();
    poll_fn(|cx| poll(cx, &mut h2, &mut calls, &server)).await;
}

/// Each default is explained in docs of h2; what differs from them bounds what one peer can make us hold.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(1000)
        .max_header_list_size(16 * 1024)
        .max_send_buffer_size(32 * 1024)
        .initial_window_size(256 * 1024)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // grpc-go sends one DATA frame for each message; with h2's default 130 unread small ones end the connection.
        .data_frame_budget(50 * CONNECTION_WINDOW as usize);
    builder
}

/// Accepts what came, then polls the calls, and again until neither has anything to do.
fn poll(
    cx: &mut Context<'_>,
    h2: &mut Connection<TcpStream, Bytes>,
    calls: &mut FuturesUnordered<CallFuture>,
    server: &Server,
) -> Poll<()> {
    loop {
        match h2.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                calls.extend(start(request, respond, server));
                continue;
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "connection failed");
                return Poll::Ready(());
            }
            Poll::Ready(None) => return Poll::Ready(()),
            Poll::Pending => {}
        }
        match calls.poll_next_unpin(cx) {
            // What the call sent is in h2's hands; go round to have it written.
            Poll::Ready(Some(())) => {}
            Poll::Ready(None) | Poll::Pending => return Poll::Pending,
        }
    }
}

/// The call of a new stream, or `None` when it was answered at once.
fn start(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    server: &Server,
) -> Option<CallFuture> {
    let (parts, body) = request.into_parts();
    let route = exact_path(&parts)
        .and_then(|path| server.routes.get(path))
        .cloned();
    let head = match RequestHead::parse(&parts.method, parts.headers) {
        Ok(head) => head,
        Err(Rejection::NotGrpc(why)) => {
            let (response, text) = why.into_response();
            if let Ok(mut stream) = respond.send_response(response, false) {
                // Fails only when the peer has left.
                let _ = stream.send_data(Bytes::from_static(text.as_bytes()), true);
            }
            return None;
        }
        Err(Rejection::Status(status)) => {
            end(Outgoing::new(respond, ContentType::Plain), &status);
            return None;
        }
    };
    let outgoing = Outgoing::new(respond, head.content_type);
    let Some(route) = route else {
        end(
            outgoing,
            &Status::unimplemented(format!("unknown method {}", parts.uri.path())),
        );
        return None;
    };
    let inbound = Inbound::new(body, head.encoding, server.limits.max_recv_bytes);
    let rpc = Rpc::new(head, inbound, SharedOutgoing::new(outgoing), server.limits);
    Some(route.service.call(route.index, rpc))
}

fn end(mut outgoing: Outgoing, status: &Status) {
    // Fails only when the peer has left.
    let _ = outgoing.end(Err(status), Metadata::new());
}
