//! Path and method → one of the three exchanges, or why not.
//!
//! In: an HTTP request's head; bodies are not read. Out: its response. Not here: the exchanges (`calls`).

use std::time::Instant;

use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::answer::{self, Body};
use super::calls::Backend;
use super::query;

/// What there is to ask for.
pub const ROUTES: [&str; 3] = [ORDER_LIST, UPLOAD_IMAGE, SUM_DATA];

const ORDER_LIST: &str = "/testOrderList";
const UPLOAD_IMAGE: &str = "/testUploadImage";
const SUM_DATA: &str = "/testSumData";

/// The methods of every route.
const ALLOWED: &str = "GET, HEAD";

/// Largest body of a request, in bytes. No route has a use for one; a careless client's few bytes do no harm.
const MAX_REQUEST_BODY_BYTES: u64 = 1024;

/// Bytes of a method or a path in the log, at most. 128: more than ours have.
const MAX_LOGGED_BYTES: usize = 128;

/// Answers a request.
pub(super) async fn route(backend: &Backend, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let response = answer(backend, &request).await;
    tracing::info!(
        method = cut(request.method().as_str()),
        path = cut(request.uri().path()),
        status = response.status().as_u16(),
        elapsed = ?started.elapsed(),
        "http"
    );
    response
}

async fn answer(backend: &Backend, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if !ROUTES.contains(&path) {
        let text = format!("there is no {path}; there are {}", ROUTES.join(", "));
        return answer::error(StatusCode::NOT_FOUND, &text);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = format!("{} is not possible here, {ALLOWED} are", request.method());
        let mut response = answer::error(StatusCode::METHOD_NOT_ALLOWED, &text);
        let allowed = HeaderValue::from_static(ALLOWED);
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let body = request.body().size_hint().upper();
    if body.is_none_or(|bytes| bytes > MAX_REQUEST_BODY_BYTES) {
        let text = format!("a request's body has {MAX_REQUEST_BODY_BYTES} bytes at most");
        return answer::error(StatusCode::PAYLOAD_TOO_LARGE, &text);
    }
    match path {
        UPLOAD_IMAGE => respond(backend.upload_images().await),
        SUM_DATA => respond(backend.sum_data().await),
        _ => order_list(backend, request).await,
    }
}

fn respond<T: serde::Serialize>(result: Result<T, crate::Status>) -> Response<Body> {
    match result {
        Ok(value) => answer::json(StatusCode::OK, &value),
        Err(status) => answer::failure(&status),
    }
}

async fn order_list(backend: &Backend, request: &Request<Incoming>) -> Response<Body> {
    if request.version() < Version::HTTP_11 {
        // Without chunks a body that was cut looks like one that ended.
        let text = format!("{ORDER_LIST} needs HTTP/1.1");
        return answer::error(StatusCode::HTTP_VERSION_NOT_SUPPORTED, &text);
    }
    match query::search(request.uri().query().unwrap_or_default()) {
        Err(text) => answer::error(StatusCode::BAD_REQUEST, &text),
        Ok(search) => match backend.order_list(search).await {
            Ok((first, export)) => answer::orders(first, export),
            Err(status) => answer::failure(&status),
        },
    }
}

/// What of a peer's text is logged.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_LOGGED_BYTES)]
}
