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
    /// The server's message, until its status has come too.
    first: Option<Res>,
    /// The server's answer, when it came before the request was finished.
    early: Option<Result<Res, Status>>,
}

impl<Req: Codec, Res: Codec> Upload<Req, Res> {
    pub(super) fn new(requests: Requests<Req>, responses: Responses<Res>) -> Self {
        Self {
            requests,
            responses,
            first: None,
            early: None,
        }
    }

    /// Sends one message; waits while the server or the network is slow.
    ///
    /// # Errors
    /// The server's own status when it has ended the call; CANCELLED when it has answered already, and then
    /// [`Upload::finish`] has its answer. RESOURCE_EXHAUSTED over the send limit: the call goes on.
    ///
    /// # Cancel safety
    /// A dropped future sent either the whole message or nothing of it.
    pub async fn send(&mut self, message: &Req) -> Result<(), Status> {
        let sent = tokio::select! {
            biased;
            sent = self.requests.send(message) => sent,
            // A server that has answered may read no more, and need not say so.
            answer = self.responses.only_after(&mut self.first) => {
                self.early = Some(answer);
                self.requests.send(message).await
            }
        };
        let Err(status) = sent else {
            return Ok(());
        };
        if self.requests.is_open() {
            return Err(status);
        }
        if self.early.is_none() {
            self.early = Some(self.responses.only_after(&mut self.first).await);
        }
        match &self.early {
            Some(Err(ended)) => Err(ended.clone()),
            Some(Ok(_)) | None => Err(status),
        }
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
            mut first,
            early,
        } = self;
        requests.finish();
        let message = match early {
            Some(answer) => answer?,
            None => responses.only_after(&mut first).await?,
        };
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

    /// The two halves: for the headers before the answer, or of a call that then fails. After [`Requests::finish`],
    /// [`Responses::only`] is the answer.
    pub fn split(self) -> (Requests<Req>, Responses<Res>) {
        (self.requests, self.responses)
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

    /// As [`Responses::merge`].
    ///
    /// # Errors
    /// As [`Responses::merge`].
    ///
    /// # Cancel safety
    /// As [`Responses::merge`].
    pub async fn merge(&mut self, message: &mut Res) -> Result<bool, Status> {
        self.responses.merge(message).await
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
