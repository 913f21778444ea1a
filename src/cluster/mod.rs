//! Redis, on which the log of a cluster is: two threads that move bytes.
//!
//! Owns the two connections of a node, in blocking sockets with a deadline for every answer: the
//! *publish lane* sends commands and gives back replies, the *follow lane* reads the log. It never
//! decides anything about the log: the pure [`Node`](encke_core::log::cluster::Node) does.
//!
//! Invariants: *Order.* Replies come in the order of the commands, entries in that of the log.
//! *Bounded.* No queue grows: a lane waits until the reactor has taken its events.
//! *No leftovers.* After a new connection is reported, no event of an earlier connection is
//! reported.

mod check;
mod connection;
mod fault;
mod follow;
mod front;
mod lane;
mod open;
mod publish;
mod target;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use fault::Fault;
pub(crate) use front::{Redis, probe};
pub(crate) use lane::Event;
pub(crate) use wire::ReadEntry;
