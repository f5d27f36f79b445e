//! `streamway health`: whether a server, or one of its services, serves. For people and for probes.
//!
//! In: a service's name or none. Out: its status in one word; exit code 0 only for SERVING.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::Outcome;
use super::address::Server;
use super::failure::Failure;
use super::output::Output;
use crate::codec::MessageLimits;
use crate::health::ServingStatus;
use crate::health::proto::HealthCheckRequest;
use crate::health::proto::health::HealthClient;

/// How long a check may take. 5 s: a server that answers later is not well.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Ask whether the server serves; exit code 0 only when it does
#[derive(Args, Debug)]
pub(super) struct Health {
    #[command(flatten)]
    server: Server,

    /// A service by its full name, such as proto.StreamService [default: the whole server]
    #[arg(default_value = "", hide_default_value = true)]
    service: String,
}

impl Health {
    pub(super) async fn run(self) -> Outcome {
        let channel = self.server.channel(MessageLimits::default())?;
        let request = HealthCheckRequest {
            service: self.service,
        };
        let check = HealthClient::new(channel).check(request);
        let status = check.timeout(CHECK_TIMEOUT).send().await?.status();
        let mut output = Output::stdout()?;
        output.start(format!("{}\n", status.as_str_name()).into_bytes());
        match output.finish().await {
            // The exit code says it too.
            Ok(()) | Err(Failure::ClosedPipe) => {}
            Err(failure) => return Err(failure),
        }
        Ok(match status {
            ServingStatus::Serving => ExitCode::SUCCESS,
            ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
                ExitCode::FAILURE
            }
        })
    }
}
