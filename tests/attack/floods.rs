//! Frames that ask for nothing: the connection ends with GOAWAY(ENHANCE_YOUR_CALM), and no other notices.

use crate::client::{Flooded, Pace, SUM, block, call, flood, stream};
use crate::raw::frame::{Frame, error, flag, kind};
use crate::raw::hpack;
use crate::server::{Attacked, Price};

/// Sends `frame` again and again on a connection with one open call.
async fn flood_of(attacked: &Attacked, most: usize, frame: Frame) -> Flooded {
    let mut peer = attacked.connect(&[]).await;
    peer.send(&call(1, SUM)).await.expect("open");
    flood(peer, Pace::Burst, most, |_| vec![frame.clone()]).await
}

#[tokio::test]
async fn pings_that_ask_for_nothing_end_the_connection() {
    let attacked = Attacked::start(&[]);
    // Without a call: what the server sends for one lets a client ping.
    let peer = attacked.connect(&[]).await;
    let flooded = flood(peer, Pace::Burst, 100, |_| vec![Frame::ping([7; 8])]).await;
    flooded.calmed_down();
    let pongs = flooded.seen.pongs;
    attacked.held("PING", format_args!("{pongs} answered"), Price::default());
    // Three, and three more for the server's first SETTINGS.
    assert!(pongs <= 6, "{pongs}");
}

#[tokio::test]
async fn settings_again_and_again_end_the_connection() {
    let attacked = Attacked::start(&[]);
    let flooded = flood_of(&attacked, 1000, Frame::settings(&[])).await;
    flooded.calmed_down();
    let acks = flooded.seen.settings_acks;
    attacked.held(
        "SETTINGS",
        format_args!("{acks} answered"),
        Price::default(),
    );
    assert!((1..=30).contains(&acks), "{acks}");
}

#[tokio::test]
async fn priorities_that_change_nothing_end_the_connection() {
    let attacked = Attacked::start(&[]);
    let priority = Frame::new(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 15][..]);
    let flooded = flood_of(&attacked, 10_000, priority).await;
    flooded.calmed_down();
    attacked.held(
        "PRIORITY",
        format_args!("fewer than {} taken", flooded.turns),
        Price::default(),
    );
}

#[tokio::test]
async fn frames_of_no_known_kind_end_the_connection() {
    let attacked = Attacked::start(&[]);
    let flooded = flood_of(
        &attacked,
        10_000,
        Frame::new(kind::UNKNOWN, 0, 0, &b"?"[..]),
    )
    .await;
    flooded.calmed_down();
    attacked.held(
        "unknown frames",
        format_args!("fewer than {} taken", flooded.turns),
        Price::default(),
    );
}

#[tokio::test]
async fn windows_that_grow_by_nothing_end_the_connection() {
    let attacked = Attacked::start(&[]);
    let flooded = flood_of(&attacked, 10_000, Frame::window_update(0, 1)).await;
    flooded.calmed_down();
    attacked.held(
        "WINDOW_UPDATE",
        format_args!("fewer than {} taken", flooded.turns),
        Price::default(),
    );
}

#[tokio::test]
async fn empty_data_ends_the_connection() {
    let attacked = Attacked::start(&[]);
    let flooded = flood_of(&attacked, 10_000, Frame::data(1, &b""[..])).await;
    flooded.calmed_down();
    attacked.held(
        "empty DATA",
        format_args!("fewer than {} taken", flooded.turns),
        Price::default(),
    );
}

/// h2 passes over what comes for a stream that it has reset.
#[tokio::test]
async fn empty_data_on_a_stream_that_is_over_ends_the_connection() {
    let attacked = Attacked::start(&[]);
    let peer = attacked.connect(&[]).await;
    let flooded = flood(peer, Pace::Burst, 10_000, |n| match n {
        0 => vec![call(1, crate::client::NOTHING)],
        _ => vec![Frame::data(1, &b""[..]); 100],
    });
    let flooded = flooded.await;
    flooded.calmed_down();
    let frames = flooded.turns * 100;
    attacked.held(
        "empty DATA on a closed stream",
        format_args!("fewer than {frames} taken"),
        Price::default(),
    );
}

