//! What a client that is measured says of itself, as one line of JSON.

use std::fs;
use std::time::Instant;

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
            r#"{{"messages":{messages},"wall_s":{wall:.6},"cpu_s":{cpu:.6},"p50_us":{:.1},"p99_us":{:.1}}}"#,
            at(50),
            at(99),
        );
    }
}

/// What all threads of this process have run, to the nanosecond.
fn cpu_s() -> f64 {
    let threads = fs::read_dir("/proc/self/task").expect("Linux");
    let nanoseconds = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}
