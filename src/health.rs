//! Health checking (grpc/doc/health-checking.md): whether the server, and each of its services, takes calls.
//!
//! In: what the program says of its services. Out: the service `grpc.health.v1.Health`. Not here: finding out how a
//! service is.
//!
//! ```
//! use streamway::health::{Health, ServingStatus};
//! use streamway::Server;
//!
//! let health = Health::new();
//! health.set("shop.Orders", ServingStatus::Serving);
//! let server = Server::new().add_service(health.service());
//! // Before the server drains, so that load balancers look elsewhere:
//! health.shutdown();
//! # drop(server);
//! ```

use std::collections::HashMap;

use tokio::sync::watch;

use self::proto::health::HealthServer;
use self::proto::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use crate::call::{Call, Sender};
use crate::status::Status;

pub use self::proto::health_check_response::ServingStatus;

/// The generated code of `grpc.health.v1`, server and client.
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));

    /// The encoded descriptors of the package.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/health.bin"));
}

/// Most services that one answer of `List` names, as health.proto says.
pub const MAX_LISTED_SERVICES: usize = 100;

/// What a server says of its health. Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    /// One for all services: who watches keeps no place here, so that unknown names cost nothing.
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    /// By full name; "" is the whole server.
    services: HashMap<String, ServingStatus>,
    shut_down: bool,
}

impl Health {
    /// The whole server serves; of single services nothing is known yet.
    pub fn new() -> Self {
        Self {
            state: watch::Sender::new(State {
                services: HashMap::from([(String::new(), ServingStatus::Serving)]),
                shut_down: false,
            }),
        }
    }

    /// Sets the status of a service by its full name, or with "" of the whole server.
    ///
    /// [`ServingStatus::ServiceUnknown`] forgets it. After [`Health::shutdown`] nothing changes any more.
    pub fn set(&self, service: impl Into<String>, status: ServingStatus) {
        let service = service.into();
        self.state.send_if_modified(|state| {
            if state.shut_down {
                return false;
            }
            let before = match status {
                ServingStatus::ServiceUnknown => state.services.remove(&service),
                _ => state.services.insert(service, status),
            };
            before.unwrap_or(ServingStatus::ServiceUnknown) != status
        });
    }

    /// Everything known is NOT_SERVING from now on, whatever is set later.
    pub fn shutdown(&self) {
        self.state.send_modify(|state| {
            state.shut_down = true;
            for status in state.services.values_mut() {
                *status = ServingStatus::NotServing;
            }
        });
    }

    /// The status of a service, or of the whole server (""); `None` when it is not known.
    pub fn status(&self, service: &str) -> Option<ServingStatus> {
        self.state.borrow().services.get(service).copied()
    }

    /// The service that answers from this, for [`Server::add_service`](crate::Server::add_service).
    pub fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl proto::health::Health for Health {
    async fn check(
        &self,
        _: &Call,
        request: HealthCheckRequest,
    ) -> Result<HealthCheckResponse, Status> {
        self.status(&request.service)
            .map(response)
            .ok_or_else(|| Status::not_found("unknown service"))
    }

    async fn list(&self, _: &Call, _: HealthListRequest) -> Result<HealthListResponse, Status> {
        let state = self.state.borrow();
        let services = state.services.len();
        if services > MAX_LISTED_SERVICES {
            return Err(Status::resource_exhausted(format!(
                "too many services to list ({services} vs. {MAX_LISTED_SERVICES})"
            )));
        }
        let statuses = state.services.iter();
        Ok(HealthListResponse {
            statuses: statuses
                .map(|(service, status)| (service.clone(), response(*status)))
                .collect(),
        })
    }

    async fn watch(
        &self,
        call: &Call,
        request: HealthCheckRequest,
        tx: &mut Sender<HealthCheckResponse>,
    ) -> Result<(), Status> {
        let mut changes = self.state.subscribe();
        let draining = call.draining();
        tokio::pin!(draining);
        let mut told = None;
        loop {
            // Whatever happened while the last message waited for the client, only the newest status counts.
            let status = changes
                .borrow_and_update()
                .services
                .get(&request.service)
                .copied()
                .unwrap_or(ServingStatus::ServiceUnknown);
            if told != Some(status) {
                tx.send(&response(status)).await?;
                told = Some(status);
            }
            tokio::select! {
                // The last change before the drain is told first.
                biased;
                changed = changes.changed() => changed.map_err(|_| ended())?,
                () = &mut draining => return Err(ended()),
            }
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// Nothing more will be heard; a client that still wants to know asks another server, or again later.
fn ended() -> Status {
    Status::unavailable("the server is draining")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_shutdown_nothing_serves_again() {
        let health = Health::new();
        health.set("a.A", ServingStatus::Serving);
        health.shutdown();
        health.set("a.A", ServingStatus::Serving);
        health.set("b.B", ServingStatus::Serving);
        assert_eq!(health.status(""), Some(ServingStatus::NotServing));
        assert_eq!(health.status("a.A"), Some(ServingStatus::NotServing));
        assert_eq!(health.status("b.B"), None);
    }

    #[test]
    fn only_a_change_is_told() {
        let health = Health::new();
        let mut changes = health.state.subscribe();
        changes.mark_unchanged();
        let mut changed = |service: &str, status| {
            health.set(service, status);
            let changed = changes.has_changed().expect("there is a handle");
            changes.mark_unchanged();
            changed
        };
        assert!(!changed("", ServingStatus::Serving));
        assert!(changed("a.A", ServingStatus::Serving));
        assert!(!changed("a.A", ServingStatus::Serving));
        assert!(changed("a.A", ServingStatus::ServiceUnknown));
        assert!(!changed("a.A", ServingStatus::ServiceUnknown));
        assert_eq!(health.status("a.A"), None);
    }
}
