//! Streams that end as soon as they begin, by the client or by what it makes the server do.

use std::time::Duration;

use tokio::time::timeout;

use crate::client::{LONG, NOTHING, Pace, SUM, Seen, call, call_with, flood, stream};
use crate::raw::frame::{Frame, error, kind};
use crate::server::{Attacked, Price};

/// How many streams a client may begin and break, at most, before it is told to calm down. h2 forgives 1024.
const MOST: u32 = 1100;

/// What is sent on one stream.
type Turn = fn(u32) -> Vec<Frame>;

fn begun_and_reset(n: usize) -> Vec<Frame> {
    let stream = stream(n);
    vec![call(stream, SUM), Frame::reset(stream, error::CANCEL)]
}

/// CVE-2023-44487.
#[tokio::test]
async fn a_burst_of_rapid_resets_ends_the_connection() {
    let attacked = Attacked::start(&[]);
    let peer = attacked.connect(&[]).await;
    let flooded = flood(peer, Pace::Burst, 20_000, begun_and_reset).await;
    let resets = flooded.calmed_down().div_ceil(2);
    attacked.held(
        "rapid reset, a burst",
        format_args!(
            "closed after {resets} resets, {} ms",
            flooded.told_after.as_millis()
        ),
        Price::default(),
    );
    assert!((1..=1000).contains(&resets), "{resets}");
}

#[tokio::test]
async fn rapid_resets_at_500_a_second_end_the_connection_by_the_1000th() {
    let attacked = Attacked::start(&[]);
    let peer = attacked.connect(&[]).await;
    let every = Pace::Every(Duration::from_millis(2));
    let flooded = flood(peer, every, 5000, begun_and_reset).await;
    let resets = flooded.calmed_down().div_ceil(2);
    attacked.held(
        "rapid reset, 500 a second",
        format_args!(
            "closed after {resets} resets, {} ms",
            flooded.told_after.as_millis()
        ),
        Price::default(),
    );
    assert!((1..=1000).contains(&resets), "{resets}");
}

/// CVE-2025-8671: the client breaks a rule on each stream, so that the server resets it.
async fn made_you_reset(how: &str, turn: impl Fn(u32) -> Vec<Frame>) {
    let attacked = Attacked::start(&[]);
    let peer = attacked.connect(&[]).await;
    let flooded = flood(peer, Pace::Burst, 50_000, |n| turn(stream(n))).await;
    let streams = flooded.calmed_down().div_ceil(2);
    attacked.held(
        &format!("MadeYouReset, {how}"),
        format_args!(
            "closed after {streams} streams, {} reset",
            flooded.seen.resets
        ),
        Price::default(),
    );
    assert!(streams <= MOST, "{streams}");
}

#[tokio::test]
async fn resets_made_by_windows_that_overflow_end_the_connection() {
    let turn = |stream| {
        vec![
            call(stream, SUM),
            Frame::window_update(stream, u32::MAX >> 1),
        ]
    };
    made_you_reset("a window that overflows", turn).await;
}

#[tokio::test]
async fn resets_made_by_streams_that_depend_on_themselves_end_the_connection() {
    let turn = |stream: u32| {
        let itself = [&stream.to_be_bytes()[..], &[15]].concat();
        vec![
            call(stream, SUM),
            Frame::new(kind::PRIORITY, 0, stream, itself),
        ]
    };
    made_you_reset("PRIORITY on itself", turn).await;
}

#[tokio::test]
async fn resets_made_by_lengths_that_lie_end_the_connection() {
    let turn = |stream| {
        let lies = call_with(stream, SUM, &[("content-length", "1")]);
        vec![lies, Frame::data(stream, &b"xx"[..])]
    };
    made_you_reset("content-length that lies", turn).await;
}

/// Where the rules leave it to the server, the first breach ends the connection, so there is nothing to count.
#[tokio::test]
async fn what_breaks_the_rules_of_a_connection_ends_it_at_once() {
    let breaches: [(&str, Turn); 3] = [
        ("a window that grows by 0", |stream| {
            vec![call(stream, SUM), Frame::window_update(stream, 0)]
        }),
        ("DATA behind the end", |stream| {
            vec![
                call(stream, SUM).end_stream(),
                Frame::data(stream, &b"x"[..]),
            ]
        }),
        ("malformed headers", |stream| {
            vec![call_with(stream, SUM, &[("X-Upper", "a")])]
        }),
    ];
    let attacked = Attacked::start(&[]);
    for (breach, turn) in breaches {
        let peer = attacked.connect(&[]).await;
        let flooded = flood(peer, Pace::Burst, 50_000, |n| turn(stream(n))).await;
        let (last, why) = flooded.seen.goaway.expect("a GOAWAY");
        assert_eq!(why, error::PROTOCOL_ERROR, "{breach}");
        assert!(last <= 1, "{breach}: {last}");
    }
    attacked.held(
        "breaches of the protocol",
        format_args!("{} kinds, each closed at the first", breaches.len()),
        Price::default(),
    );
}

/// h2 remembers what it has reset for a while, but no more at once than may be open; what comes for another it resets anew.
#[tokio::test]
async fn resets_made_by_data_on_forgotten_streams_end_the_connection() {
    const FORGOTTEN: usize = 2000;
    let attacked = Attacked::start(&[]);
    let mut peer = attacked.connect(&[]).await;
    // Answered at once, and reset because the request goes on.
    let calls: Vec<_> = (0..FORGOTTEN).map(|n| call(stream(n), NOTHING)).collect();
    peer.send_all(&calls).await.expect("open");
    let mut seen = Seen::default();
    let reset = seen.read_until(&mut peer.input, |seen| seen.resets == FORGOTTEN);
    assert_eq!(timeout(LONG, reset).await, Ok(true));
    let flooded = flood(peer, Pace::Burst, 50_000, |n| {
        vec![Frame::data(stream(n % FORGOTTEN), &b"x"[..])]
    })
    .await;
    flooded.calmed_down();
    let resets = flooded.seen.resets;
    attacked.held(
        "MadeYouReset, DATA on a forgotten stream",
        format_args!("closed after {resets} resets"),
        Price::default(),
    );
    assert!(resets <= MOST as usize, "{resets}");
}

/// More calls at once than the server takes: each further one is refused.
#[tokio::test]
async fn calls_over_the_limit_are_refused_and_end_the_connection_when_they_go_on() {
    let attacked = Attacked::start(&[]);
    let peer = attacked.connect(&[]).await;
    let flooded = flood(peer, Pace::Burst, 20_000, |n| vec![call(stream(n), SUM)]).await;
    flooded.calmed_down();
    let refused = flooded.seen.answers.values();
    let refused = refused
        .filter(|answer| answer.reset == Some(error::REFUSED_STREAM))
        .count();
    attacked.held(
        "more streams than allowed",
        format_args!("{refused} refused"),
        Price::default(),
    );
}
