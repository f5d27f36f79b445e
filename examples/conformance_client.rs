//! The client that connectconformance tests: each message on stdin is a call to make, each on stdout what became of one.
//!
//! `connectconformance --mode client --conf tests/conformance/grpc-full.yaml -- target/release/examples/conformance_client`

#[path = "conformance/mod.rs"]
mod conformance;

use std::error::Error;
use std::io::{stdin, stdout};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use streamway::client::{Config, Exchange, Request, Requests, Responses, Upload};
use streamway::transport::ClientTls;
use streamway::{Channel, Codec, Encoding, MessageLimits, Metadata, Status};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use conformance::proto::client_compat_request::cancel::CancelTiming;
use conformance::proto::client_compat_response::Result as Outcome;
use conformance::proto::conformance_service::ConformanceServiceClient;
use conformance::proto::{
    self, ClientCompatRequest, ClientCompatResponse, ClientErrorResult, ClientResponseResult,
    ConformancePayload, StreamType,
};
use conformance::{encoding, from_metadata, from_status, read, to_metadata, write};

/// Calls in flight at once.
const PARALLEL: usize = 16;

/// An error of this program, or of what it was asked; not one of a call.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (done, mut outcomes) = mpsc::channel(PARALLEL);
    let room = Arc::new(Semaphore::new(PARALLEL));
    let handle = runtime.handle().clone();
    // Reading blocks.
    let reader = thread::spawn(move || {
        while let Some(asked) = read::<ClientCompatRequest>(&mut stdin())? {
            let (done, room) = (done.clone(), Arc::clone(&room));
            handle.spawn(async move {
                let _room = room.acquire().await;
                let result = match call(&asked).await {
                    Ok(result) => Outcome::Response(result),
                    Err(error) => Outcome::Error(ClientErrorResult {
                        message: error.to_string(),
                    }),
                };
                let response = ClientCompatResponse {
                    test_name: asked.test_name,
                    result: Some(result),
                };
                // Fails only when nobody writes any more, because the runner is gone.
                let _ = done.send(response).await;
            });
        }
        Ok::<_, Failure>(())
    });
    runtime.block_on(async {
        while let Some(response) = outcomes.recv().await {
            write(&mut stdout(), &response)?;
        }
        Ok::<_, Failure>(())
    })?;
    reader.join().map_err(|_| "the reader panicked")?
}

/// Makes one call.
async fn call(asked: &ClientCompatRequest) -> Result<ClientResponseResult, Failure> {
    let mut config = Config::default();
    let mut scheme = "http";
    if !asked.server_tls_cert.is_empty() {
        scheme = "https";
        config.tls = ClientTls::new().ca_pem(&asked.server_tls_cert[..]);
        if let Some(shown) = &asked.client_tls_creds {
            config.tls = config.tls.identity_pem(&shown.cert[..], &shown.key[..]);
        }
    }
    let address = format!("{scheme}://{}:{}", asked.host, asked.port);
    let channel = Channel::with_config(&address, config)?;
    let client = ConformanceServiceClient::new(channel);
    let options = Options::new(asked)?;
    match asked.method() {
        "Unary" => one(asked, options.on(client.unary(only(asked)?)).start()).await,
        "Unimplemented" => {
            one(
                asked,
                options.on(client.unimplemented(only(asked)?)).start(),
            )
            .await
        }
        "IdempotentUnary" => {
            one(
                asked,
                options.on(client.idempotent_unary(only(asked)?)).start(),
            )
            .await
        }
        "ServerStream" => {
            one(
                asked,
                options.on(client.server_stream(only(asked)?)).start(),
            )
            .await
        }
        "ClientStream" => {
            let upload = options.on(client.client_stream()).start().await;
            many(asked, upload.map(Upload::split)).await
        }
        "BidiStream" => {
            let exchange = options.on(client.bidi_stream()).start().await;
            many(asked, exchange.map(Exchange::split)).await
        }
        other => Err(format!("no method {other}").into()),
    }
}

/// What every call is made with.
struct Options {
    metadata: Metadata,
    timeout: Option<Duration>,
    encoding: Encoding,
    limits: MessageLimits,
}

impl Options {
    fn new(asked: &ClientCompatRequest) -> Result<Self, Failure> {
        let mut limits = MessageLimits::default();
        if asked.message_receive_limit > 0 {
            limits = limits.recv(asked.message_receive_limit.try_into()?);
        }
        Ok(Self {
            metadata: to_metadata(&asked.request_headers)?,
            timeout: asked.timeout_ms.map(millis),
            encoding: encoding(asked.compression()),
            limits,
        })
    }

    fn on<Shape>(&self, request: Request<Shape>) -> Request<Shape> {
        let request = request
            .metadata(self.metadata.clone())
            .encoding(self.encoding)
            .limits(self.limits);
        match self.timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        }
    }
}

