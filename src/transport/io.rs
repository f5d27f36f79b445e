//! Gathers what h2 writes, so that everything that became ready leaves in one write.
//!
//! h2 owns its socket and flushes after each thing it does. Here its flush does nothing; the task that drives the
//! connection flushes through the second handle, once for each wake-up, or less often while whole frames keep coming.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Guarded;

/// How many bytes are gathered before they are written without being asked: four DATA frames of the default largest
/// size, which is what one write call moves at a good price.
const GATHER_BYTES: usize = 64 * 1024;

/// How many bytes have to come at once for the next to be waited for: one DATA frame of the default largest size. A stream that
/// fills one is likely to have another as soon as its task has run.
const FULL_BYTES: usize = 16 * 1024;

/// How much is read from a peer that does not stop after it was told to. 1 MiB: what may be on its way.
const LINGER_BYTES: usize = 1024 * 1024;

/// Ends a connection behind what was written last: reads on until the peer ends it too, because a socket that is closed
/// with unread bytes takes back what was written.
pub(crate) async fn linger<Io: AsyncRead + AsyncWrite + Unpin>(mut socket: Io) {
    // Fails when the peer was faster.
    let _ = socket.shutdown().await;
    let mut waste = [0; 4096];
    for _ in 0..LINGER_BYTES / waste.len() {
        if !matches!(socket.read(&mut waste).await, Ok(1..)) {
            return;
        }
    }
}

/// h2's end of a socket.
#[derive(Debug)]
pub(crate) struct Gathered<Io>(Arc<Mutex<Inner<Io>>>);

/// The other handle to the same socket.
#[derive(Debug)]
pub(crate) struct Flush<Io>(Arc<Mutex<Inner<Io>>>);

#[derive(Debug)]
struct Inner<Io> {
    socket: Io,
    buffer: BytesMut,
    /// How many of them have been waited with, or were left by the last write.
    seen: usize,
    /// Bytes that the socket has taken.
    written: u64,
}

/// Wraps `socket`: the first half is for h2, the second for the task that drives it.
pub(crate) fn gather<Io>(socket: Io) -> (Gathered<Io>, Flush<Io>) {
    let inner = Arc::new(Mutex::new(Inner {
        socket,
        buffer: BytesMut::new(),
        seen: 0,
        written: 0,
    }));
    (Gathered(Arc::clone(&inner)), Flush(inner))
}

impl<Io: AsyncWrite + Unpin> Flush<Io> {
    /// Whether the flush is better put off until the tasks that are ready have run, after which the one in `cx` is polled again: a
    /// whole frame has just been gathered, and there is room for more. One write of four frames takes a fifth of the CPU of
    /// an export less than four writes.
    pub(crate) fn is_filling(&self, cx: &Context<'_>) -> bool {
        let mut inner = lock(&self.0);
        let gathered = inner.buffer.len();
        let filling = gathered >= inner.seen + FULL_BYTES && gathered < GATHER_BYTES;
        if filling {
            inner.seen = gathered;
            cx.waker().wake_by_ref();
        }
        filling
    }

    /// Writes what was gathered. Pending while the socket takes no more; the rest then goes at the next call.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_write_out(cx))?;
        Pin::new(&mut inner.socket).poll_flush(cx)
    }
}

/// How the writing goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    /// Bytes that the socket has taken.
    pub(crate) written: u64,
    /// Whether there are more.
    pub(crate) waits: bool,
}

impl<Io> Flush<Io> {
    /// Looks at the socket itself, and at how the writing goes.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Io, Writing) -> T) -> T {
        let mut inner = lock(&self.0);
        let writing = Writing {
            written: inner.written,
            waits: !inner.buffer.is_empty(),
        };
        look(&mut inner.socket, writing)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Flush<Guarded<Io>> {
    /// Ends the connection with `last` instead of what was gathered.
    pub(crate) async fn farewell(&self, last: &[u8]) {
        {
            let mut inner = lock(&self.0);
            inner.buffer.clear();
            inner.buffer.extend_from_slice(last);
            inner.socket.unwatch();
        }
        linger(Gathered(Arc::clone(&self.0))).await;
    }
}

impl<Io: AsyncWrite + Unpin> Inner<Io> {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            self.seen = self.buffer.len();
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.buffer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.advance(written);
            self.written += written as u64;
        }
        self.seen = 0;
        Poll::Ready(Ok(()))
    }

    /// Room for more, or pending while the buffer is full and the socket takes nothing.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.len() >= GATHER_BYTES {
            ready!(self.poll_write_out(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Gathered<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).socket).poll_read(cx, into)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Gathered<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_room(cx))?;
        inner.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_room(cx))?;
        let before = inner.buffer.len();
        for slice in slices {
            inner.buffer.extend_from_slice(slice);
        }
        Poll::Ready(Ok(inner.buffer.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: see [`Flush`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_write_out(cx))?;
        Pin::new(&mut inner.socket).poll_shutdown(cx)
    }
}

