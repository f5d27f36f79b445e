//! What the front answers with: JSON, an export as it arrives, and the HTTP status of a gRPC code.
//!
//! In: values, statuses, exports. Out: HTTP responses.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::export::Export;
use crate::status::{Code, Status};

/// A response's body. It fails when an export does, which breaks the connection off.
pub(super) type Body = UnsyncBoxBody<Bytes, Status>;

#[derive(Serialize)]
struct Failure<'a> {
    err: &'a str,
}

/// `value` as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_vec(value).expect("our own types have a JSON form");
    text.push(b'\n');
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    response(status, "application/json", body.boxed_unsync())
}

/// `{"err": text}`.
pub(super) fn error(status: StatusCode, text: &str) -> Response<Body> {
    json(status, &Failure { err: text })
}

/// A call that failed before anything of its answer was sent.
pub(super) fn failure(status: &Status) -> Response<Body> {
    error(http_status(status.code()), &status.to_string())
}

/// The orders of `export` as they arrive, after `first`, which is there already. Once the body has begun, a failure can
/// only be told by breaking it off.
pub(super) fn orders(first: Option<Vec<u8>>, export: Export) -> Response<Body> {
    let chunks = stream::try_unfold((first, export), |(first, mut export)| async move {
        let chunk = match first {
            Some(chunk) => Some(chunk),
            None => export.next().await.inspect_err(|status| {
                let received = export.received();
                tracing::warn!(%status, received, "an export failed, and the body with it");
            })?,
        };
        Ok(chunk.map(|chunk| (Frame::data(Bytes::from(chunk)), (None, export))))
    });
    let body = StreamBody::new(chunks).boxed_unsync();
    response(StatusCode::OK, "application/x-ndjson", body)
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, content_type);
    set(header::CACHE_CONTROL, "no-store");
    response
}

/// The HTTP status of a code, as grpc-gateway has it and google/rpc/code.proto says.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => {
            StatusCode::from_u16(CLIENT_CLOSED_REQUEST).expect("three digits are a status")
        }
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// "Client Closed Request": no standard has it, code.proto and grpc-gateway do.
const CLIENT_CLOSED_REQUEST: u16 = 499;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_http_status_of_grpc_gateway() {
        let statuses = Code::ALL.map(|code| http_status(code).as_u16());
        assert_eq!(
            statuses,
            [
                200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401
            ]
        );
    }

    #[tokio::test]
    async fn a_failure_says_code_and_message_as_json() {
        let response = failure(&Status::unavailable("no \"server\""));
        assert_eq!(response.status(), 503);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "{\"err\":\"UNAVAILABLE: no \\\"server\\\"\"}\n");
    }
}