/// A call whose request is one message.
async fn one<Res: Answer>(
    asked: &ClientCompatRequest,
    started: impl Future<Output = Result<Responses<Res>, Status>>,
) -> Result<ClientResponseResult, Failure> {
    let mut result = ClientResponseResult::default();
    sleep(millis(asked.request_delay_ms)).await;
    match started.await {
        Ok(responses) => receive(asked, responses, &mut result).await,
        Err(status) => result.error = Some(from_status(&status)),
    }
    Ok(result)
}

/// A call whose request is a stream.
async fn many<Req: Message + Default, Res: Answer>(
    asked: &ClientCompatRequest,
    started: Result<(Requests<Req>, Responses<Res>), Status>,
) -> Result<ClientResponseResult, Failure> {
    let mut result = ClientResponseResult::default();
    let (mut requests, mut responses) = match started {
        Ok(halves) => halves,
        Err(status) => {
            result.error = Some(from_status(&status));
            return Ok(result);
        }
    };
    let lock_step = asked.stream_type() == StreamType::FullDuplexBidiStream;
    for (sent, message) in asked.request_messages.iter().enumerate() {
        sleep(millis(asked.request_delay_ms)).await;
        if requests.send(&unpack(message)?).await.is_err() {
            // The call has ended; why, the responses say.
            result.num_unsent_requests = (asked.request_messages.len() - sent).try_into()?;
            break;
        }
        if lock_step && !receive_one(asked, &mut responses, &mut result).await {
            break;
        }
    }
    match timing(asked) {
        Some(CancelTiming::BeforeCloseSend(())) => drop(requests),
        _ => requests.finish(),
    }
    receive(asked, responses, &mut result).await;
    Ok(result)
}

/// Receives to the end, or until it is time to cancel.
async fn receive<Res: Answer>(
    asked: &ClientCompatRequest,
    mut responses: Responses<Res>,
    result: &mut ClientResponseResult,
) {
    let all = async {
        while result.error.is_none() && receive_one(asked, &mut responses, result).await {}
    };
    let late = match timing(asked) {
        Some(CancelTiming::AfterCloseSendMs(ms)) => timeout(millis(ms), all).await.is_err(),
        _ => {
            all.await;
            false
        }
    };
    if late {
        result.error = Some(cancelled());
    }
    // What has come, but no waiting: dropping the responses cancels the call.
    if let Ok(Ok(headers)) = timeout(Duration::ZERO, responses.headers()).await {
        result.response_headers = from_metadata(headers);
    }
    result.response_trailers = from_metadata(responses.trailers());
}

/// Receives one message; tells whether there may be another.
async fn receive_one<Res: Answer>(
    asked: &ClientCompatRequest,
    responses: &mut Responses<Res>,
    result: &mut ClientResponseResult,
) -> bool {
    let received = match asked.stream_type() {
        StreamType::Unary | StreamType::ClientStream => responses.only().await.map(Some),
        _ => responses.message().await,
    };
    match received {
        Ok(Some(response)) => result.payloads.extend(response.payload()),
        Ok(None) => return false,
        Err(status) => {
            result.error = Some(from_status(&status));
            return false;
        }
    }
    if let Some(CancelTiming::AfterNumResponses(n)) = timing(asked)
        && result.payloads.len() == n as usize
    {
        result.error = Some(cancelled());
        return false;
    }
    !matches!(
        asked.stream_type(),
        StreamType::Unary | StreamType::ClientStream
    )
}

/// When to cancel the call, if it is to be cancelled.
fn timing(asked: &ClientCompatRequest) -> Option<CancelTiming> {
    let cancel = asked.cancel.as_ref()?;
    Some(
        cancel
            .cancel_timing
            .unwrap_or(CancelTiming::AfterCloseSendMs(0)),
    )
}

/// What dropping a call means.
fn cancelled() -> proto::Error {
    from_status(&Status::cancelled("by this client"))
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// The message of a request that has one.
fn only<Req: Message + Default>(asked: &ClientCompatRequest) -> Result<Req, Failure> {
    match &asked.request_messages[..] {
        [message] => unpack(message),
        other => Err(format!("{} messages for a method that takes one", other.len()).into()),
    }
}

fn unpack<Req: Message + Default>(message: &Any) -> Result<Req, Failure> {
    Ok(Req::decode(&message.value[..])?)
}

/// A response, of any of the methods.
trait Answer: Codec {
    fn payload(self) -> Option<ConformancePayload>;
}

macro_rules! answers {
    ($($response:ident)*) => {
        $(impl Answer for proto::$response {
            fn payload(self) -> Option<ConformancePayload> {
                Some(self.payload.unwrap_or_default())
            }
        })*
    };
}

answers!(UnaryResponse ServerStreamResponse ClientStreamResponse BidiStreamResponse IdempotentUnaryResponse);

impl Answer for proto::UnimplementedResponse {
    fn payload(self) -> Option<ConformancePayload> {
        None
    }
}
