//! The whole engine in simulation: worlds in which everything that happens is decided by a seed,
//! or by the bytes of a fuzzer.
//!
//! A [`World`] has one engine, sockets that take any portions, a clock that is told, clients of
//! every transport, and a model of what the server should know. After every call of the engine what
//! arrived at the clients is judged: nothing lost without a gap, nothing twice, nothing out of
//! order, nothing of another channel; framing exact; holds, heartbeats and deadlines in their time;
//! nothing before it is due; and at the end everything given back.
//!
//! A world that breaks a rule panics. [`live`] catches that and says what led there; [`Run`] lives
//! many worlds. The program `simulate` does so for as long as it is told.

mod chance;
mod checks;
mod client;
mod life;
mod model;
mod ops;
mod request;
mod response;
mod rule;
mod run;
mod session;
mod setup;
mod tally;
mod wire;
mod world;

pub use chance::Chance;
pub use life::{Fate, live, live_chosen, retrace};
pub use run::{Run, Verdict};
pub use tally::Tally;
pub use world::World;
