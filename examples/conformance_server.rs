//! The server that connectconformance tests: it is told on stdin how to serve, says on stdout where, and answers each call
//! as the call itself asks.
//!
//! `connectconformance --mode server --conf tests/conformance/grpc-full.yaml -- target/release/examples/conformance_server`

#[path = "conformance/mod.rs"]
mod conformance;

use std::error::Error;
use std::future::pending;
use std::io::{stdin, stdout};
use std::time::Duration;

use prost::{Message, Name};
use prost_types::Any;
use streamway::transport::ServerTls;
use streamway::{Call, MessageLimits, Sender, Server, Status, Streaming};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use conformance::proto::conformance_payload::RequestInfo;
use conformance::proto::conformance_service::{ConformanceService, ConformanceServiceServer};
use conformance::proto::unary_response_definition::Response;
use conformance::proto::{
    BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse,
    ConformancePayload, IdempotentUnaryRequest, IdempotentUnaryResponse, ServerCompatRequest,
    ServerCompatResponse, ServerStreamRequest, ServerStreamResponse, StreamResponseDefinition,
    UnaryRequest, UnaryResponse, UnaryResponseDefinition, UnimplementedRequest,
    UnimplementedResponse,
};
use conformance::{from_metadata, read, to_metadata, to_status, write};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let asked: ServerCompatRequest = read(&mut stdin())?.ok_or("nothing on stdin")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut server = Server::new().add_service(ConformanceServiceServer::new(Conformance));
    let mut response = ServerCompatResponse {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr()?.port().into(),
        pem_cert: Vec::new(),
    };
    if asked.use_tls {
        let credentials = asked.server_creds.ok_or("TLS without a certificate")?;
        let clients = Some(&asked.client_tls_cert[..]).filter(|pem| !pem.is_empty());
        server = server.tls(ServerTls::from_pem(
            &credentials.cert,
            &credentials.key,
            clients,
        )?);
        response.pem_cert = credentials.cert;
    }
    if asked.message_receive_limit > 0 {
        let limits = MessageLimits::default().recv(asked.message_receive_limit.try_into()?);
        server = server.limits(limits);
    }
    write(&mut stdout(), &response)?;
    server.serve(listener, pending()).await?;
    Ok(())
}

struct Conformance;

impl ConformanceService for Conformance {
    async fn unary(&self, call: &Call, request: UnaryRequest) -> Result<UnaryResponse, Status> {
        let requests = vec![any(&request)];
        let payload = Some(one(call, request.response_definition, requests).await?);
        Ok(UnaryResponse { payload })
    }

    async fn server_stream(
        &self,
        call: &Call,
        request: ServerStreamRequest,
        tx: &mut Sender<ServerStreamResponse>,
    ) -> Result<(), Status> {
        let requests = vec![any(&request)];
        let mut script = Script::new(call, request.response_definition)?;
        call.send_headers()?;
        let mut info = Some(info(call, requests));
        while let Some(data) = script.next().await {
            let payload = Some(ConformancePayload {
                data,
                request_info: info.take(),
            });
            tx.send(&ServerStreamResponse { payload }).await?;
        }
        script.end(info.as_ref())
    }

    async fn client_stream(
        &self,
        call: &Call,
        rx: &mut Streaming<ClientStreamRequest>,
    ) -> Result<ClientStreamResponse, Status> {
        let mut definition = None;
        let mut requests = Vec::new();
        while let Some(request) = rx.message().await? {
            requests.push(any(&request));
            if requests.len() == 1 {
                definition = request.response_definition;
            }
        }
        let payload = Some(one(call, definition, requests).await?);
        Ok(ClientStreamResponse { payload })
    }

