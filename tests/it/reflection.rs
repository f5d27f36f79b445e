//! Server reflection, asked in both of its versions.

use std::time::Duration;

use prost::Message;
use prost_types::FileDescriptorProto;
use streamway::Server;
use streamway::client::Exchange;
use streamway::health;
use streamway::reflection::Reflection;
use streamway::reflection::proto::v1::server_reflection::ServerReflectionClient;
use streamway::reflection::proto::v1::server_reflection_request::MessageRequest;
use streamway::reflection::proto::v1::server_reflection_response::MessageResponse;
use streamway::reflection::proto::v1::{ServerReflectionRequest, ServerReflectionResponse};
use streamway::reflection::proto::v1alpha;
use tokio::time::timeout;

use crate::support::{Fixture, Served, channel_to};

type Stream = Exchange<ServerReflectionRequest, ServerReflectionResponse>;

/// A stream of each version.
async fn streams() -> (Served, [Stream; 2]) {
    let reflection = Reflection::new([health::proto::FILE_DESCRIPTOR_SET]).expect("descriptors");
    let server = Server::new().add_service(reflection.service());
    let (served, channel) = channel_to(server, Fixture::default()).await;
    let newer = ServerReflectionClient::new(channel.clone());
    let older = v1alpha::server_reflection::ServerReflectionClient::new(channel);
    let newer = newer.server_reflection_info().start().await;
    let older = older.server_reflection_info().start().await;
    (served, [newer.expect("served"), older.expect("served")])
}

fn request(question: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest {
        host: "here".to_owned(),
        message_request: Some(question),
    }
}

#[tokio::test]
async fn both_versions_answer_each_request_in_order_and_end_with_the_client() {
    let questions = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("no.Such".to_owned()),
        MessageRequest::FileContainingSymbol("grpc.health.v1.Health.Watch".to_owned()),
        MessageRequest::AllExtensionNumbersOfType("grpc.health.v1.HealthListRequest".to_owned()),
    ];
    let (_served, streams) = streams().await;
    for stream in streams {
        let (mut tx, mut rx) = stream.split();
        for question in questions.clone() {
            tx.send(&request(question)).await.unwrap();
        }
        tx.finish();
        let mut answers = Vec::new();
        while let Some(answer) = timeout(Duration::from_secs(30), rx.message())
            .await
            .expect("in time")
            .unwrap()
        {
            assert_eq!(answer.valid_host, "here");
            let asked = answer.original_request.unwrap();
            assert_eq!(asked, request(questions[answers.len()].clone()));
            answers.push(answer.message_response.unwrap());
        }
        let [
            MessageResponse::ListServicesResponse(services),
            MessageResponse::ErrorResponse(error),
            MessageResponse::FileDescriptorResponse(files),
            MessageResponse::AllExtensionNumbersResponse(extensions),
        ] = answers.as_slice()
        else {
            panic!("other answers: {answers:?}");
        };
        let names: Vec<_> = services
            .service
            .iter()
            .map(|service| &service.name)
            .collect();
        assert_eq!(
            names,
            [
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
            ]
        );
        assert_eq!(error.error_code, 5);
        let file = FileDescriptorProto::decode(files.file_descriptor_proto[0].clone()).unwrap();
        assert_eq!(file.name(), "grpc/health/v1/health.proto");
        assert!(file.source_code_info.is_some(), "the comments are there");
        assert!(extensions.extension_number.is_empty());
    }
}
