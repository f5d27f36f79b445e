//! Health checking, as a load balancer sees it.

use std::future::Future;
use std::time::Duration;

use streamway::client::Responses;
use streamway::health::proto::health::HealthClient;
use streamway::health::proto::{HealthCheckRequest, HealthCheckResponse, HealthListRequest};
use streamway::health::{Health, MAX_LISTED_SERVICES, ServingStatus};
use streamway::{Code, Server};
use tokio::time::timeout;

use crate::support::{Fixture, Served, channel_to};

async fn serve() -> (Served, Health, HealthClient) {
    let health = Health::new();
    let server = Server::new()
        .drain_timeout(Duration::from_secs(1_000_000))
        .add_service(health.service());
    let (served, channel) = channel_to(server, Fixture::default()).await;
    (served, health, HealthClient::new(channel))
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), event)
        .await
        .expect("in time")
}

async fn check(client: &HealthClient, service: &str) -> Result<ServingStatus, Code> {
    let answer = client.check(about(service)).send().await;
    answer
        .map(|answer| answer.status())
        .map_err(|status| status.code())
}

/// The next status that a watcher is told.
async fn next(watch: &mut Responses<HealthCheckResponse>) -> ServingStatus {
    let told = soon(watch.message()).await.expect("still open");
    told.expect("still open").status()
}

#[tokio::test]
async fn check_tells_the_status_of_the_server_and_of_known_services() {
    let (_served, health, client) = serve().await;
    health.set("a.A", ServingStatus::NotServing);
    assert_eq!(check(&client, "").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&client, "a.A").await, Ok(ServingStatus::NotServing));
    assert_eq!(check(&client, "a.B").await, Err(Code::NotFound));
    health.set("a.A", ServingStatus::ServiceUnknown);
    assert_eq!(check(&client, "a.A").await, Err(Code::NotFound));
    health.shutdown();
    assert_eq!(check(&client, "").await, Ok(ServingStatus::NotServing));
}

#[tokio::test]
async fn list_tells_all_of_them_up_to_its_limit() {
    let (_served, health, client) = serve().await;
    for n in 1..MAX_LISTED_SERVICES {
        health.set(format!("a.A{n}"), ServingStatus::NotServing);
    }
    let list = client.list(HealthListRequest {}).send().await.unwrap();
    assert_eq!(list.statuses.len(), MAX_LISTED_SERVICES);
    assert_eq!(list.statuses[""].status(), ServingStatus::Serving);
    assert_eq!(list.statuses["a.A1"].status(), ServingStatus::NotServing);
    health.set("one.Too.Many", ServingStatus::Serving);
    let status = client.list(HealthListRequest {}).send().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn watch_tells_at_once_and_then_each_change_also_of_a_service_that_is_not_known_yet() {
    let (_served, health, client) = serve().await;
    let mut watch = client.watch(about("a.A")).start().await.unwrap();
    assert_eq!(next(&mut watch).await, ServingStatus::ServiceUnknown);
    health.set("a.A", ServingStatus::Serving);
    assert_eq!(next(&mut watch).await, ServingStatus::Serving);
    // None of these is a change of it.
    health.set("a.A", ServingStatus::Serving);
    health.set("a.B", ServingStatus::Serving);
    health.set("", ServingStatus::NotServing);
    assert_eq!(check(&client, "").await, Ok(ServingStatus::NotServing));
    health.set("a.A", ServingStatus::NotServing);
    assert_eq!(next(&mut watch).await, ServingStatus::NotServing);
    health.set("a.A", ServingStatus::ServiceUnknown);
    assert_eq!(next(&mut watch).await, ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn watch_tells_the_last_change_and_ends_when_the_server_drains() {
    let (served, health, client) = serve().await;
    let mut watch = client.watch(about("")).start().await.unwrap();
    assert_eq!(next(&mut watch).await, ServingStatus::Serving);
    health.shutdown();
    served.stop();
    assert_eq!(next(&mut watch).await, ServingStatus::NotServing);
    let status = soon(watch.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    // The drain limit is far away: the server ends because no call is left.
    soon(served.ended()).await;
}
