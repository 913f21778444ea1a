//! A node of a cluster: several servers that share one log, as a pure machine.
//!
//! Owns the decisions of a node about the entries of the log and the replies of the server that
//! keeps it: what is applied in which order, what is lost, what is told again, and the result of
//! each publish. It has no socket, thread or clock: threads move the bytes, and the time is an
//! argument.
//!
//! The log is a stream of entries with dense numbers in *terms*. A term is opened when the server
//! was restarted or replaced, or may be ahead of what a node knows; all nodes then say how far they
//! have read (a *census*), and what the server has forgotten is told again by the node that has
//! read most, before anything new is published.
//!
//! Invariants:
//! - *A prefix of one history.* What a node applies is the history of the log, in its order,
//!   without a hole; where there is one, a loss is told in its place.
//! - *Nothing before the settling.* Between the entry that opens a term and the one that settles it
//!   nothing is published or applied.
//! - *Answered when applied.* A publisher is told that it is published when this node has read its entry
//!   back and applied it, or has told a loss in place of it.

mod allowance;
mod audience;
mod blocks;
mod bytes;
mod census;
mod chain;
mod claims;
mod clock;
pub mod command;
pub mod effect;
pub mod entry;
mod floors;
mod foreign;
mod frozen;
mod kicks;
mod lane;
mod members;
pub mod messages;
mod node;
mod notes;
mod outbox;
mod pulse;
mod readers;
mod reading;
mod replica;
mod report;
mod rest;
mod retold;
mod ring;
mod settings;
mod speaking;
mod window;

pub use blocks::BlockPlace;
pub use command::{BUCKETS, Command, KeyHash, Lane, OpenMode, Opened, Openness, Reply, Salt};
pub use effect::{Effect, Outcome, Reason, Ticket};
pub use entry::Kick;
pub use kicks::MAX_BLOCKS;
pub use messages::{Drafts, Messages};
pub use node::Node;
pub use rest::Unrest;
pub use settings::{Counts, Gauges, Halt, NodeInfo, Refusal, Settings, State};
