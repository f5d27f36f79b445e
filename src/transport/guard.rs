//! Watches the frames that a client sends, because h2 counts none of them (RFC 9113, section 10.5).
//!
//! In: the bytes of a connection as they are read. Out: the same bytes, until one of them breaks a rule: no preface, or
//! more frames of a kind than work they could be about. Not here: how many are allowed (`allowance`), what a broken rule
//! costs (`server::connection`).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::allowance::{Balance, OTHERS, PINGS, RESETS, SETTINGS, WINDOW_UPDATES};

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a reset costs, and what a new stream earns.
const RESET: u64 = 2;
const NEW_STREAM: u64 = 1;

/// Bytes of the frames that answer a PING and a SETTINGS: these are no work that earns anything.
const PING_ACK: u64 = 17;
const SETTINGS_ACK: u64 = 9;

/// A socket whose client is watched.
#[derive(Debug)]
pub(crate) struct Guarded<Io> {
    socket: Io,
    walk: Walk,
    ledger: Ledger,
    read: u64,
    unfinished_since: Option<Instant>,
    violation: Option<Violation>,
}

/// What a client did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// It does not speak HTTP/2, but HTTP/1.
    Http1,
    /// It speaks neither.
    Preface,
    /// It sends too many frames of a kind.
    Flood(&'static str),
}

/// Where in the client's bytes the next one is.
#[derive(Debug)]
enum Walk {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// So many bytes of a frame's head have come.
    Head(usize, [u8; 9]),
    /// So many bytes of a frame's payload are to come.
    Payload(usize),
}

/// What a client may still send.
#[derive(Debug)]
struct Ledger {
    resets: Balance,
    pings: Balance,
    settings: Balance,
    window_updates: Balance,
    others: Balance,
    /// Bytes written, and how many of them only acknowledge.
    written: u64,
    acks: u64,
    /// The most that were written besides: an acknowledgement that is still to be written would make it fall.
    useful: u64,
    /// The highest stream so far.
    last_stream: u32,
    block: Block,
}

/// Whether the client is in the midst of what it must finish soon.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// It is not.
    None,
    /// CONTINUATION frames are to come, and nothing else may.
    Continues,
    /// The frame that is coming ends it. So does the first of all.
    Ends,
}

impl<Io> Guarded<Io> {
    pub(crate) fn new(socket: Io) -> Self {
        let now = Instant::now();
        Self {
            socket,
            walk: Walk::Preface(0),
            ledger: Ledger::new(now),
            read: 0,
            unfinished_since: None,
            violation: None,
        }
    }

    /// What the client did wrong. From then on reading is pending for ever: whoever polls has to look here.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// How many bytes were read.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Since when the client is in the midst of its SETTINGS, which belong to the preface, or of a header block.
    pub(crate) fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished_since
    }

    /// Whatever the client sends from now on is read.
    pub(super) fn unwatch(&mut self) {
        self.violation = None;
        self.walk = Walk::Payload(usize::MAX);
    }

    fn inspect(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let walked = self.walk(bytes);
        self.unfinished_since = match self.ledger.block {
            Block::None => None,
            Block::Continues | Block::Ends => {
                self.unfinished_since.or_else(|| Some(Instant::now()))
            }
        };
        walked
    }

    fn walk(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            // The usual head lies in one piece.
            if let (Walk::Head(0, _), Some((head, rest))) = (&self.walk, bytes.split_first_chunk())
            {
                bytes = rest;
                self.walk = self.ledger.frame(*head)?;
                continue;
            }
            match &mut self.walk {
                Walk::Preface(have) => {
                    let expected = PREFACE.get(*have..).unwrap_or_default();
                    let (part, rest) = bytes.split_at(expected.len().min(bytes.len()));
                    if !expected.starts_with(part) {
                        return Err(not_http2(*have, bytes));
                    }
                    *have = have.saturating_add(part.len());
                    bytes = rest;
                    if *have == PREFACE.len() {
                        self.walk = Walk::Head(0, [0; 9]);
                    }
                }
                Walk::Head(have, head) => {
                    let free = head.get_mut(*have..).unwrap_or_default();
                    let (part, rest) = bytes.split_at(free.len().min(bytes.len()));
                    for (to, from) in free.iter_mut().zip(part) {
                        *to = *from;
                    }
                    *have = have.saturating_add(part.len());
                    bytes = rest;
                    if *have == head.len() {
                        let head = *head;
                        self.walk = self.ledger.frame(head)?;
                    }
                }
                Walk::Payload(left) => {
                    let (part, rest) = bytes.split_at((*left).min(bytes.len()));
                    let left = left.saturating_sub(part.len());
                    bytes = rest;
                    self.walk = self.ledger.payload(left);
                }
            }
        }
        Ok(())
    }
}

