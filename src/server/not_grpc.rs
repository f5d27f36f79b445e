//! The answer to a request that is no gRPC: a person with curl sees what is wrong.
//!
//! In: a request, and why it is no call. Out: an HTTP status and a line of text. The request is read to its end first:
//! an answer before would hide what is wrong with the request itself, and some clients drop it.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Method;
use tokio::time::timeout;

use super::CallFuture;
use crate::protocol::NotGrpc;

/// How many bytes of such a request are read. 64 KiB: what a form or a JSON call has.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long that may take, and then the taking of the answer. One second: nobody waits for us but somebody who is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// An answer to HTTP/1, which is no HTTP/2 connection at all.
pub(super) const HTTP1_ANSWER: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\ncontent-length: 42\r\nconnection: close\r\n\r\n\
    this port speaks gRPC, which needs HTTP/2\n";

/// Answers `why`.
pub(super) fn answer(
    why: NotGrpc,
    method: &Method,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> CallFuture {
    // An answer to HEAD has no body, by RFC 9110, section 9.3.2.
    let bodiless = method == Method::HEAD;
    Box::pin(async move {
        if let Ok(Err(error)) = timeout(PATIENCE, read(&mut body)).await {
            // h2 has answered already, with a reset.
            return tracing::debug!(%error, "a request that is no gRPC failed");
        }
        let (response, text) = why.into_response();
        // Fails only when the peer has left, as what follows.
        let Ok(mut stream) = respond.send_response(response, bodiless) else {
            return;
        };
        if bodiless {
            return;
        }
        if timeout(PATIENCE, write(&mut stream, text)).await.is_err() {
            // What h2 holds for a peer without a window, it holds for ever.
            stream.send_reset(Reason::CANCEL);
        }
    })
}

/// Writes the text as the peer's window takes it, until the peer has left.
async fn write(stream: &mut SendStream<Bytes>, text: &'static str) {
    let mut rest = Bytes::from_static(text.as_bytes());
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return;
        };
        let part = rest.split_to(room.min(rest.len()));
        if stream.send_data(part, rest.is_empty()).is_err() {
            return;
        }
    }
}

/// Reads a body to its end, or to the limit.
async fn read(body: &mut RecvStream) -> Result<(), h2::Error> {
    let mut read = 0;
    while read < MAX_BODY_BYTES {
        let Some(chunk) = body.data().await else {
            return body.trailers().await.map(drop);
        };
        let length = chunk?.len();
        read += length;
        body.flow_control().release_capacity(length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::HTTP1_ANSWER;

    #[test]
    fn the_answer_to_http_1_has_the_length_it_says() {
        let answer = std::str::from_utf8(HTTP1_ANSWER).expect("ASCII");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an empty line");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())));
    }
}
