//! `streamway orders`: exports orders to stdout or a file.
//!
//! In: which orders, and how to write them. Out: their text, as it arrives. Not here: the text (`export`), the writing
//! (`output`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::Outcome;
use super::address::Server;
use super::failure::Failure;
use super::output::Output;
use super::progress::{Data, Progress};
use super::signals::Signals;
use super::values::{MessageBytes, Timeout};
use crate::codec::MessageLimits;
use crate::export::{Export, Format};
use crate::proto::OrderSearchParams;
use crate::proto::stream_service::StreamServiceClient;

/// Export orders, one a line
#[derive(Args, Debug)]
pub(super) struct Orders {
    #[command(flatten)]
    server: Server,

    /// Only orders with a greater id: the way to go on with an export that was cut [default: from the first]
    #[arg(
        long,
        env = "STREAMWAY_AFTER_ID",
        value_name = "N",
        allow_negative_numbers = true
    )]
    after_id: Option<i32>,

    /// At most this many orders; 0 for all
    #[arg(long, env = "STREAMWAY_LIMIT", default_value_t = 0, value_name = "N")]
    limit: u32,

    /// How the orders are written
    #[arg(long, env = "STREAMWAY_FORMAT", value_enum, default_value_t = Format::Ndjson)]
    format: Format,

    /// The file to write, - for stdout. It appears when it is complete; until then an older one stays [default: stdout]
    #[arg(long, env = "STREAMWAY_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,

    /// Largest message received, in bytes, or with a unit: 16, 4MiB, unlimited
    #[arg(
        long,
        env = "STREAMWAY_ORDERS_MAX_RECV_MESSAGE_BYTES",
        default_value_t = MessageBytes::DEFAULT_RECV,
        value_name = "BYTES"
    )]
    max_recv_message_bytes: MessageBytes,

    /// How long the whole export may take, such as 30s or 5m; off for no limit
    #[arg(long, env = "STREAMWAY_TIMEOUT", default_value_t = TIMEOUT, value_name = "DURATION")]
    timeout: Timeout,
}

/// A server that hangs is not waited for without end.
const TIMEOUT: Timeout = Timeout::new(Duration::from_secs(30));

impl Orders {
    pub(super) async fn run(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let mut output = Output::open(self.file())?;
        let data = match self.file() {
            Some(_) => Data::File,
            None => Data::Stdout,
        };
        let mut export = tokio::select! {
            biased;
            stop = signals.next() => return Err(Failure::Stopped(stop, None)),
            export = self.start() => export?,
        };
        let mut progress = Progress::new(data);
        let exported = tokio::select! {
            biased;
            stop = signals.next() => Err(Failure::Stopped(stop, None)),
            exported = transfer(&mut export, &mut output, &mut progress) => exported,
        };
        let received = export.received();
        let last_id = export.last_id();
        // Cancels the call, if it has not ended.
        drop(export);
        // What was received is written, however the call ended. A second signal does not wait for a stdout that nobody
        // reads.
        let written = tokio::select! {
            biased;
            stop = signals.next() => Err(Failure::Stopped(stop, None)),
            written = output.ready() => written,
        };
        progress.finish();
        match (exported, written) {
            (Ok(()), Ok(())) => output.finish().await.map(|()| ExitCode::SUCCESS),
            (Err(failure), Ok(())) => Err(failure.hint(self.hint(received, last_id))),
            (_, Err(failure)) => Err(failure),
        }
    }

    /// The file to write; none for stdout.
    fn file(&self) -> Option<&Path> {
        self.output
            .as_deref()
            .filter(|path| *path != Path::new("-"))
    }

    async fn start(&self) -> Result<Export, Failure> {
        let limits = MessageLimits::default().recv(self.max_recv_message_bytes.get());
        let service = StreamServiceClient::new(self.server.channel(limits)?);
        let search = OrderSearchParams {
            after_id: self.after_id,
            limit: self.limit,
            ..OrderSearchParams::default()
        };
        let mut request = service.order_list(search);
        if let Some(timeout) = self.timeout.get() {
            request = request.timeout(timeout);
        }
        Ok(Export::new(request.start().await?, self.format))
    }

    /// What can be done after a failure.
    fn hint(&self, received: u64, last_id: Option<i32>) -> Option<String> {
        if let Some(path) = self.file() {
            return Some(format!("{} was not written", path.display()));
        }
        let mut hint = format!(
            "{received} orders were received; go on with --after-id {}",
            last_id?
        );
        if self.limit > 0 {
            let left = u64::from(self.limit).saturating_sub(received);
            if left == 0 {
                // `--limit 0` would mean all.
                return Some(format!("all {received} orders asked for were received"));
            }
            hint.push_str(&format!(" --limit {left}"));
        }
        Some(hint)
    }
}

/// Writes what arrives, the next piece while the one before is on its way out.
///
/// # Cancel safety
/// Dropping the future loses nothing that was received.
async fn transfer(
    export: &mut Export,
    output: &mut Output,
    progress: &mut Progress,
) -> Result<(), Failure> {
    loop {
        output.ready().await?;
        let Some(text) = export.next().await? else {
            return Ok(());
        };
        progress.advance(export.received(), text.len());
        output.start(text);
    }
}