/// A request line of HTTP/1 begins with a method in capitals, a space and a slash.
fn not_http2(have: usize, bytes: &[u8]) -> Violation {
    let mut line = PREFACE.iter().take(have).chain(bytes);
    let method = line.by_ref().take_while(|byte| byte.is_ascii_uppercase());
    // GET is the shortest, OPTIONS the longest that a browser sends; the space was taken with them.
    match (method.count(), line.next()) {
        (3..=7, Some(b'/')) => Violation::Http1,
        _ => Violation::Preface,
    }
}

impl Ledger {
    fn new(now: Instant) -> Self {
        Self {
            resets: Balance::new(&RESETS, now),
            pings: Balance::new(&PINGS, now),
            settings: Balance::new(&SETTINGS, now),
            window_updates: Balance::new(&WINDOW_UPDATES, now),
            others: Balance::new(&OTHERS, now),
            written: 0,
            acks: 0,
            useful: 0,
            last_stream: 0,
            block: Block::Ends,
        }
    }

    /// Enters a frame by its head (RFC 9113, section 4.1).
    fn frame(&mut self, head: [u8; 9]) -> Result<Walk, Violation> {
        const ACK: u8 = 0x1;
        const END_HEADERS: u8 = 0x4;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & (u32::MAX >> 1);
        let useful = self.useful();
        let within = match kind {
            // DATA: flow control bounds it, and h2 the frames that are small.
            0x0 => true,
            // HEADERS, CONTINUATION: h2 bounds the block and the streams.
            0x1 | 0x9 => {
                if kind == 0x1 && stream > self.last_stream {
                    self.last_stream = stream;
                    self.resets.earn(NEW_STREAM, &RESETS);
                }
                self.block = match flags & END_HEADERS {
                    0 => Block::Continues,
                    _ => Block::Ends,
                };
                true
            }
            0x3 => self.resets.spend(RESET, &RESETS, useful),
            0x4 if flags & ACK == 0 => {
                self.acks = self.acks.saturating_add(SETTINGS_ACK);
                self.settings.spend(1, &SETTINGS, useful)
            }
            0x6 if flags & ACK == 0 => {
                self.acks = self.acks.saturating_add(PING_ACK);
                self.pings.spend(1, &PINGS, useful)
            }
            0x8 => self.window_updates.spend(1, &WINDOW_UPDATES, useful),
            // Acknowledgements of what was not sent too.
            _ => self.others.spend(1, &OTHERS, useful),
        };
        match within {
            true => Ok(self.payload(length)),
            false => Err(Violation::Flood(name(kind))),
        }
    }

    /// Where the next byte is when so much of a frame's payload is to come.
    fn payload(&mut self, left: usize) -> Walk {
        if left > 0 {
            return Walk::Payload(left);
        }
        if self.block == Block::Ends {
            self.block = Block::None;
        }
        Walk::Head(0, [0; 9])
    }

    fn useful(&mut self) -> u64 {
        self.useful = self.useful.max(self.written.saturating_sub(self.acks));
        self.useful
    }
}

