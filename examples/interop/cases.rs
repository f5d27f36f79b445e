//! The cases of the interop tests, as interop-test-descriptions.md has them: calls, and what has to come of them.

use std::error::Error;
use std::time::{Duration, Instant};

use streamway::call::Compression;
use streamway::client::{AddressError, Responses, Upload};
use streamway::{Channel, Code, Encoding, Metadata, Method, MethodKind, Status};
use tokio::time::timeout;

use super::interop::proto::test_service::TestServiceClient;
use super::interop::proto::{
    EchoStatus, Empty, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};
use super::interop::{ECHO_INITIAL, ECHO_TRAILING, payload};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Fails the case, saying why, unless this holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+).into());
        }
    };
}

const UNIMPLEMENTED_METHOD: Method = Method::new(
    "/grpc.testing.TestService/UnimplementedCall",
    MethodKind::Unary,
);
const UNIMPLEMENTED_SERVICE: Method = Method::new(
    "/grpc.testing.UnimplementedService/UnimplementedCall",
    MethodKind::Unary,
);

const LARGE_REQUEST: i32 = 271_828;
const LARGE_RESPONSE: i32 = 314_159;
const REQUESTS: [i32; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSES: [i32; 4] = [31_415, 9, 2_653, 58_979];

/// How often a soak calls, and how long one call may take.
const SOAK_CALLS: u32 = 10;
const SOAK_LATENCY: Duration = Duration::from_secs(1);

/// No case takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the case of this name.
pub(crate) async fn run(
    case: &str,
    connect: &impl Fn() -> Result<Channel, AddressError>,
) -> Outcome {
    timeout(TIMEOUT, dispatch(case, connect)).await?
}

async fn dispatch(case: &str, connect: &impl Fn() -> Result<Channel, AddressError>) -> Outcome {
    let channel = connect()?;
    let client = TestServiceClient::new(channel.clone());
    match case {
        "empty_unary" => empty_unary(&client).await,
        "large_unary" => large_unary(&client).await,
        "client_streaming" => client_streaming(&client).await,
        "server_streaming" => server_streaming(&client).await,
        "ping_pong" => ping_pong(&client).await,
        "empty_stream" => empty_stream(&client).await,
        "timeout_on_sleeping_server" => timeout_on_sleeping_server(&client).await,
        "cancel_after_begin" => cancel_after_begin(&client).await,
        "cancel_after_first_response" => cancel_after_first_response(&client).await,
        "status_code_and_message" => status_code_and_message(&client).await,
        "special_status_message" => special_status_message(&client).await,
        "custom_metadata" => custom_metadata(&client).await,
        "unimplemented_method" => unimplemented(&channel, UNIMPLEMENTED_METHOD).await,
        "unimplemented_service" => unimplemented(&channel, UNIMPLEMENTED_SERVICE).await,
        "pick_first_unary" => pick_first_unary(&client).await,
        "rpc_soak" => soak(|| Ok(client.clone())).await,
        "channel_soak" => soak(|| Ok(TestServiceClient::new(connect()?))).await,
        "client_compressed_unary" => client_compressed_unary(&client).await,
        "server_compressed_unary" => server_compressed_unary(&client).await,
        "client_compressed_streaming" => client_compressed_streaming(&client).await,
        "server_compressed_streaming" => server_compressed_streaming(&client).await,
        other => Err(format!("no case {other}").into()),
    }
}

async fn empty_unary(client: &TestServiceClient) -> Outcome {
    client.empty_call(Empty {}).send().await?;
    Ok(())
}

async fn large_unary(client: &TestServiceClient) -> Outcome {
    let request = unary_request(LARGE_REQUEST, LARGE_RESPONSE);
    check_unary(&client.unary_call(request).send().await?, LARGE_RESPONSE)
}

async fn client_streaming(client: &TestServiceClient) -> Outcome {
    let mut upload = client.streaming_input_call().start().await?;
    for size in REQUESTS {
        upload.send(&input(size, None)).await?;
    }
    check_sum(upload, REQUESTS.iter().sum()).await
}

async fn server_streaming(client: &TestServiceClient) -> Outcome {
    let request = StreamingOutputCallRequest {
        response_parameters: RESPONSES.map(parameters).to_vec(),
        ..StreamingOutputCallRequest::default()
    };
    let mut responses = client.streaming_output_call(request).start().await?;
    for size in RESPONSES {
        check_next(&mut responses, size).await?;
    }
    check_end(&mut responses).await
}

async fn ping_pong(client: &TestServiceClient) -> Outcome {
    let (mut requests, mut responses) = client.full_duplex_call().start().await?.split();
    for (there, back) in REQUESTS.into_iter().zip(RESPONSES) {
        requests.send(&output(there, back)).await?;
        check_next(&mut responses, back).await?;
    }
    requests.finish();
    check_end(&mut responses).await
}

async fn empty_stream(client: &TestServiceClient) -> Outcome {
    let exchange = client.full_duplex_call().start().await?;
    check_end(&mut exchange.finish()).await
}

async fn timeout_on_sleeping_server(client: &TestServiceClient) -> Outcome {
    let request = client.full_duplex_call().timeout(Duration::from_millis(1));
    let ended = async {
        let mut exchange = request.start().await?;
        // The call may be over already; why, the response says.
        let _ = exchange.send(&output(27_182, 31_415)).await;
        // What the server was quick enough to send does not count: the call must not end by itself.
        while exchange.message().await?.is_some() {}
        Ok(())
    };
    check_code(ended.await, Code::DeadlineExceeded)
}

async fn cancel_after_begin(client: &TestServiceClient) -> Outcome {
    let mut metadata = Metadata::new();
    metadata.append("key1", "value1")?;
    metadata.append("key2", "value2")?;
    let upload = client.streaming_input_call().metadata(metadata);
    let (requests, mut responses) = upload.start().await?.split();
    drop(requests);
    check_code(responses.only().await, Code::Cancelled)
}

async fn cancel_after_first_response(client: &TestServiceClient) -> Outcome {
    let (mut requests, mut responses) = client.full_duplex_call().start().await?.split();
    requests.send(&output(27_182, 31_415)).await?;
    check_next(&mut responses, 31_415).await?;
    drop(requests);
    check_code(responses.message().await, Code::Cancelled)
}

async fn status_code_and_message(client: &TestServiceClient) -> Outcome {
    let asked = EchoStatus {
        code: Code::Unknown.number().into(),
        message: "test status message".to_owned(),
    };
    let request = SimpleRequest {
        response_status: Some(asked.clone()),
        ..SimpleRequest::default()
    };
    check_status(client.unary_call(request).send().await, &asked)?;
    let mut exchange = client.full_duplex_call().start().await?;
    let request = StreamingOutputCallRequest {
        response_status: Some(asked.clone()),
        ..StreamingOutputCallRequest::default()
    };
    exchange.send(&request).await?;
    check_status(exchange.finish().message().await, &asked)
}

async fn special_status_message(client: &TestServiceClient) -> Outcome {
    let asked = EchoStatus {
        code: Code::Unknown.number().into(),
        message: "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n".to_owned(),
    };
    let request = SimpleRequest {
        response_status: Some(asked.clone()),
        ..SimpleRequest::default()
    };
    check_status(client.unary_call(request).send().await, &asked)
}

async fn custom_metadata(client: &TestServiceClient) -> Outcome {
    const INITIAL: &str = "test_initial_metadata_value";
    const TRAILING: &[u8] = b"\x0a\x0b\x0a\x0b\x0a\x0b";
    let check = |headers: &Metadata, trailers: &Metadata| -> Outcome {
        let initial: Vec<_> = headers.get_all(ECHO_INITIAL).collect();
        ensure!(initial == [INITIAL], "in the headers: {initial:?}");
        let trailing: Vec<_> = trailers.get_all_bin(ECHO_TRAILING).collect();
        ensure!(trailing == [TRAILING], "in the trailers: {trailing:?}");
        Ok(())
    };
    let mut metadata = Metadata::new();
    metadata.append(ECHO_INITIAL, INITIAL)?;
    metadata.append_bin(ECHO_TRAILING, TRAILING)?;

    let call = client.unary_call(unary_request(1, 1));
    let response = call.metadata(metadata.clone()).response().await?;
    check_unary(&response.message, 1)?;
    check(&response.headers, &response.trailers)?;

    let exchange = client.full_duplex_call().metadata(metadata);
    let (mut requests, mut responses) = exchange.start().await?.split();
    requests.send(&output(1, 1)).await?;
    check_next(&mut responses, 1).await?;
    requests.finish();
    check_end(&mut responses).await?;
    let headers = responses.headers().await?.clone();
    check(&headers, responses.trailers())
}

async fn unimplemented(channel: &Channel, method: Method) -> Outcome {
    let answer = channel.unary::<Empty, Empty>(method, Empty {}).send().await;
    check_code(answer, Code::Unimplemented)
}

/// Every call to the same server. Not every server says which it is; then all say nothing.
async fn pick_first_unary(client: &TestServiceClient) -> Outcome {
    let mut first = None;
    for _ in 0..100 {
        let request = SimpleRequest {
            fill_server_id: true,
            ..unary_request(1, 1)
        };
        let response = client.unary_call(request).send().await?;
        check_unary(&response, 1)?;
        let first = first.get_or_insert_with(|| response.server_id.clone());
        ensure!(
            *first == response.server_id,
            "{first:?}, and then {:?}",
            response.server_id
        );
    }
    Ok(())
}

/// Large calls one after the other, each on the client that it gets.
async fn soak(client: impl Fn() -> Outcome<TestServiceClient>) -> Outcome {
    for call in 0..SOAK_CALLS {
        let started = Instant::now();
        large_unary(&client()?).await?;
        let took = started.elapsed();
        ensure!(took <= SOAK_LATENCY, "call {call} took {took:?}");
    }
    Ok(())
}

async fn client_compressed_unary(client: &TestServiceClient) -> Outcome {
    let request = |compressed| SimpleRequest {
        expect_compressed: Some(compressed),
        ..unary_request(LARGE_REQUEST, LARGE_RESPONSE)
    };
    // A server that does not look would pass the rest.
    let probe = client.unary_call(request(true)).send().await;
    check_code(probe, Code::InvalidArgument)?;
    let compressed = client.unary_call(request(true)).encoding(Encoding::Gzip);
    check_unary(&compressed.send().await?, LARGE_RESPONSE)?;
    let plain = client.unary_call(request(false));
    check_unary(&plain.send().await?, LARGE_RESPONSE)
}

async fn server_compressed_unary(client: &TestServiceClient) -> Outcome {
    for compressed in [true, false] {
        let request = SimpleRequest {
            response_compressed: Some(compressed),
            ..unary_request(LARGE_REQUEST, LARGE_RESPONSE)
        };
        let mut responses = client.unary_call(request).start().await?;
        check_unary(&responses.only().await?, LARGE_RESPONSE)?;
        check_compressed(&responses, compressed)?;
    }
    Ok(())
}

async fn client_compressed_streaming(client: &TestServiceClient) -> Outcome {
    let mut probe = client.streaming_input_call().start().await?;
    // The call may end while this is sent; why, the response says.
    let _ = probe.send(&input(27_182, Some(true))).await;
    check_code(probe.finish().await, Code::InvalidArgument)?;

    let upload = client.streaming_input_call().encoding(Encoding::Gzip);
    let mut upload = upload.start().await?;
    upload.send(&input(27_182, Some(true))).await?;
    upload.compress(Compression::Off);
    upload.send(&input(45_904, Some(false))).await?;
    check_sum(upload, 73_086).await
}

async fn server_compressed_streaming(client: &TestServiceClient) -> Outcome {
    let wanted = [(31_415, true), (92_653, false)];
    let request = StreamingOutputCallRequest {
        response_parameters: wanted
            .map(|(size, compressed)| ResponseParameters {
                compressed: Some(compressed),
                ..parameters(size)
            })
            .to_vec(),
        ..StreamingOutputCallRequest::default()
    };
    let mut responses = client.streaming_output_call(request).start().await?;
    for (size, compressed) in wanted {
        check_next(&mut responses, size).await?;
        check_compressed(&responses, compressed)?;
    }
    check_end(&mut responses).await
}

fn unary_request(there: i32, back: i32) -> SimpleRequest {
    SimpleRequest {
        response_size: back,
        payload: payload(there),
        ..SimpleRequest::default()
    }
}

fn input(size: i32, expect_compressed: Option<bool>) -> StreamingInputCallRequest {
    StreamingInputCallRequest {
        payload: payload(size),
        expect_compressed,
    }
}

fn output(there: i32, back: i32) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![parameters(back)],
        payload: payload(there),
        ..StreamingOutputCallRequest::default()
    }
}

