//! The command line: one file for each subcommand.
//!
//! In: arguments and `STREAMWAY_*` variables. Out: an exit code; data on stdout, everything else on stderr. Not here:
//! what the commands are made of.
//!
//! | exit code | when |
//! |---|---|
//! | 0 | done; also when whoever read stdout wanted no more |
//! | 1 | it could not be done: a file, an address, a drain that had to cut calls, a service that does not serve |
//! | 2 | the arguments make no sense |
//! | 64 + code | a call ended with this gRPC code |
//! | 130, 143 | SIGINT, SIGTERM; for the servers only the second one, which ends them at once |

mod address;
mod failure;
mod gateway;
mod health;
mod orders;
mod output;
mod progress;
mod serve;
mod signals;
mod sum;
mod tls;
mod upload;
mod values;

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

use self::failure::Failure;
use self::signals::Signals;

/// What is logged unless told otherwise. h2 warns of what a peer does wrong, as often as it does.
const DEFAULT_LOG: &str = "info,h2=error";

/// Streams orders out, images in and numbers both ways, over gRPC.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// What is logged to stderr: error, warn, info, debug, trace or off, for all or for some: info,streamway=debug
    #[arg(
        long,
        env = "STREAMWAY_LOG",
        default_value = DEFAULT_LOG,
        value_name = "FILTER",
        value_parser = log_filter,
        global = true,
        display_order = 100
    )]
    log: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Gateway(gateway::Gateway),
    Orders(orders::Orders),
    Upload(upload::Upload),
    Sum(sum::Sum),
    Health(health::Health),
}

/// What a command comes to.
type Outcome = Result<ExitCode, Failure>;

/// Runs the command that `args` name, the program's own name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version too. That nobody reads them is no error.
            let _ = told.print();
            return u8::try_from(told.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    log(&cli.log);
    cli.command.run().unwrap_or_else(|failure| failure.report())
}

impl Command {
    fn run(self) -> Outcome {
        match self {
            Self::Serve(command) => on_runtime(command.run()),
            Self::Gateway(command) => on_runtime(command.run()),
            Self::Orders(command) => on_runtime(command.run()),
            Self::Upload(command) => on_runtime(until_signal(command.run())),
            Self::Sum(command) => on_runtime(until_signal(command.run())),
            Self::Health(command) => on_runtime(until_signal(command.run())),
        }
    }
}

/// Threads for blocking work: files and stdout. 4: more would only wait for the same disk.
const MAX_BLOCKING_THREADS: usize = 4;

/// Runs a command on this thread.
fn on_runtime(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(command);
    // A write to a stdout that nobody reads may never end.
    runtime.shutdown_background();
    outcome
}

/// Ends a command at the first signal. Its call is cancelled.
async fn until_signal(command: impl Future<Output = Outcome>) -> Outcome {
    let mut signals = Signals::listen()?;
    tokio::select! {
        biased;
        stop = signals.next() => Err(Failure::Stopped(stop, None)),
        outcome = command => outcome,
    }
}

fn log_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

fn log(filter: &str) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(false)
        // It would print to stderr, when stderr is what fails.
        .log_internal_errors(false);
    // Fails when something else logs already: then that does.
    let _ = logs.try_init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable_and_says_its_default() {
        let cli = Cli::command();
        let commands = cli.get_subcommands().chain([&cli]);
        for command in commands {
            for flag in command.get_opts() {
                let name = flag.get_id().as_str();
                if matches!(name, "help" | "version") {
                    continue;
                }
                let variable = flag.get_env().unwrap_or_default().to_string_lossy();
                let of_all = format!("STREAMWAY_{}", name.to_uppercase());
                let own = of_all.replacen('_', &format!("_{}_", command.get_name()), 1);
                assert!(
                    variable == of_all || variable == own.to_uppercase(),
                    "{name}"
                );
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                let told = !flag.get_default_values().is_empty() || help.contains("default: ");
                assert!(
                    told,
                    "{} --{name} has no default in its help",
                    command.get_name()
                );
            }
        }
    }
    /// A user who sets a variable for one side must not change the other by it.
    #[test]
    fn no_variable_is_read_by_the_server_and_by_its_clients() {
        let cli = Cli::command();
        let variables = |name: &str| {
            let command = cli.find_subcommand(name).expect("there is one");
            let flags = command.get_opts().filter_map(|flag| flag.get_env());
            flags.map(OsString::from).collect::<Vec<_>>()
        };
        let server = variables("serve");
        for client in ["orders", "upload", "sum", "health"] {
            for variable in variables(client) {
                assert!(!server.contains(&variable), "{client}: {variable:?}");
            }
        }
    }
}
