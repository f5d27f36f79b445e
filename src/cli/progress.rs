//! Progress of an export on a terminal.
//!
//! In: rows and bytes so far. Out: a line on stderr that changes, when someone can see it and no data is between.

use std::fmt::Write;
use std::io;
use std::io::IsTerminal;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};

use super::failure::say;

/// A line of progress, or nothing.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    bytes: u64,
}

/// Where the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Stdout,
    File,
}

impl Progress {
    pub(super) fn new(data: Data) -> Self {
        // Not in between the data itself.
        let visible = data == Data::File || !io::stdout().is_terminal();
        let bar = match visible && io::stderr().is_terminal() {
            true => ProgressBar::no_length(),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template(TEMPLATE).expect("a legal template");
        bar.set_style(style.with_key("rate", rate));
        Self { bar, bytes: 0 }
    }

    /// `rows` so far, and `bytes` more than before.
    pub(super) fn advance(&mut self, rows: u64, bytes: usize) {
        self.bytes += bytes as u64;
        self.bar.set_position(rows);
        self.bar.set_message(HumanBytes(self.bytes).to_string());
    }

    /// Leaves the line as it is.
    pub(super) fn finish(&self) {
        self.bar.abandon();
        if !self.bar.is_hidden() {
            say("");
        }
    }
}

const TEMPLATE: &str = "{human_pos} orders, {rate}, {msg}, {elapsed}";

fn rate(state: &ProgressState, text: &mut dyn Write) {
    let rate = HumanCount(state.per_sec() as u64);
    // Fails only when the line does.
    let _ = write!(text, "{rate} a second");
}