    async fn bidi_stream(
        &self,
        call: &Call,
        rx: &mut Streaming<BidiStreamRequest>,
        tx: &mut Sender<BidiStreamResponse>,
    ) -> Result<(), Status> {
        let Some(first) = rx.message().await? else {
            return Ok(());
        };
        let mut requests = vec![any(&first)];
        let mut script = Script::new(call, first.response_definition)?;
        call.send_headers()?;
        let mut sent = 0;
        let mut more = true;
        while more {
            if first.full_duplex {
                let Some(data) = script.next().await else {
                    break;
                };
                let mut request_info = info(call, std::mem::take(&mut requests));
                if sent > 0 {
                    request_info.request_headers.clear();
                    request_info.timeout_ms = None;
                }
                sent += 1;
                let payload = Some(ConformancePayload {
                    data,
                    request_info: Some(request_info),
                });
                tx.send(&BidiStreamResponse { payload }).await?;
            }
            match rx.message().await? {
                Some(request) => requests.push(any(&request)),
                None => more = false,
            }
        }
        let mut info = (sent == 0).then(|| info(call, requests));
        while let Some(data) = script.next().await {
            let payload = Some(ConformancePayload {
                data,
                request_info: info.take(),
            });
            tx.send(&BidiStreamResponse { payload }).await?;
        }
        script.end(info.as_ref())
    }

    async fn unimplemented(
        &self,
        _: &Call,
        _: UnimplementedRequest,
    ) -> Result<UnimplementedResponse, Status> {
        Err(Status::unimplemented("as its name says"))
    }

    async fn idempotent_unary(
        &self,
        call: &Call,
        request: IdempotentUnaryRequest,
    ) -> Result<IdempotentUnaryResponse, Status> {
        let requests = vec![any(&request)];
        let payload = Some(one(call, request.response_definition, requests).await?);
        Ok(IdempotentUnaryResponse { payload })
    }
}

/// The one answer that a definition asks for.
async fn one(
    call: &Call,
    definition: Option<UnaryResponseDefinition>,
    requests: Vec<Any>,
) -> Result<ConformancePayload, Status> {
    let info = info(call, requests);
    let definition = definition.unwrap_or_default();
    call.set_headers(to_metadata(&definition.response_headers)?)?;
    call.set_trailers(to_metadata(&definition.response_trailers)?);
    sleep(Duration::from_millis(definition.response_delay_ms.into())).await;
    let data = match definition.response {
        Some(Response::Error(mut error)) => {
            error.details.push(any(&info));
            return Err(to_status(error));
        }
        Some(Response::ResponseData(data)) => data,
        None => Vec::new(),
    };
    Ok(ConformancePayload {
        data,
        request_info: Some(info),
    })
}

/// The answers that a definition asks for, one after the other.
struct Script {
    data: std::vec::IntoIter<Vec<u8>>,
    delay: Duration,
    error: Option<conformance::proto::Error>,
}

impl Script {
    fn new(call: &Call, definition: Option<StreamResponseDefinition>) -> Result<Self, Status> {
        let definition = definition.unwrap_or_default();
        call.set_headers(to_metadata(&definition.response_headers)?)?;
        call.set_trailers(to_metadata(&definition.response_trailers)?);
        Ok(Self {
            data: definition.response_data.into_iter(),
            delay: Duration::from_millis(definition.response_delay_ms.into()),
            error: definition.error,
        })
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        let data = self.data.next()?;
        sleep(self.delay).await;
        Some(data)
    }

    /// The status; `info` when no answer has told it.
    fn end(self, info: Option<&RequestInfo>) -> Result<(), Status> {
        let Some(mut error) = self.error else {
            return Ok(());
        };
        error.details.extend(info.map(any));
        Err(to_status(error))
    }
}

fn info(call: &Call, requests: Vec<Any>) -> RequestInfo {
    let left = call
        .deadline()
        .map(|deadline| deadline.saturating_duration_since(Instant::now()));
    RequestInfo {
        request_headers: from_metadata(call.metadata()),
        timeout_ms: left.and_then(|left| left.as_millis().try_into().ok()),
        requests,
        connect_get_info: None,
    }
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}
