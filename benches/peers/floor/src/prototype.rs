//! Echo and SumData in the fewest steps that answer right: no metadata, deadline, limit, timer, nor any status but OK. What is left of
//! the cost of a server on h2 when it gives up everything else.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::Request;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::proto::StreamSumData;
use crate::server::{head, send, trailers};
use crate::{CHUNK, PREFIX};

type Failure = Box<dyn Error + Send + Sync>;

/// Serves on the current thread.
pub async fn serve(address: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(connection(socket));
    }
}

type Call = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

async fn connection(socket: TcpStream) -> Result<(), Failure> {
    let gathered = Gathered(Arc::new(Mutex::new((socket, BytesMut::new()))));
    let flush = Gathered(Arc::clone(&gathered.0));
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(1000)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20);
    let mut shaking = std::pin::pin!(builder.handshake(gathered));
    let mut h2 = poll_fn(|cx| {
        let shaken = shaking.as_mut().poll(cx);
        let _ = flush.write_out(cx);
        shaken
    })
    .await?;
    let mut calls: FuturesUnordered<Call> = FuturesUnordered::new();
    poll_fn(|cx| {
        let closed = streams(&mut h2, &mut calls, cx);
        let flushed = flush.write_out(cx);
        if let Poll::Ready(Err(error)) = flushed {
            return Poll::Ready(Err(error.into()));
        }
        closed
    })
    .await
}

fn streams(
    h2: &mut Connection<Gathered, Bytes>,
    calls: &mut FuturesUnordered<Call>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Failure>> {
    loop {
        match h2.poll_accept(cx) {
            Poll::Ready(Some(accepted)) => {
                let (request, respond) = accepted?;
                start(request, respond, calls, cx)?;
                continue;
            }
            Poll::Ready(None) => return Poll::Ready(Ok(())),
            Poll::Pending => {}
        }
        match calls.poll_next_unpin(cx) {
            // However it has ended: nobody is told.
            Poll::Ready(Some(_)) => {}
            Poll::Ready(None) | Poll::Pending => return Poll::Pending,
        }
    }
}

fn start(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    calls: &mut FuturesUnordered<Call>,
    cx: &mut Context<'_>,
) -> Result<(), Failure> {
    let path = request.uri().path();
    if path.ends_with("/Echo") {
        let mut body = request.into_body();
        match body.poll_data(cx) {
            Poll::Ready(data) => answer(data, &mut body, &mut respond)?,
            Poll::Pending => calls.push(Box::pin(async move {
                let data = poll_fn(|cx| body.poll_data(cx)).await;
                answer(data, &mut body, &mut respond)
            })),
        }
    } else {
        calls.push(Box::pin(sum(request.into_body(), respond)));
    }
    Ok(())
}

fn answer(
    data: Option<Result<Bytes, h2::Error>>,
    body: &mut RecvStream,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), Failure> {
    let mut data = data.ok_or("no message")??;
    body.flow_control().release_capacity(data.len())?;
    data.advance(1);
    let length = data.get_u32() as usize;
    let message = StreamSumData::decode(&data[..length])?;
    let mut buffer = BytesMut::new();
    frame(&message, &mut buffer);
    let mut stream = respond.send_response(head(), false)?;
    stream.send_data(buffer.freeze(), false)?;
    stream.send_trailers(trailers())?;
    Ok(())
}

fn frame(message: &impl Message, buffer: &mut BytesMut) {
    let length = message.encoded_len();
    buffer.reserve(PREFIX + length);
    buffer.put_u8(0);
    buffer.put_u32(length as u32);
    message.encode_raw(buffer);
}

async fn sum(mut body: RecvStream, mut respond: SendResponse<Bytes>) -> Result<(), Failure> {
    let mut stream = respond.send_response(head(), false)?;
    let (mut received, mut buffer) = (BytesMut::new(), BytesMut::new());
    let mut sum = 0i32;
    while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
        let mut data = data?;
        body.flow_control().release_capacity(data.len())?;
        if !received.is_empty() {
            received.extend_from_slice(&data);
            data = received.split().freeze();
        }
        while let Some(&[_, a, b, c, d]) = data.first_chunk::<PREFIX>() {
            let whole = PREFIX + u32::from_be_bytes([a, b, c, d]) as usize;
            if data.len() < whole {
                break;
            }
            sum = sum.wrapping_add(StreamSumData::decode(&data[PREFIX..whole])?.number);
            frame(&StreamSumData { number: sum }, &mut buffer);
            data.advance(whole);
        }
        received.extend_from_slice(&data);
        if !buffer.is_empty() {
            send_some(&mut stream, &mut buffer).await?;
        }
    }
    stream.send_trailers(trailers())?;
    Ok(())
}

/// Without asking for capacity when there is enough.
async fn send_some(stream: &mut SendStream<Bytes>, buffer: &mut BytesMut) -> Result<(), Failure> {
    stream.reserve_capacity(buffer.len());
    if stream.capacity() >= buffer.len() {
        stream.send_data(buffer.split().freeze(), false)?;
        return Ok(());
    }
    send(stream, buffer.split().freeze()).await
}

/// A socket whose writes leave when the connection's task says so.
struct Gathered(Arc<Mutex<(TcpStream, BytesMut)>>);

impl Gathered {
    fn lock(&self) -> MutexGuard<'_, (TcpStream, BytesMut)> {
        self.0.lock().expect("one task")
    }

    fn write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (socket, buffer) = &mut *self.lock();
        while !buffer.is_empty() {
            let written = ready!(Pin::new(&mut *socket).poll_write(cx, buffer))?;
            buffer.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gathered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().0).poll_read(cx, into)
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.lock().1.len() >= 4 * CHUNK {
            ready!(self.write_out(cx))?;
        }
        self.lock().1.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.lock().1.len() >= 4 * CHUNK {
            ready!(self.write_out(cx))?;
        }
        let buffer = &mut self.lock().1;
        let before = buffer.len();
        for slice in slices {
            buffer.extend_from_slice(slice);
        }
        Poll::Ready(Ok(buffer.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_out(cx))?;
        Pin::new(&mut self.lock().0).poll_shutdown(cx)
    }
}