fn lock<Io>(inner: &Mutex<Inner<Io>>) -> MutexGuard<'_, Inner<Io>> {
    // Both handles belong to one task, so nobody waits here; a poisoned socket is still a socket.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::DuplexStream;

    use super::*;

    #[tokio::test]
    async fn what_h2_writes_leaves_when_the_owner_flushes_and_in_order() {
        let (mut peer, socket) = tokio::io::duplex(1024);
        let (mut h2, flush) = gather(socket);
        h2.write_all(b"one").await.expect("gathered");
        h2.flush().await.expect("nothing to do");
        h2.write_all(b"two").await.expect("gathered");
        let mut seen = [0; 6];
        assert!(
            tokio::time::timeout(std::time::Duration::ZERO, peer.read(&mut seen))
                .await
                .is_err()
        );
        poll_fn(|cx| flush.poll_flush(cx)).await.expect("open");
        peer.read_exact(&mut seen).await.expect("written");
        assert_eq!(&seen, b"onetwo");
    }

    /// Whether the flush is put off, and with it whether the task is woken.
    fn is_put_off(flush: &Flush<DuplexStream>) -> bool {
        let woken = Arc::new(Woken::default());
        let filling = flush.is_filling(&Context::from_waker(&Waker::from(Arc::clone(&woken))));
        assert_eq!(woken.0.load(Ordering::Relaxed), filling);
        filling
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn the_flush_is_put_off_for_as_long_as_whole_frames_come_and_there_is_room() {
        let (_peer, socket) = tokio::io::duplex(1024 * 1024);
        let (mut h2, flush) = gather(socket);
        assert!(!is_put_off(&flush), "nothing is gathered");
        h2.write_all(b"a few bytes").await.expect("gathered");
        assert!(!is_put_off(&flush), "no frame is whole");
        let frame = [0; FULL_BYTES];
        for _ in 0..2 {
            h2.write_all(&frame).await.expect("gathered");
            assert!(is_put_off(&flush));
        }
        assert!(!is_put_off(&flush), "none came in the meantime");
        poll_fn(|cx| flush.poll_flush(cx)).await.expect("open");
        for _ in 1..GATHER_BYTES / FULL_BYTES {
            h2.write_all(&frame).await.expect("gathered");
            assert!(is_put_off(&flush));
        }
        h2.write_all(&frame).await.expect("gathered");
        assert!(!is_put_off(&flush), "it is as full as it gets");
    }

    #[tokio::test]
    async fn the_flush_is_not_put_off_for_what_a_slow_peer_has_left() {
        let (_peer, socket) = tokio::io::duplex(1024);
        let (mut h2, flush) = gather(socket);
        h2.write_all(&[0; 2 * FULL_BYTES]).await.expect("gathered");
        let flushed = poll_fn(|cx| Poll::Ready(flush.poll_flush(cx))).await;
        assert!(flushed.is_pending());
        assert!(!is_put_off(&flush), "nothing came since");
        h2.write_all(&[0; FULL_BYTES]).await.expect("gathered");
        assert!(is_put_off(&flush));
    }

    #[tokio::test]
    async fn nor_for_what_is_left_when_h2_had_to_wait_for_room() {
        let (_peer, socket) = tokio::io::duplex(GATHER_BYTES / 2);
        let (mut h2, flush) = gather(socket);
        h2.write_all(&[0; GATHER_BYTES]).await.expect("gathered");
        let waits = poll_fn(|cx| Poll::Ready(Pin::new(&mut h2).poll_write(cx, b"more"))).await;
        assert!(waits.is_pending());
        assert!(!is_put_off(&flush), "nothing came since");
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_bounds_what_is_gathered() {
        let (_peer, socket) = tokio::io::duplex(1024);
        let (mut h2, _flush) = gather(socket);
        let chunk = [0; 16 * 1024];
        let writes = async {
            let mut taken = 0;
            loop {
                taken += 1;
                if taken > 100 {
                    return;
                }
                h2.write_all(&chunk).await.expect("open");
            }
        };
        let endless = tokio::time::timeout(std::time::Duration::ZERO, writes).await;
        assert!(endless.is_err(), "every write was taken");
        let held = lock(&h2.0).buffer.len();
        assert!(held <= GATHER_BYTES + chunk.len(), "{held} bytes held");
    }

    #[tokio::test]
    async fn a_shutdown_writes_what_is_left() {
        let (mut peer, socket) = tokio::io::duplex(1024);
        let (mut h2, _flush) = gather(socket);
        h2.write_all(b"goodbye").await.expect("gathered");
        h2.shutdown().await.expect("open");
        let mut seen = Vec::new();
        peer.read_to_end(&mut seen).await.expect("closed");
        assert_eq!(seen, b"goodbye");
    }
}
