//! How a connection ends that was told to go, whatever its client does: on raw frames, with a clock that does not wait.

use std::time::Duration;

use streamway::server::{Config, Drained};
use tokio::time::{Instant, sleep, timeout};

use crate::piped::{Client, Serving, serve};
use crate::raw::frame::{Frame, error, flag, kind, setting};
use crate::support::{LONG, frame};

const SECOND: Duration = Duration::from_secs(1);

/// What a client that answers nothing costs a drain after the last call.
#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_after_its_last_call_is_closed_within_a_second() {
    for calls in [false, true] {
        let server = serve(Config::default());
        let mut client = server.connect(&[]).await;
        if calls {
            client.call(1, "/t.T/Echo", &[], None).await;
        }
        server.stop();
        first_goaway(&mut client).await;
        if calls {
            sleep(5 * SECOND).await;
            client.send(&last_of(1)).await.expect("open");
            assert_eq!(client.status().await.get("grpc-status"), Some("0"));
        }
        let begun = Instant::now();
        assert_eq!(server.ended().await, Drained::Clean);
        assert!(begun.elapsed() <= SECOND, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_clients_that_read_nothing_ends_a_second_after_its_limit() {
    let mut config = Config::default();
    config.drain_timeout = 10 * SECOND;
    let server = serve(config);
    let window = (setting::INITIAL_WINDOW_SIZE, 1 << 30);
    let mut client = server.connect(&[window]).await;
    let window = Frame::window_update(0, 1 << 30);
    client.send(&window).await.expect("open");
    client.call(1, "/t.T/Forever", &[], Some(b"x")).await;
    sleep(SECOND).await;
    let begun = Instant::now();
    server.stop();
    assert_eq!(server.ended().await, Drained::Cut);
    let took = begun.elapsed();
    assert!((10 * SECOND..=11 * SECOND).contains(&took), "{took:?}");
}

/// A client whose calls were cut off reads their status and which of them were taken.
#[tokio::test(start_paused = true)]
async fn the_last_word_names_the_last_call_that_was_taken() {
    let mut config = Config::default();
    config.drain_timeout = 10 * SECOND;
    let server = serve(config);
    let mut client = server.connect(&[]).await;
    client.call(5, "/t.T/Hang", &[], Some(b"x")).await;
    server.hanging.notified().await;
    server.stop();
    first_goaway(&mut client).await;
    assert_eq!(client.status().await.get("grpc-status"), Some("14"));
    let last = client.next_of(kind::GOAWAY).await.expect("a last word");
    assert_eq!(
        (last.number(0), last.error()),
        (Some(5), Some(error::NO_ERROR))
    );
    assert_eq!(client.next_of(kind::HEADERS).await, None);
    assert_eq!(server.ended().await, Drained::Cut);
}

/// It was on its way when the server said GOAWAY, to a client that does not answer the PING behind it.
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_a_moment_after_goaway_is_served() {
    let server = serve(Config::default());
    let mut client = server.connect(&[]).await;
    server.stop();
    first_goaway(&mut client).await;
    sleep(SECOND / 4).await;
    client.call(1, "/t.T/Echo", &[], None).await;
    sleep(10 * SECOND).await;
    client.send(&last_of(1)).await.expect("open");
    assert_eq!(client.status().await.get("grpc-status"), Some("0"));
    assert_eq!(server.ended().await, Drained::Clean);
}

/// Its client is far away, and the server has time: it goes on.
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_four_seconds_after_the_goaway_of_an_idle_connection_is_served() {
    let (_server, mut client) = told_to_go(Config::default()).await;
    sleep(4 * SECOND).await;
    client.call(1, "/t.T/Echo", &[], Some(b"late")).await;
    assert_eq!(client.status().await.get("grpc-status"), Some("0"));
    let begun = Instant::now();
    assert_eq!(client.next_of(kind::HEADERS).await, None);
    let took = begun.elapsed();
    assert!((5 * SECOND..6 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_told_to_go_and_only_goes_on_talking_is_gone_after_the_grace() {
    let mut config = Config::default();
    config.max_connection_age_grace = 30 * SECOND;
    let (_server, mut client) = told_to_go(config).await;
    let begun = Instant::now();
    while client.send(&Frame::ping(*b"stay on!")).await.is_ok() {
        sleep(9 * SECOND / 2).await;
        assert!(begun.elapsed() < 40 * SECOND, "it stays");
    }
    assert!(begun.elapsed() >= 30 * SECOND, "{:?}", begun.elapsed());
}

/// Also one that says nothing, and one whose grace is less than such a connection has otherwise.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_was_told_to_go_has_its_grace_and_a_second_and_no_more() {
    for (grace, talks_each) in [(1, 0.9), (1, 100.0), (30, 0.9), (30, 4.5)] {
        let mut config = Config::default();
        config.max_connection_age_grace = grace * SECOND;
        let (_server, client) = told_to_go(config).await;
        let begun = Instant::now();
        let Client {
            mut input,
            mut output,
        } = client;
        let talking = tokio::spawn(async move {
            while output.send(&Frame::ping(*b"stay on!")).await.is_ok() {
                sleep(SECOND.mul_f64(talks_each)).await;
            }
        });
        while input.next().await.is_some() {}
        talking.abort();
        let took = begun.elapsed();
        assert!(took <= (grace + 1) * SECOND, "{grace}: {took:?}");
    }
}

/// One answers the PING behind the GOAWAY, one breaks a rule: h2 closes either way, and only the socket stays.
#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_connection_and_not_its_socket_delays_no_drain() {
    for polite in [true, false] {
        let (server, mut client) = told_to_go(Config::default()).await;
        let last = match polite {
            true => {
                let ping = client.next_of(kind::PING).await.expect("behind the GOAWAY");
                Frame::new(kind::PING, flag::ACK, 0, ping.payload)
            }
            false => Frame::data(0, vec![0]),
        };
        client.send(&last).await.expect("open");
        sleep(SECOND / 10).await;
        server.stop();
        let begun = Instant::now();
        assert_eq!(server.ended().await, Drained::Clean);
        assert!(begun.elapsed() <= SECOND, "{polite}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_was_told_to_go_is_gone_within_a_second_of_a_drain() {
    let (server, _client) = told_to_go(Config::default()).await;
    sleep(SECOND).await;
    server.stop();
    let begun = Instant::now();
    assert_eq!(server.ended().await, Drained::Clean);
    assert!(begun.elapsed() <= SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_after_goaway_loses_its_calls_as_before_it() {
    let mut config = Config::default();
    config.max_connection_age = 30 * SECOND;
    let server = serve(config);
    let begun = Instant::now();
    let mut client = server.connect(&[]).await;
    client.call(1, "/t.T/Hang", &[], Some(b"x")).await;
    first_goaway(&mut client).await;
    assert!(begun.elapsed() < 40 * SECOND, "{:?}", begun.elapsed());
    let dropped = timeout(3600 * SECOND, server.dropped.notified()).await;
    dropped.expect("it is found to be gone");
    // A minute of silence, and 20 s after a PING.
    let took = begun.elapsed();
    assert!((80 * SECOND..82 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_header_block_that_is_never_finished_ends_its_connection_after_goaway_too() {
    let server = serve(Config::default());
    let mut client = server.connect(&[]).await;
    client.call(1, "/t.T/Hang", &[], Some(b"x")).await;
    server.hanging.notified().await;
    server.stop();
    first_goaway(&mut client).await;
    let begun = Instant::now();
    client.send(&Frame::block(3, vec![])).await.expect("open");
    server.dropped.notified().await;
    assert!(begun.elapsed() <= 6 * SECOND, "{:?}", begun.elapsed());
}

/// Its answer has a text, for which there is no window.
#[tokio::test(start_paused = true)]
async fn an_answer_to_what_is_no_grpc_that_nobody_takes_is_taken_back() {
    for window in [0, 10] {
        let server = serve(Config::default());
        let settings = [(setting::INITIAL_WINDOW_SIZE, window)];
        let mut client = server.connect(&settings).await;
        let request = Frame::headers(
            1,
            &[(":method", "GET"), (":scheme", "http"), (":path", "/")],
        );
        client.send(&request.end_stream()).await.expect("open");
        let (answer, ended) = client.head().await;
        assert_eq!((answer.get(":status"), ended), (Some("405"), false));
        server.stop();
        let begun = Instant::now();
        let reset = timeout(LONG, client.next_of(kind::RST_STREAM)).await;
        let reset = reset.expect("in time").expect("a reset");
        assert_eq!(reset.error(), Some(error::CANCEL));
        assert_eq!(server.ended().await, Drained::Clean);
        assert!(begun.elapsed() <= 2 * SECOND, "{:?}", begun.elapsed());
    }
}

/// A connection that has been idle for too long, where the server goes on.
async fn told_to_go(mut config: Config) -> (Serving, Client) {
    config.idle_timeout = 10 * SECOND;
    let server = serve(config);
    let mut client = server.connect(&[]).await;
    first_goaway(&mut client).await;
    (server, client)
}

async fn first_goaway(client: &mut Client) {
    let first = client.next_of(kind::GOAWAY).await.expect("a GOAWAY");
    assert_eq!(first.error(), Some(error::NO_ERROR));
}

/// The only message of a call, and its end.
fn last_of(stream: u32) -> Frame {
    Frame::data(stream, frame(b"last")).end_stream()
}
