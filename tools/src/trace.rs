//! Watching a server with another program while it is measured: its system calls, what it does from
//! moment to moment, its instructions. All of them make it slower, the last by far.

mod callgrind;
mod perf;
mod strace;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use callgrind::Callgrind;
use perf::Perf;
use strace::Strace;

/// How a server is to be watched.
pub enum Watch<'a> {
    /// Its system calls are counted.
    Syscalls,
    /// What it does is sampled into a file for perf.
    Samples(&'a Path),
    /// It runs under callgrind, and its instructions are counted into a file.
    Instructions(&'a Path),
}

/// A program that watches.
pub struct Trace(Watcher);

enum Watcher {
    Syscalls(Strace),
    Samples(Perf),
    Instructions(Callgrind),
}

impl Watch<'_> {
    /// The words before the server's command.
    pub fn prefix(&self) -> Vec<String> {
        match self {
            Watch::Instructions(file) => callgrind::prefix(file),
            Watch::Syscalls | Watch::Samples(_) => Vec::new(),
        }
    }

    /// Begins to watch the processes of a server, the first of them started with the prefix.
    pub fn start(&self, processes: &[u32]) -> Result<Trace, String> {
        let process = *processes
            .first()
            .ok_or("only a server that was started is watched")?;
        Ok(Trace(match self {
            Watch::Syscalls => Watcher::Syscalls(Strace::start(processes)?),
            Watch::Samples(file) => Watcher::Samples(Perf::start(processes, file)?),
            Watch::Instructions(file) => Watcher::Instructions(Callgrind::start(process, file)?),
        }))
    }
}

impl Trace {
    /// Ends it; system calls by name if they were counted.
    pub fn finish(self) -> Result<BTreeMap<String, u64>, String> {
        match self.0 {
            Watcher::Syscalls(strace) => return strace.finish(),
            Watcher::Samples(perf) => perf.finish()?,
            Watcher::Instructions(callgrind) => callgrind.finish()?,
        }
        Ok(BTreeMap::new())
    }
}

fn missing(program: &str, package: &str, error: &io::Error) -> String {
    format!("{program} cannot be run: {error}; on Debian: apt-get install {package}")
}
