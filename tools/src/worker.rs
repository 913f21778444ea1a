//! A process of subscribers, which reads commands on standard input and reports on standard output.
//!
//! Owns what each subscriber has received. It never publishes, and decides nothing: the conductor
//! does.

mod client;
mod crowd;
mod protocol;

pub use crowd::run;
pub use protocol::{Command, Config, Event, Kind, Returns, Snapshot};
