//! A call that is about to be made: what it sends, and how.
//!
//! In: a method, a message or none, options. Out: an open call. Not here: what happens once it is open.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use h2::client::ResponseFuture;
use tokio::time::{Instant, timeout_at};

use super::channel::{Channel, Ready};
use super::exchange::{Exchange, Upload};
use super::requests::Requests;
use super::responses::{Receive, Responses};
use crate::call::expired;
use crate::codec::compression::AcceptEncoding;
use crate::codec::frame::encode_frame;
use crate::codec::{Codec, Encoding, MessageLimits};
use crate::metadata::Metadata;
use crate::method::Method;
use crate::protocol::{ContentType, RequestHead};
use crate::status::Status;

/// A call that is about to be made. `Shape` says how many messages go each way.
#[must_use = "a request does nothing until it is sent or started"]
pub struct Request<Shape> {
    channel: Channel,
    method: Method,
    options: Options,
    shape: Shape,
}

/// How a call is made.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) metadata: Metadata,
    pub(super) deadline: Option<Instant>,
    pub(super) limits: MessageLimits,
    pub(super) encoding: Encoding,
    pub(super) wait_for_ready: bool,
}

/// One message there, one back.
#[derive(Debug)]
pub struct Unary<Req, Res>(Req, PhantomData<fn() -> Res>);

/// One message there, any number back.
#[derive(Debug)]
pub struct ServerStreaming<Req, Res>(Req, PhantomData<fn() -> Res>);

/// Any number of messages there, one back.
#[derive(Debug)]
pub struct ClientStreaming<Req, Res>(PhantomData<fn(Req) -> Res>);

/// Any number of messages both ways.
#[derive(Debug)]
pub struct Bidi<Req, Res>(PhantomData<fn(Req) -> Res>);

/// The answer of a unary call, whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response<T> {
    /// What the server sent before the message.
    pub headers: Metadata,
    /// The message.
    pub message: T,
    /// What the server sent after it.
    pub trailers: Metadata,
}

impl<Shape> Request<Shape> {
    pub(super) fn new(channel: &Channel, method: Method, shape: Shape) -> Self {
        let config = channel.config();
        Self {
            options: Options {
                metadata: Metadata::new(),
                deadline: None,
                limits: config.limits,
                encoding: config.encoding,
                wait_for_ready: false,
            },
            channel: channel.clone(),
            method,
            shape,
        }
    }

    /// Ends the call with DEADLINE_EXCEEDED at this time, whatever it is doing: connecting, sending or receiving.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// As [`Request::deadline`], counted from now.
    pub fn timeout(self, timeout: Duration) -> Self {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.deadline(deadline),
            // Further away than a clock can say: no deadline.
            None => self,
        }
    }

    /// Sends this metadata in the request's headers.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.options.metadata = metadata;
        self
    }

    /// Message limits of this call, in place of the channel's.
    pub fn limits(mut self, limits: MessageLimits) -> Self {
        self.options.limits = limits;
        self
    }

    /// What the request's messages are compressed with, in place of the channel's choice. The server must read it: a
    /// call that it cannot read ends with UNIMPLEMENTED.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.options.encoding = encoding;
        self
    }

    /// Waits until the server can be reached instead of failing with UNAVAILABLE when it cannot (wait-for-ready.md).
    pub fn wait_for_ready(mut self) -> Self {
        self.options.wait_for_ready = true;
        self
    }

    fn dialer(self) -> (Dial, Shape) {
        let Self {
            channel,
            method,
            options,
            shape,
        } = self;
        (
            Dial {
                channel,
                method,
                options,
            },
            shape,
        )
    }
}

/// A stream: what will come, and what is to be sent.
pub(super) type Opened = (ResponseFuture, SendStream<Bytes>);

/// Opens streams for one call: once, and once more when the server never saw it.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub(super) channel: Channel,
    pub(super) method: Method,
    pub(super) options: Options,
}

impl Dial {
    /// Opens a stream and sends the request's headers.
    ///
    /// # Errors
    /// UNAVAILABLE when there is no connection, DEADLINE_EXCEEDED when there is none in time.
    pub(super) async fn open(&self) -> Result<Opened, Status> {
        let opened = self.connected();
        match self.options.deadline {
            Some(deadline) => timeout_at(deadline, opened)
                .await
                .unwrap_or_else(|_| Err(expired())),
            None => opened.await,
        }
    }

    async fn connected(&self) -> Result<Opened, Status> {
        loop {
            let ready = self.channel.ready(self.options.wait_for_ready).await?;
            match self.send_headers(&ready).await? {
                Some(opened) => return Ok(opened),
                // Nothing was sent: the connection ended between two calls. The next one is new.
                None => self.channel.retire(&ready),
            }
        }
    }

