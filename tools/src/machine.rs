//! The machine that a run was measured on.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The machine, as far as results depend on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// The number of processors.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The congestion control that sockets have unless they ask for another.
    pub congestion_control: String,
    /// The time this was read.
    pub at: String,
    /// Processes that ran or wanted to, on average over the last minute.
    pub load: String,
}

impl Machine {
    /// This one, now.
    pub fn read() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let processor = model.unwrap_or_default().trim_matches([' ', '\t', ':']);
        Machine {
            processor: processor.into(),
            // Not those that this process may use: it may be pinned.
            cpus: info
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control")
                .trim()
                .into(),
            at: httpdate::fmt_http_date(SystemTime::now()),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .into(),
        }
    }

    /// In one line, without the load.
    pub fn line(&self) -> String {
        format!(
            "{}, {} CPUs, Linux {}, TCP {}, loopback",
            self.processor, self.cpus, self.kernel, self.congestion_control
        )
    }
}

/// The command line of this program, without the path to it.
pub fn command_line() -> String {
    let mut words: Vec<String> = std::env::args().collect();
    if let Some(program) = words.first_mut() {
        let name = Path::new(program).file_name();
        *program = name.unwrap_or_default().to_string_lossy().into_owned();
    }
    words.join(" ")
}