fn parameters(size: i32) -> ResponseParameters {
    ResponseParameters {
        size,
        ..ResponseParameters::default()
    }
}

fn check_unary(response: &SimpleResponse, size: i32) -> Outcome {
    ensure!(
        response.payload == payload(size),
        "the answer is not {size} zeros"
    );
    Ok(())
}

async fn check_sum(
    upload: Upload<StreamingInputCallRequest, StreamingInputCallResponse>,
    sum: i32,
) -> Outcome {
    let counted = upload.finish().await?.aggregated_payload_size;
    ensure!(counted == sum, "{counted} bytes, not {sum}");
    Ok(())
}

async fn check_next(responses: &mut Responses<StreamingOutputCallResponse>, size: i32) -> Outcome {
    let response = responses.message().await?;
    let response = response.ok_or("an answer is missing")?;
    ensure!(
        response.payload == payload(size),
        "an answer is not {size} zeros"
    );
    Ok(())
}

async fn check_end(responses: &mut Responses<StreamingOutputCallResponse>) -> Outcome {
    let more = responses.message().await?;
    ensure!(more.is_none(), "an answer too many");
    Ok(())
}

fn check_compressed<T>(responses: &Responses<T>, compressed: bool) -> Outcome {
    ensure!(
        responses.compressed() == compressed,
        "an answer's flag is not {compressed}"
    );
    Ok(())
}

fn check_code<T>(outcome: Result<T, Status>, code: Code) -> Outcome {
    match outcome {
        Err(status) if status.code() == code => Ok(()),
        Err(status) => Err(format!("{status}, not {code:?}").into()),
        Ok(_) => Err(format!("OK, not {code:?}").into()),
    }
}

fn check_status<T>(outcome: Result<T, Status>, asked: &EchoStatus) -> Outcome {
    let Err(status) = outcome else {
        return Err("OK, not the status that was asked for".into());
    };
    ensure!(
        i32::from(status.code().number()) == asked.code && status.message() == asked.message,
        "{status}, not {asked:?}"
    );
    Ok(())
}
