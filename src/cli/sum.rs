//! `streamway sum`: sends numbers one by one, each after the answer to the one before.
//!
//! In: numbers. Out: a line of JSON for each message of the server.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Outcome;
use super::address::Server;
use super::failure::Failure;
use super::output::Output;
use crate::client::Responses;
use crate::codec::MessageLimits;
use crate::proto::StreamSumData;
use crate::proto::stream_service::StreamServiceClient;
use crate::status::Status;

/// Add numbers up, in lock-step with the server
#[derive(Args, Debug)]
pub(super) struct Sum {
    #[command(flatten)]
    server: Server,

    /// The numbers to add, -2147483648 to 2147483647
    #[arg(required = true, value_name = "NUMBER", allow_negative_numbers = true)]
    numbers: Vec<i32>,
}

#[derive(Serialize)]
struct Line {
    number: i32,
    sum: i64,
    total: i64,
}

impl Sum {
    pub(super) async fn run(self) -> Outcome {
        let channel = self.server.channel(MessageLimits::default())?;
        let service = StreamServiceClient::new(channel);
        let mut output = Output::stdout()?;
        let (mut tx, mut rx) = service.sum_data().start().await?.split();
        print(&mut output, answer(&mut rx).await?).await?;
        for number in self.numbers {
            let message = StreamSumData {
                number,
                ..StreamSumData::default()
            };
            if let Err(error) = tx.send(&message).await {
                // The call has ended; the receiving half knows how.
                while rx.message().await?.is_some() {}
                return Err(error.into());
            }
            print(&mut output, answer(&mut rx).await?).await?;
        }
        tx.finish();
        while let Some(more) = rx.message().await? {
            print(&mut output, more).await?;
        }
        output.finish().await?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn answer(rx: &mut Responses<StreamSumData>) -> Result<StreamSumData, Status> {
    let answer = rx.message().await?;
    answer.ok_or_else(|| Status::internal("the server ended before the numbers did"))
}

async fn print(output: &mut Output, answer: StreamSumData) -> Result<(), Failure> {
    let line = Line {
        number: answer.number,
        sum: answer.sum,
        total: answer.total,
    };
    let mut text = serde_json::to_vec(&line).expect("numbers have a JSON form");
    text.push(b'\n');
    output.start(text);
    output.ready().await
}
