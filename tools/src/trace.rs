//! Watching a server with another program while it is measured: perf samples what it does, strace
//! counts its system calls. Both make it slower, the latter by far.

mod perf;
mod strace;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use perf::Perf;
use strace::Strace;

/// A way to watch a server.
pub enum Watch<'a> {
    /// strace counts its system calls.
    Syscalls,
    /// perf samples it into a file.
    Samples(&'a Path),
}

/// A program that watches.
pub struct Trace(Watcher);

enum Watcher {
    Syscalls(Strace),
    Samples(Perf),
}

impl Watch<'_> {
    /// Begins to watch the processes of a server.
    pub fn start(&self, processes: &[u32]) -> Result<Trace, String> {
        if processes.is_empty() {
            return Err("only a server that was started is watched".into());
        }
        Ok(Trace(match self {
            Watch::Syscalls => Watcher::Syscalls(Strace::start(processes)?),
            Watch::Samples(file) => Watcher::Samples(Perf::start(processes, file)?),
        }))
    }
}

impl Trace {
    /// Ends it, and returns the system calls by name if they were counted.
    pub fn finish(self) -> Result<BTreeMap<String, u64>, String> {
        match self.0 {
            Watcher::Syscalls(strace) => strace.finish(),
            Watcher::Samples(perf) => perf.finish().map(|()| BTreeMap::new()),
        }
    }
}

fn missing(program: &str, package: &str, error: &io::Error) -> String {
    format!("{program} cannot be run: {error}; on Debian: apt-get install {package}")
}
