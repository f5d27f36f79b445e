//! What our server says to a request, header by header.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderValue, Request};
use streamway::Encoding;
use streamway::codec::RawMessage;
use streamway::server::{Config, Server};
use streamway::status::Code;
use tokio::time::timeout;

use crate::support::{Fixture, LONG, REVERSE, channel, frame, raw};
use crate::wire::{Answer, call, connect_to, grpc, serve_raw};

/// Rules 2 and 10.
#[tokio::test]
async fn a_request_without_te_and_with_a_value_that_is_no_ascii_is_served() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    let request = Request::post("http://t/t.T/Echo")
        .header("content-type", "application/grpc")
        .header(
            "x-name",
            HeaderValue::from_bytes(b"caf\xe9").expect("legal HTTP"),
        );
    let answer = call(&client, request.body(()).expect("legal"), frame(b"x")).await;
    assert_eq!(answer.status(), ("0", ""));
    assert_eq!(answer.body, frame(b"x"));
}

/// Rules 5 and 39: on every way that a call can end.
#[tokio::test]
async fn the_answer_repeats_the_sub_format_of_the_request_and_its_http_status_is_200() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    for content_type in ["application/grpc", "application/grpc+proto"] {
        for (path, header, code) in [
            ("/t.T/Echo", ("x", ""), "0"),
            ("/t.T/Refuse", ("x", ""), "9"),
            ("/t.T/Nothing", ("x", ""), "12"),
            ("/t.T/Echo", ("grpc-timeout", "1"), "13"),
            ("/t.T/Echo", ("grpc-encoding", "lzma"), "12"),
        ] {
            let request = Request::post(format!("http://t{path}"))
                .header("content-type", content_type)
                .header(header.0, header.1);
            let request = request.body(()).expect("legal");
            let answer = call(&client, request, frame(b"x")).await;
            assert_eq!(answer.status().0, code, "{path}");
            assert_eq!(answer.header("content-type"), content_type, "{path}");
            assert_eq!(answer.head.status(), 200, "{path}");
        }
    }
}

/// Rule 7: in the header, and beyond what a clock can say.
#[tokio::test]
async fn the_longest_timeout_is_no_deadline() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    let request = grpc("/t.T/Echo").header("grpc-timeout", "99999999H");
    let answer = call(&client, request.body(()).expect("legal"), frame(b"x")).await;
    assert_eq!(answer.status(), ("0", ""));

    let (_served, channel) = channel().await;
    for timeout in [Duration::MAX, Duration::from_secs(99_999_999 * 3600)] {
        let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
        assert_eq!(call.timeout(timeout).send().await.expect("OK"), raw(b"ba"));
    }
}

/// Rule 27.
#[tokio::test]
async fn to_an_unknown_encoding_the_answer_lists_those_that_are_known() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    let request = grpc("/t.T/Echo").header("grpc-encoding", "lzma");
    let answer = call(&client, request.body(()).expect("legal"), frame(b"x")).await;
    assert_eq!(answer.status().0, "12");
    assert_eq!(listed(&answer), known());
}

/// Rule 30; and rule 31: every answer lists what is read, so whatever the request used undisclosed is in it.
#[tokio::test]
async fn an_answer_is_compressed_with_nothing_that_the_request_does_not_list() {
    let mut config = Config::default();
    config.encoding = Encoding::Gzip;
    let client = serve_raw(Server::new().config(config), Fixture::default()).await;
    for (accept, encoding, flag) in [
        (None, "", 0),
        (Some("identity"), "", 0),
        (Some("deflate,br"), "", 0),
        (Some("deflate, gzip"), "gzip", 1),
    ] {
        let mut request = grpc("/t.T/Join");
        if let Some(accept) = accept {
            request = request.header("grpc-accept-encoding", accept);
        }
        let request = request.body(()).expect("legal");
        let answer = call(&client, request, frame(b"x")).await;
        assert_eq!(answer.status(), ("0", ""));
        assert_eq!(answer.header("grpc-encoding"), encoding, "{accept:?}");
        assert_eq!(answer.body[0], flag, "{accept:?}");
        assert_eq!(listed(&answer), known());
    }
}

