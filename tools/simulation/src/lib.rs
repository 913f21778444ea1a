//! The whole engine in simulation: worlds in which everything that happens is decided by a seed,
//! or by the bytes of a fuzzer.
//!
//! A [`World`] has one engine, sockets that take any portions, a clock that is set, clients of
//! every transport, and a model of what the server should know. After every call of the engine what
//! arrived at the clients is written into logs and judged by `encke-oracle`: nothing lost without a
//! gap, nothing twice, nothing out of order, nothing of another channel. What only a simulation can
//! see is checked here, with findings of the same kinds: framing exact; holds, heartbeats and
//! deadlines in their time; nothing before it is due; and at the end everything given back.
//!
//! | file | owns |
//! |---|---|
//! | `world`, `ops`, `request`, `setup`, `chance` | what happens: calls of the engine, and what may come next |
//! | `policy`, `reload` | policies of channels, reloads, and what policies refuse |
//! | `token`, `rights`, `judge`, `term`, `review` | credentials, who may what, and until when |
//! | `wire`, `client`, `command`, `response` | bytes between the engine and its clients |
//! | `session`, `model`, `observe` | logs, what was published, and what is judged after each call |
//! | `lines` | requests that publish line by line |
//! | `disk`, `saving` | a log that is saved, and restarts |
//! | `checks`, `rule`, `end` | what must hold when all is settled, and at the end |
//! | `twins` | the engine, and beside it the one before it was frozen and thawed |
//! | `cluster` | nodes that share a log, in worlds of their own |
//! | `life`, `run`, `tally` | many worlds, and how often what happened in them |
//!
//! A world that breaks a rule panics. [`live`] catches that and says what led there; [`Run`] lives
//! many worlds. The program `simulate` does so, and `simulate-cluster` of nodes that share a log.

mod chance;
mod checks;
mod client;
pub mod cluster;
mod command;
mod disk;
mod end;
mod judge;
mod life;
mod lines;
mod model;
mod observe;
mod ops;
mod policy;
mod reload;
mod request;
mod response;
mod review;
mod rights;
mod rule;
mod run;
mod saving;
mod session;
mod setup;
mod tally;
mod term;
mod token;
mod twins;
mod wire;
mod world;

pub use chance::Chance;
pub use life::{Fate, live, live_chosen, retrace, state_after};
pub use run::{Counts, Run, Verdict};
pub use tally::Tally;
pub use world::World;