    async fn send_headers(&self, ready: &Ready) -> Result<Option<Opened>, Status> {
        let Ok(mut send) = ready.send.clone().ready().await else {
            return Ok(None);
        };
        let timeout = match self.options.deadline {
            None => None,
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => Some(left),
                Some(_) | None => return Err(expired()),
            },
        };
        let head = RequestHead {
            content_type: ContentType::Plain,
            timeout,
            encoding: self.options.encoding,
            accept: AcceptEncoding::default(),
        };
        let uri = self.channel.uri(self.method);
        let request = head.into_request(uri, self.options.metadata.clone());
        match send.send_request(request, false) {
            Ok(opened) => {
                ready.set_used();
                Ok(Some(opened))
            }
            Err(error) if error.is_go_away() || error.is_io() => Ok(None),
            Err(error) => Err(super::connection::status_of(&error)),
        }
    }
}

impl<Req: Codec, Res> Unary<Req, Res> {
    pub(super) fn new(message: Req) -> Self {
        Self(message, PhantomData)
    }
}

impl<Req: Codec, Res: Codec> Request<Unary<Req, Res>> {
    /// Makes the call and waits for its message.
    ///
    /// # Errors
    /// The status that the server ended the call with, or the one of what went wrong on the way.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn send(self) -> Result<Res, Status> {
        Ok(self.response().await?.message)
    }

    /// As [`Request::send`], with what came beside the message.
    ///
    /// # Errors
    /// As [`Request::send`].
    ///
    /// # Cancel safety
    /// As [`Request::send`].
    pub async fn response(self) -> Result<Response<Res>, Status> {
        let mut responses = self.start().await?;
        let message = responses.only().await?;
        let (headers, trailers) = responses.into_metadata();
        Ok(Response {
            headers,
            message,
            trailers,
        })
    }

    /// Makes the call and returns as soon as it is on its way: for the headers before the message, or of a call that then
    /// fails. [`Responses::only`] is the message.
    ///
    /// # Errors
    /// UNAVAILABLE when there is no connection, RESOURCE_EXHAUSTED when the message is over the send limit.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn start(self) -> Result<Responses<Res>, Status> {
        let (dial, Unary(message, _)) = self.dialer();
        single(dial, &message).await
    }
}

impl<Req: Codec, Res> ServerStreaming<Req, Res> {
    pub(super) fn new(message: Req) -> Self {
        Self(message, PhantomData)
    }
}

impl<Req: Codec, Res: Codec> Request<ServerStreaming<Req, Res>> {
    /// Makes the call; returns as soon as it is on its way.
    ///
    /// # Errors
    /// UNAVAILABLE when there is no connection, RESOURCE_EXHAUSTED when the message is over the send limit.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn start(self) -> Result<Responses<Res>, Status> {
        let (dial, ServerStreaming(message, _)) = self.dialer();
        single(dial, &message).await
    }
}

/// Opens a call that sends one message.
async fn single<Req: Codec, Res: Codec>(
    dial: Dial,
    message: &Req,
) -> Result<Responses<Res>, Status> {
    // First, so that a message over the limit costs no stream.
    let mut wire = BytesMut::new();
    let Options {
        limits, encoding, ..
    } = dial.options;
    encode_frame(message, encoding, limits, &mut wire)?;
    let (response, stream) = dial.open().await?;
    let receive = Receive::single(dial, response, stream, wire.freeze());
    Ok(Responses::new(receive))
}

impl<Req, Res> ClientStreaming<Req, Res> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Req: Codec, Res: Codec> Request<ClientStreaming<Req, Res>> {
    /// Makes the call; returns as soon as it is on its way, before the server has said anything.
    ///
    /// # Errors
    /// UNAVAILABLE when there is no connection.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub fn start(self) -> impl Future<Output = Result<Upload<Req, Res>, Status>> + Send
    where
        Req: 'static,
    {
        let (dial, _) = self.dialer();
        async move {
            let (requests, responses) = streamed(dial).await?;
            Ok(Upload::new(requests, responses))
        }
    }
}

impl<Req, Res> Bidi<Req, Res> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Req: Codec, Res: Codec> Request<Bidi<Req, Res>> {
    /// Makes the call; returns as soon as it is on its way, before the server has said anything.
    ///
    /// # Errors
    /// UNAVAILABLE when there is no connection.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub fn start(self) -> impl Future<Output = Result<Exchange<Req, Res>, Status>> + Send
    where
        Req: 'static,
    {
        let (dial, _) = self.dialer();
        async move {
            let (requests, responses) = streamed(dial).await?;
            Ok(Exchange::new(requests, responses))
        }
    }
}

/// Opens a call whose messages come one by one.
async fn streamed<Req, Res>(dial: Dial) -> Result<(Requests<Req>, Responses<Res>), Status> {
    let opened = dial.open().await?;
    let requests = Requests::new(opened, dial.clone());
    let receive = Receive::streamed(&dial, requests.shared());
    Ok((requests, Responses::new(receive)))
}

impl<Shape> fmt::Debug for Request<Shape> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("channel", &self.channel)
            .field("method", &self.method)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
