//! Rule 15: header blocks that are too large, on their way in and on their way out.

use http::Request;
use streamway::client;
use streamway::codec::RawMessage;
use streamway::server::{Config, Server};
use streamway::{Channel, Code, Metadata, Method};

use crate::support::{Fixture, REVERSE, TRAIL, channel, channel_to, frame, raw};
use crate::wire::{call, grpc, serve_raw};

/// What every field counts besides its name and its value (RFC 9113, section 6.5.2).
const FIELD: usize = 32;

fn limited(bytes: u32) -> Server {
    let mut config = Config::default();
    config.max_header_list_bytes = bytes;
    Server::new().config(config)
}

/// What a request counts.
fn bytes(request: &Request<()>) -> usize {
    let pseudo = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "t"),
        (":path", request.uri().path()),
    ];
    let pseudo = pseudo
        .into_iter()
        .map(|(name, value)| name.len() + value.len() + FIELD);
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    pseudo.chain(fields).sum()
}

#[tokio::test]
async fn a_request_whose_headers_are_too_large_is_431_and_costs_no_other_call() {
    const LIMIT: u32 = 1000;
    let client = serve_raw(limited(LIMIT), Fixture::default()).await;
    let plain = bytes(&grpc("/t.T/Echo").header("x", "").body(()).expect("legal"));
    let room = LIMIT as usize - plain;
    for (value, status) in [(room - 1, 200), (room + 1, 431), (1, 200)] {
        let request = grpc("/t.T/Echo").header("x", "v".repeat(value));
        let request = request.body(()).expect("legal");
        let answer = call(&client, request, frame(b"x")).await;
        assert_eq!(answer.head.status(), status, "{value}");
    }
    // Empty fields count as well.
    let mut request = grpc("/t.T/Echo");
    for _ in 0..room / FIELD + 2 {
        request = request.header("y", "");
    }
    let request = request.body(()).expect("legal");
    assert_eq!(call(&client, request, frame(b"x")).await.head.status(), 431);
}

#[tokio::test]
async fn a_response_whose_headers_are_too_large_is_internal_and_costs_no_other_call() {
    let served = Fixture::default().serve(Server::new()).await;
    let mut config = client::Config::default();
    config.max_header_list_bytes = 1000;
    let channel = Channel::with_config(&served.address, config).expect("an address");
    let outcome = echo(&channel, REVERSE, 1500, b"ab").await;
    assert_eq!(outcome.expect_err("too large").0, Code::Internal);
    assert_eq!(echo(&channel, REVERSE, 500, b"ab").await, Ok(raw(b"ba")));
}

#[tokio::test]
async fn metadata_that_do_not_fit_in_a_block_end_their_own_call() {
    let (_served, channel) = channel().await;
    for (method, message, answer) in [(REVERSE, &b"ab"[..], &b"ba"[..]), (TRAIL, b"", b"")] {
        let outcome = echo(&channel, method, 9000, message).await;
        let (code, text) = outcome.expect_err("too large");
        assert_eq!(code, Code::Internal);
        assert_eq!(text, "metadata of 9038 bytes, the limit is 7936");
        let outcome = echo(&channel, method, 7000, message).await;
        assert_eq!(outcome, Ok(raw(answer)));
    }
}

#[tokio::test]
async fn details_that_do_not_fit_are_left_out_and_the_code_arrives() {
    let (_served, channel) = channel().await;
    for (details, kept) in [(5000, true), (100_000, false)] {
        let call = channel.unary::<_, RawMessage>(TRAIL, RawMessage(vec![7; details].into()));
        let status = call.send().await.expect_err("as asked");
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(status.raw_details().len(), if kept { details } else { 0 });
        assert_eq!(status.message() == "as asked", kept, "{status}");
        assert!(status.message().starts_with("as asked"));
    }
}

/// A server says how much it sends, when its clients take more.
#[tokio::test]
async fn a_server_can_send_larger_blocks() {
    let mut config = Config::default();
    config.max_send_header_list_bytes = 16 * 1024;
    let (_served, channel) = channel_to(Server::new().config(config), Fixture::default()).await;
    assert_eq!(echo(&channel, REVERSE, 9000, b"ab").await, Ok(raw(b"ba")));
}

/// Calls `method` with so many bytes of metadata to be sent back.
async fn echo(
    channel: &Channel,
    method: Method,
    bytes: usize,
    message: &'static [u8],
) -> Result<RawMessage, (Code, String)> {
    let mut metadata = Metadata::new();
    metadata
        .append("x-echo", &"v".repeat(bytes))
        .expect("legal");
    let call = channel.unary::<_, RawMessage>(method, raw(message));
    let outcome = call.metadata(metadata).send().await;
    outcome.map_err(|status| (status.code(), status.message().to_owned()))
}
