//! A process of subscribers, told what to do on standard input, answering on standard output.
//!
//! Owns its sockets and what each subscriber has received. It never publishes and decides nothing:
//! the conductor does.

mod client;
mod crowd;
mod protocol;

pub use crowd::run;
pub use protocol::{Command, Config, Event, Kind, Returns, Snapshot};
