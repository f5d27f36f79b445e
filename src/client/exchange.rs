//! Calls whose request is streamed: an upload, which is answered once, and an exchange, which streams both ways.

use super::requests::Requests;
use super::responses::Responses;
use crate::call::Compression;
use crate::codec::Codec;
use crate::metadata::Metadata;
use crate::status::Status;

/// A call that sends any number of messages and is answered with one. Dropped before [`Upload::finish`], it is
/// cancelled.
#[derive(Debug)]
pub struct Upload<Req, Res> {
    requests: Requests<Req>,
    responses: Responses<Res>,
}

impl<Req: Codec, Res: Codec> Upload<Req, Res> {
    pub(super) fn new(requests: Requests<Req>, responses: Responses<Res>) -> Self {
        Self {
            requests,
            responses,
        }
    }

    /// Sends one message; waits while the server or the network is slow.
    ///
    /// # Errors
    /// The server's own status when it has ended the call; RESOURCE_EXHAUSTED over the send limit.
    ///
    /// # Cancel safety
    /// A dropped future sent either the whole message or nothing of it.
    pub async fn send(&mut self, message: &Req) -> Result<(), Status> {
        let Err(status) = self.requests.send(message).await else {
            return Ok(());
        };
        if self.requests.is_open() {
            // This message could not be sent; the call goes on.
            return Err(status);
        }
        // The call has ended: the server says why, unless it ended well, without what was to come.
        self.responses.outcome().await.and(Err(status))
    }

    /// Tells the server that there are no more messages and waits for its answer.
    ///
    /// # Errors
    /// As [`Responses::only`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn finish(self) -> Result<Res, Status> {
        Ok(self.finish_with_metadata().await?.message)
    }

    /// As [`Upload::finish`], with what came beside the message.
    ///
    /// # Errors
    /// As [`Upload::finish`].
    ///
    /// # Cancel safety
    /// As [`Upload::finish`].
    pub async fn finish_with_metadata(self) -> Result<super::Response<Res>, Status> {
        let Self {
            requests,
            mut responses,
        } = self;
        requests.finish();
        let message = responses.only().await?;
        let (headers, trailers) = responses.into_metadata();
        Ok(super::Response {
            headers,
            message,
            trailers,
        })
    }

    /// As [`Requests::compress`].
    pub fn compress(&mut self, compression: Compression) {
        self.requests.compress(compression);
    }
}

/// A call that sends and receives any number of messages, each side at its own pace.
#[derive(Debug)]
pub struct Exchange<Req, Res> {
    requests: Requests<Req>,
    responses: Responses<Res>,
}

impl<Req: Codec, Res: Codec> Exchange<Req, Res> {
    pub(super) fn new(requests: Requests<Req>, responses: Responses<Res>) -> Self {
        Self {
            requests,
            responses,
        }
    }

    /// The two halves, which can be used from different tasks.
    pub fn split(self) -> (Requests<Req>, Responses<Res>) {
        (self.requests, self.responses)
    }

    /// As [`Requests::send`].
    ///
    /// # Errors
    /// As [`Requests::send`].
    ///
    /// # Cancel safety
    /// As [`Requests::send`].
    pub async fn send(&mut self, message: &Req) -> Result<(), Status> {
        self.requests.send(message).await
    }

    /// As [`Responses::message`].
    ///
    /// # Errors
    /// As [`Responses::message`].
    ///
    /// # Cancel safety
    /// As [`Responses::message`].
    pub async fn message(&mut self) -> Result<Option<Res>, Status> {
        self.responses.message().await
    }

    /// Tells the server that there are no more messages; the answers go on.
    pub fn finish(self) -> Responses<Res> {
        self.requests.finish();
        self.responses
    }

    /// What came with the status; empty before the call has ended.
    pub fn trailers(&self) -> &Metadata {
        self.responses.trailers()
    }
}
