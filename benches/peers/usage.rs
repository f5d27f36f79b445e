//! What a client that is measured says of itself, as one line of JSON.

use std::fs;
use std::time::Instant;

/// `sysconf(_SC_CLK_TCK)` is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Wall and CPU time since it was made.
pub(crate) struct Usage {
    started: Instant,
    cpu_s: f64,
}

impl Usage {
    /// Starts counting.
    pub(crate) fn start() -> Self {
        Self {
            cpu_s: cpu_s(),
            started: Instant::now(),
        }
    }

    /// Prints what was used for `messages`, and the latencies when there are any.
    #[expect(clippy::print_stdout, reason = "the result of the program")]
    pub(crate) fn report(&self, messages: u64, mut latencies_ns: Vec<u64>) {
        let (wall, cpu) = (self.started.elapsed().as_secs_f64(), cpu_s() - self.cpu_s);
        latencies_ns.sort_unstable();
        let at = |percent: usize| {
            let index = latencies_ns.len().saturating_sub(1) * percent / 100;
            latencies_ns
                .get(index)
                .map_or(0.0, |&ns| ns as f64 / 1000.0)
        };
        println!(
            r#"{{"messages":{messages},"wall_s":{wall:.6},"cpu_s":{cpu:.2},"p50_us":{:.1},"p99_us":{:.1}}}"#,
            at(50),
            at(99),
        );
    }
}

/// User and system time of this process.
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name of the program may have blanks; it ends with the last parenthesis.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    ticks as f64 / TICKS_PER_SECOND
}
