//! The server of the gRPC project's interop tests, with the flags of grpc-go's.
//!
//! `interop_server --port 10000 [--use_tls --tls_cert_file server.pem --tls_key_file server.key]`

#[path = "interop/mod.rs"]
mod interop;

use std::error::Error;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use streamway::call::Compression;
use streamway::transport::ServerTls;
use streamway::{Call, Code, Encoding, Metadata, Sender, Server, Status, Streaming};
use tokio::net::TcpListener;
use tokio::time::sleep;

use interop::proto::test_service::{TestService, TestServiceServer};
use interop::proto::{
    EchoStatus, Empty, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};
use interop::{ECHO_INITIAL, ECHO_TRAILING, Flags, payload};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::read(&["port", "tls_cert_file", "tls_key_file"], &["use_tls"])?;
    let listener = TcpListener::bind(("127.0.0.1", flags.or("port", 10000)?)).await?;
    let service = Interop {
        server_id: listener.local_addr()?.to_string(),
    };
    let mut server = Server::new().add_service(TestServiceServer::new(service));
    if flags.or("use_tls", false)? {
        let file = |name| {
            flags
                .get(name)
                .ok_or_else(|| format!("--use_tls without --{name}"))
        };
        server = server.tls(ServerTls::from_files(
            Path::new(file("tls_cert_file")?),
            Path::new(file("tls_key_file")?),
            None,
        )?);
    }
    println!("listening on {}", listener.local_addr()?);
    server.serve(listener, pending()).await?;
    Ok(())
}

struct Interop {
    server_id: String,
}

impl TestService for Interop {
    async fn empty_call(&self, _: &Call, request: Empty) -> Result<Empty, Status> {
        Ok(request)
    }

    async fn unary_call(
        &self,
        call: &Call,
        request: SimpleRequest,
    ) -> Result<SimpleResponse, Status> {
        echo(call)?;
        check_compressed(call, request.expect_compressed)?;
        check_status(request.response_status)?;
        compress(call, request.response_compressed)?;
        Ok(SimpleResponse {
            payload: Some(checked_payload(request.response_size)?),
            server_id: match request.fill_server_id {
                true => self.server_id.clone(),
                false => String::new(),
            },
        })
    }

    async fn streaming_output_call(
        &self,
        call: &Call,
        request: StreamingOutputCallRequest,
        tx: &mut Sender<StreamingOutputCallResponse>,
    ) -> Result<(), Status> {
        echo(call)?;
        answer(call, request, tx).await
    }

    async fn streaming_input_call(
        &self,
        call: &Call,
        rx: &mut Streaming<StreamingInputCallRequest>,
    ) -> Result<StreamingInputCallResponse, Status> {
        echo(call)?;
        let mut sum = 0;
        while let Some(request) = rx.message().await? {
            check_compressed(call, request.expect_compressed)?;
            sum += request.payload.map_or(0, |payload| payload.body.len());
        }
        let too_large =
            |_| Status::out_of_range(format!("{sum} bytes are more than an int32 says"));
        Ok(StreamingInputCallResponse {
            aggregated_payload_size: sum.try_into().map_err(too_large)?,
        })
    }

    async fn full_duplex_call(
        &self,
        call: &Call,
        rx: &mut Streaming<StreamingOutputCallRequest>,
        tx: &mut Sender<StreamingOutputCallResponse>,
    ) -> Result<(), Status> {
        echo(call)?;
        while let Some(request) = rx.message().await? {
            answer(call, request, tx).await?;
        }
        Ok(())
    }

    async fn half_duplex_call(
        &self,
        call: &Call,
        rx: &mut Streaming<StreamingOutputCallRequest>,
        tx: &mut Sender<StreamingOutputCallResponse>,
    ) -> Result<(), Status> {
        echo(call)?;
        let mut requests = Vec::new();
        while let Some(request) = rx.message().await? {
            requests.push(request);
        }
        for request in requests {
            answer(call, request, tx).await?;
        }
        Ok(())
    }
}

/// Sends what one request of a stream asks for.
async fn answer(
    call: &Call,
    request: StreamingOutputCallRequest,
    tx: &mut Sender<StreamingOutputCallResponse>,
) -> Result<(), Status> {
    check_status(request.response_status)?;
    for parameters in request.response_parameters {
        let ResponseParameters {
            size,
            interval_us,
            compressed,
        } = parameters;
        sleep(Duration::from_micros(interval_us.try_into().unwrap_or(0))).await;
        compress(call, compressed)?;
        let payload = Some(checked_payload(size)?);
        tx.send(&StreamingOutputCallResponse { payload }).await?;
    }
    Ok(())
}

/// Sends back what a client wants to see again.
fn echo(call: &Call) -> Result<(), Status> {
    let internal = |error: &dyn Error| Status::internal(error.to_string());
    if let Some(value) = call.metadata().get(ECHO_INITIAL) {
        let mut headers = Metadata::new();
        let added = headers.append(ECHO_INITIAL, value);
        added.map_err(|error| internal(&error))?;
        call.set_headers(headers)?;
    }
    if let Some(value) = call.metadata().get_bin(ECHO_TRAILING) {
        let mut trailers = Metadata::new();
        let added = trailers.append_bin(ECHO_TRAILING, value);
        added.map_err(|error| internal(&error))?;
        call.set_trailers(trailers);
    }
    Ok(())
}

/// The status that the call is to end with, if there is one.
fn check_status(asked: Option<EchoStatus>) -> Result<(), Status> {
    let Some(EchoStatus { code, message }) = asked else {
        return Ok(());
    };
    let known = u32::try_from(code).ok().and_then(Code::from_number);
    match known.unwrap_or(Code::Unknown) {
        Code::Ok => Ok(()),
        code => Err(Status::new(code, message)),
    }
}

/// Whether the message before came as its sender says.
fn check_compressed(call: &Call, expected: Option<bool>) -> Result<(), Status> {
    match (expected, call.compressed()) {
        (Some(true), false) => Err(Status::invalid_argument(
            "the message was to be compressed and is not",
        )),
        _ => Ok(()),
    }
}

/// Compresses the messages from here on, or does not.
fn compress(call: &Call, asked: Option<bool>) -> Result<(), Status> {
    let Some(asked) = asked else { return Ok(()) };
    if call.encoding() == Encoding::Identity {
        // Fails when a response that began without compression is to go on with it.
        call.set_encoding(Encoding::Gzip)?;
    }
    call.compress(match asked {
        true => Compression::On,
        false => Compression::Off,
    });
    Ok(())
}

fn checked_payload(size: i32) -> Result<interop::proto::Payload, Status> {
    payload(size).ok_or_else(|| Status::invalid_argument(format!("a payload of {size} bytes")))
}
