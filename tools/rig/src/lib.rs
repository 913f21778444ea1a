//! What tests and tools need to run real programs: directories, ports, processes ([`program`],
//! [`redis`]), networks ([`namespaces`]) and requests ([`http`]).
//!
//! Owns that nothing is left behind: a process is killed and a directory removed when its value is
//! dropped. It uses no code of the server.

mod directory;
pub mod http;
mod installed;
pub mod namespaces;
mod ports;
mod process;
pub mod program;
pub mod redis;

pub use directory::Directory;
pub use installed::needs;
pub use ports::free_ports;
pub use process::Process;
pub use program::Program;

use std::time::Duration;

/// How long anything may take that is to happen soon.
pub const PATIENCE: Duration = Duration::from_secs(30);
