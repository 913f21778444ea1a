//! Samples of what processes do, with their stacks, taken by `perf record`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use encke_test_rig::Process;

use super::missing;

/// Samples a second: not a divisor of anything that happens every so many milliseconds.
const FREQUENCY: &str = "1997";

/// A perf at work, and what it is led by: closed before its end, it would leave half a file.
pub(super) struct Perf {
    perf: Process,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Perf {
    /// Begins to sample into a file; returns once all processes are.
    pub(super) fn start(processes: &[u32], file: &Path) -> Result<Perf, String> {
        let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
        let mut command = Command::new("perf");
        command
            .args(["record", "--quiet", "-F", FREQUENCY, "--call-graph", "fp"])
            .args(["--control", "fd:0,1", "-p", &processes.join(",")])
            .arg("-o")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut perf =
            Process::start(&mut command).map_err(|error| missing("perf", "linux-perf", &error))?;
        let child = perf.child();
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut this = Perf {
            perf,
            orders,
            answers: BufReader::new(answers),
        };
        // It answers once it has begun.
        this.order("ping\n")?;
        Ok(this)
    }

    /// Ends the recording; after that the file is complete.
    pub(super) fn finish(mut self) -> Result<(), String> {
        self.order("stop\n")?;
        match self.perf.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("perf: {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn order(&mut self, order: &str) -> Result<(), String> {
        let mut answer = Vec::new();
        let length = self
            .orders
            .write_all(order.as_bytes())
            .and_then(|()| self.answers.read_until(b'\n', &mut answer));
        match length {
            Ok(length) if length > 0 => Ok(()),
            _ => Err("perf does not answer; see its complaint above".into()),
        }
    }
}