/// For the log.
fn name(kind: u8) -> &'static str {
    match kind {
        0x2 => "PRIORITY",
        0x3 => "RST_STREAM",
        0x4 => "SETTINGS",
        0x6 => "PING",
        0x8 => "WINDOW_UPDATE",
        _ => "useless",
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Guarded<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.violation.is_some() {
            // An error would keep h2 from saying goodbye.
            return Poll::Pending;
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        let bytes = into.filled().get(before..).unwrap_or_default();
        self.read = self.read.saturating_add(bytes.len() as u64);
        if let Err(violation) = self.inspect(bytes) {
            self.violation = Some(violation);
            into.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Guarded<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        self.ledger.written = self.ledger.written.saturating_add(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, slices))?;
        self.ledger.written = self.ledger.written.saturating_add(written as u64);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1 => f.write_str("the client speaks HTTP/1"),
            Self::Preface => f.write_str("the client sent no HTTP/2 preface"),
            Self::Flood(kind) => write!(f, "the client sends too many {kind} frames"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;
    use tokio::time::advance;

    use super::*;

    const DATA: u8 = 0x0;
    const HEADERS: u8 = 0x1;
    const PRIORITY: u8 = 0x2;
    const RST_STREAM: u8 = 0x3;
    const SETTINGS: u8 = 0x4;
    const PING: u8 = 0x6;
    const WINDOW_UPDATE: u8 = 0x8;
    const CONTINUATION: u8 = 0x9;
    const END_HEADERS: u8 = 0x4;

    fn head(length: u8, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame
    }

    fn frame(payload: &[u8], kind: u8, flags: u8, stream: u32) -> Vec<u8> {
        let mut frame = head(payload.len() as u8, kind, flags, stream);
        frame.extend_from_slice(payload);
        frame
    }

    /// A guard behind the preface.
    fn guard() -> Guarded<()> {
        let mut guard = Guarded::new(());
        guard.inspect(PREFACE).expect("the preface");
        guard
    }

    /// How many of `frame` are taken, up to `most`.
    fn taken(guard: &mut Guarded<()>, frame: &[u8], most: usize) -> usize {
        (0..most)
            .take_while(|_| guard.inspect(frame).is_ok())
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_frame_that_asks_for_nothing_has_a_bound() {
        for (kind, payload, bound) in [
            (PRIORITY, 5, 200),
            (RST_STREAM, 4, 200),
            (SETTINGS, 0, 20),
            (PING, 8, 3),
            (WINDOW_UPDATE, 4, 1000),
            (0xbe, 3, 200),
        ] {
            let frame = frame(&vec![0; payload], kind, 0, 0);
            assert_eq!(taken(&mut guard(), &frame, 10_000), bound, "{}", name(kind));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_allows_more_pings_and_so_does_data_but_not_their_own_answers() {
        let ping = frame(&[0; 8], PING, 0, 0);
        let mut guard = guard();
        for _ in 0..100 {
            assert!(guard.inspect(&ping).is_ok());
            guard.ledger.written += PING_ACK;
            advance(Duration::from_secs(10)).await;
        }
        for _ in 0..100 {
            assert!(guard.inspect(&ping).is_ok());
            guard.ledger.written += PING_ACK + 30;
        }
        let answered = (0..100).take_while(|_| {
            let taken = guard.inspect(&ping).is_ok();
            guard.ledger.written += PING_ACK;
            taken
        });
        assert!(answered.count() <= 6);
    }

    #[tokio::test(start_paused = true)]
    async fn who_cancels_every_second_call_may_go_on_and_who_cancels_each_may_not() {
        let call = |n: u32| frame(&[0x82], HEADERS, END_HEADERS, 2 * n + 1);
        let reset = |n: u32| frame(&[0; 4], RST_STREAM, 0, 2 * n + 1);
        let mut patient = guard();
        for n in 0..100_000 {
            patient.inspect(&call(n)).expect("a call");
            if n % 2 == 0 {
                patient.inspect(&reset(n)).expect("cancelled");
            }
        }
        // 500 a second.
        let mut paced = guard();
        let mut cancelled = 0;
        while cancelled < 1000 {
            paced.inspect(&call(cancelled)).expect("a call");
            if paced.inspect(&reset(cancelled)).is_err() {
                break;
            }
            cancelled += 1;
            advance(Duration::from_millis(2)).await;
        }
        assert!((400..1000).contains(&cancelled), "{cancelled}");
        // Trailers open no stream.
        let mut tricky = guard();
        let tricked = (0..10_000).take_while(|n| {
            let all = [call(*n), call(*n), call(*n), reset(*n)].concat();
            tricky.inspect(&all).is_ok()
        });
        assert!(tricked.count() < 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn window_updates_follow_what_was_sent() {
        let update = frame(&[0, 0, 0, 1], WINDOW_UPDATE, 0, 1);
        let mut guard = guard();
        for _ in 0..100_000 {
            // A small message, in a frame of its own.
            guard.ledger.written += 9 + 5 + 18;
            guard.inspect(&update).expect("the stream's");
            guard.inspect(&update).expect("the connection's");
        }
        assert!(taken(&mut guard, &update, 10_000) <= 1100);
    }

    /// As many streams as there are, so that the updates do not melt into one.
    #[tokio::test(start_paused = true)]
    async fn a_window_that_opens_byte_by_byte_is_no_work() {
        let mut guard = guard();
        let updates = (0..100_000u32).take_while(|n| {
            let update = frame(&[0, 0, 0, 1], WINDOW_UPDATE, 0, 2 * (n % 500) + 1);
            let taken = guard.inspect(&update).is_ok();
            // A frame of one byte.
            guard.ledger.written += 9 + 1;
            taken
        });
        assert!(updates.count() < 3000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_block_is_unfinished_from_its_first_frame_to_its_last_byte() {
        let mut guard = guard();
        guard
            .inspect(&frame(&[], SETTINGS, 0, 0))
            .expect("SETTINGS");
        assert_eq!(guard.unfinished_since(), None);
        let begun = Instant::now();
        guard
            .inspect(&frame(&[0x82], HEADERS, 0, 1))
            .expect("the first");
        advance(Duration::from_secs(1)).await;
        guard
            .inspect(&frame(&[0x84], CONTINUATION, 0, 1))
            .expect("the second");
        assert_eq!(guard.unfinished_since(), Some(begun));
        let last = frame(&[0x86], CONTINUATION, END_HEADERS, 1);
        let (head, payload) = last.split_at(9);
        guard.inspect(head).expect("the head of the last");
        assert_eq!(guard.unfinished_since(), Some(begun));
        guard.inspect(payload).expect("the last");
        assert_eq!(guard.unfinished_since(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_preface_is_unfinished_until_the_settings_are_whole() {
        let mut guard = guard();
        let begun = Some(Instant::now());
        assert_eq!(guard.unfinished_since(), begun);
        advance(Duration::from_secs(1)).await;
        let settings = frame(&[0; 6], SETTINGS, 0, 0);
        let (part, rest) = settings.split_at(12);
        guard.inspect(part).expect("a part");
        assert_eq!(guard.unfinished_since(), begun);
        guard.inspect(rest).expect("the rest");
        assert_eq!(guard.unfinished_since(), None);
    }

    #[test]
    fn a_client_that_speaks_something_else_is_told_apart() {
        for (first, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Violation::Http1),
            (b"POST /a.B/C HTTP/1.1\r\n", Violation::Http1),
            (b"\x16\x03\x01\x02\x00\x01\x00", Violation::Preface),
            (b"INVALID CONNECTION PREFACE\r\n\r\n", Violation::Preface),
            (b"PRI * HTTP/3.0", Violation::Preface),
            (b" ", Violation::Preface),
        ] {
            assert_eq!(Guarded::new(()).inspect(first), Err(expected), "{first:?}");
        }
    }

    #[tokio::test]
    async fn nothing_of_what_breaks_a_rule_is_read() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(&[0; 8], PING, 0, 0).repeat(100));
        let mut guarded = Guarded::new(io::Cursor::new(bytes));
        let mut into = Vec::new();
        let read = tokio::time::timeout(Duration::ZERO, guarded.read_to_end(&mut into));
        assert!(read.await.is_err(), "it ended");
        assert_eq!(guarded.violation(), Some(Violation::Flood("PING")));
        // Reads before the one that breaks it are.
        assert!(into.len() < PREFACE.len() + 4 * 17, "{into:?}");
    }

    proptest! {
        #[test]
        fn frames_are_seen_alike_however_they_are_cut(
            frames in prop::collection::vec((0..12u8, any::<u8>(), 0..5u32, 0..40usize), 0..60),
            cuts in prop::collection::vec(1..50usize, 1..20),
        ) {
            let mut bytes = PREFACE.to_vec();
            for (kind, flags, stream, length) in frames {
                bytes.extend(frame(&vec![DATA; length], kind, flags, stream));
            }
            let whole = Guarded::new(()).inspect(&bytes);
            let mut cut = Guarded::new(());
            let mut rest = &bytes[..];
            let mut seen = Ok(());
            for length in cuts.iter().cycle() {
                if rest.is_empty() || seen.is_err() {
                    break;
                }
                let (part, behind) = rest.split_at((*length).min(rest.len()));
                seen = cut.inspect(part);
                rest = behind;
            }
            prop_assert_eq!(whole, seen);
        }
    }
}