fn listed(answer: &Answer) -> Vec<&str> {
    let list = answer.header("grpc-accept-encoding").split(',');
    let mut names: Vec<_> = list.map(str::trim).collect();
    names.retain(|name| *name != "identity");
    names.sort_unstable();
    names
}

fn known() -> Vec<&'static str> {
    let mut names: Vec<_> = Encoding::SUPPORTED.iter().map(|one| one.name()).collect();
    names.retain(|name| *name != "identity");
    names.sort_unstable();
    names
}

/// Rules 35 and 47.
#[tokio::test]
async fn trailers_only_carry_details_and_metadata_duplicates_included() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    let request = grpc("/t.T/Trail")
        .header("x-echo", "one")
        .header("x-echo", "two");
    let answer = call(&client, request.body(()).expect("legal"), frame(&[1, 2])).await;
    assert!(answer.trailers.is_empty() && answer.body.is_empty());
    assert_eq!(answer.status(), ("10", "as asked"));
    assert_eq!(answer.header("grpc-status-details-bin"), "AQI");
    let echoed = answer.head.headers().get_all("x-echo");
    assert_eq!(echoed.into_iter().collect::<Vec<_>>(), ["one", "two"]);
}

/// Rule 33: Trailers-Only is one block, so it has no place for headers.
#[tokio::test]
async fn headers_that_a_handler_has_set_are_headers_also_when_it_fails() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    let request = grpc("/t.T/Reverse").header("x-echo", "one");
    let answer = call(&client, request.body(()).expect("legal"), Bytes::new()).await;
    assert_eq!(answer.header("x-echo"), "one");
    assert_eq!(answer.header("grpc-status"), "");
    assert_eq!(answer.status().0, "12");
    assert_eq!(answer.trailers.get_all("x-echo").iter().count(), 1);
}

/// Rules 44 and 48: nobody waits for the end of a request that is answered already.
#[tokio::test]
async fn an_answer_before_the_end_of_a_request_is_followed_by_no_error() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    for (path, header, code) in [
        ("/t.T/Nothing", ("x", ""), Code::Unimplemented),
        ("/t.T/Echo", ("grpc-timeout", "1"), Code::Internal),
        ("/t.T/Refuse", ("x", ""), Code::FailedPrecondition),
        ("/t.T/Early", ("x", ""), Code::Ok),
        ("/t.T/Panic", ("x", ""), Code::Internal),
    ] {
        let mut client = client.clone().ready().await.expect("open");
        let request = grpc(path).header(header.0, header.1);
        let request = request.body(()).expect("legal");
        let (response, mut stream) = client.send_request(request, false).expect("legal");
        stream
            .send_data(frame(b"more to come"), false)
            .expect("open");
        let answer = timeout(LONG, response).await.expect("at once");
        let (head, mut body) = answer.expect("an answer").into_parts();
        while let Some(chunk) = body.data().await {
            chunk.expect("whole");
        }
        let trailers = body.trailers().await.expect("whole");
        let trailers = trailers.as_ref().unwrap_or(&head.headers);
        assert_eq!(trailers["grpc-status"], code.number().to_string(), "{path}");
        let reset = std::future::poll_fn(|cx| stream.poll_reset(cx));
        let reason = timeout(LONG, reset).await.expect("at once");
        assert_eq!(reason.expect("reset"), Reason::NO_ERROR, "{path}");
    }
}

/// Rule 55; what clients make of it is in `peers`.
#[tokio::test]
async fn a_connection_that_is_lost_drops_the_handlers_of_its_calls() {
    let fixture = Fixture::default();
    let (hanging, dropped) = (Arc::clone(&fixture.hanging), Arc::clone(&fixture.dropped));
    let served = fixture.serve(Server::new()).await;
    let client = connect_to(&served).await;
    let mut client = client.ready().await.expect("open");
    let request = grpc("/t.T/Hang").body(()).expect("legal");
    let call = client.send_request(request, false).expect("legal");
    timeout(LONG, hanging.notified()).await.expect("called");
    // Nothing that would keep the connection is left.
    drop((call, client));
    timeout(LONG, dropped.notified()).await.expect("dropped");
}