#[tokio::test]
async fn padding_without_data_ends_the_connection() {
    let attacked = Attacked::start(&[]);
    let flooded = flood_of(&attacked, 10_000, Frame::data(1, &b""[..]).padded(255)).await;
    flooded.calmed_down();
    attacked.held(
        "padding alone",
        format_args!("fewer than {} frames taken", flooded.turns),
        Price::default(),
    );
}

#[tokio::test]
async fn a_header_block_without_an_end_ends_the_connection_before_128_kib() {
    let attacked = Attacked::start(&[]);
    let peer = attacked.connect(&[]).await;
    let part = hpack::literal(b"x-filler", &[b'a'; 1000]);
    let part = part.repeat(16);
    // The reader has its turn after each of these.
    let flooded = flood(
        peer,
        Pace::Every(std::time::Duration::from_millis(10)),
        1000,
        |n| match n {
            0 => vec![Frame::block(1, [block(SUM, &[]), part.clone()].concat())],
            _ => vec![Frame::continuation(1, part.clone())],
        },
    )
    .await;
    flooded.calmed_down();
    let kib = flooded.turns * part.len() / 1024;
    attacked.held(
        "CONTINUATION",
        format_args!("less than {kib} KiB taken"),
        Price::default(),
    );
    assert!(kib < 128, "{kib} KiB");
}

#[tokio::test]
async fn continuations_of_nothing_end_the_connection() {
    let attacked = Attacked::start(&[]);
    let peer = attacked.connect(&[]).await;
    let flooded = flood(peer, Pace::Burst, 10_000, |n| match n {
        0 => vec![Frame::block(1, block(SUM, &[]))],
        _ => vec![Frame::continuation(1, &b""[..])],
    })
    .await;
    flooded.calmed_down();
    attacked.held(
        "empty CONTINUATION",
        format_args!("fewer than {} taken", flooded.turns),
        Price::default(),
    );
}

/// One byte of a block for 4 KB of headers: an entry of the table, again and again.
#[tokio::test]
async fn a_header_block_that_unfolds_ends_the_connection() {
    let attacked = Attacked::start(&[]);
    let peer = attacked.connect(&[]).await;
    let mut entry = hpack::literal(b"x-bomb", &[b'a'; 3900]);
    // "Literal Header Field with Incremental Indexing" (RFC 7541, section 6.2.1), then its index.
    entry[0] = 0x40;
    let references = vec![0xbe; 10_000];
    let bomb = [block(SUM, &[]), entry, references].concat();
    let flooded = flood(peer, Pace::Burst, 100, |n| {
        vec![Frame::block(stream(n), bomb.clone()).with(flag::END_HEADERS)]
    })
    .await;
    flooded.calmed_down();
    let figure = format_args!(
        "{} KiB that unfold to 37 MiB, {} times",
        bomb.len() / 1024,
        flooded.turns
    );
    attacked.held("HPACK bomb", figure, Price::default());
}

#[tokio::test]
async fn what_is_no_header_block_ends_the_connection() {
    let attacked = Attacked::start(&[]);
    let wrong: [&[u8]; 4] = [
        // An integer without an end, an index of nothing, a string longer than the block, a table larger than allowed.
        &[0xff; 64],
        &[0xff, 0xff, 0x7f],
        &[0x00, 0x7f, 0xff, 0xff, 0x7f],
        &[0x3f, 0xff, 0xff, 0xff, 0x7f],
    ];
    for bytes in wrong {
        let peer = attacked.connect(&[]).await;
        let frame = Frame::block(1, bytes).with(flag::END_HEADERS);
        let flooded = flood(peer, Pace::Burst, 1, |_| vec![frame.clone()]).await;
        let (_, why) = flooded.seen.goaway.expect("a GOAWAY");
        assert!(
            [error::COMPRESSION_ERROR, error::PROTOCOL_ERROR].contains(&why),
            "{bytes:?}: {why}"
        );
    }
    attacked.held(
        "broken HPACK",
        format_args!("{} kinds", wrong.len()),
        Price::default(),
    );
}
