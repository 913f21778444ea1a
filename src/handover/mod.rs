//! The hand-over of a running server to a new process: an upgrade that no client notices.
//!
//! Owns the messages between the two processes, the socket between them, the start of the new
//! process, and the memory in which the state is passed. It knows neither connections nor published
//! messages: the reactor decides what is handed over.
//!
//! ```text
//! old                                     new
//! starts it, its stdin the socket    ──►
//! hello: formats, listeners, stdin   ──►  reads its settings and files, listens where the old one does
//!                                         not, reserves its tables
//!                                    ◄──  ready, or refused and why
//! stops: until here it serves
//! state, in a sealed memfd           ──►  rebuilds everything
//! descriptors, 253 a packet          ──►  watches them
//!                                    ◄──  taken
//! go                                 ──►  serves
//!                                    ◄──  serving
//! ends
//! ```
//!
//! ```text
//! message    the messages, as JSON
//! channel    packets with descriptors, and deadlines
//! memory     the memory of the state, sealed against changes
//! program    the program that is started, and its arguments
//! failure    why an upgrade fails
//! attempt    the old side: a thread that starts the new process and ends it if anything fails
//! take_over  the new side
//! oom_score  which of the two processes the kernel kills if memory runs out
//! ```
//!
//! Invariants:
//! - *Only one of them ever reads a socket*, or standard input, or writes to the directory of
//!   history. The message `go` passes that on. Whatever fails before it, the old process continues
//!   to serve, and the new one has changed nothing that both share. After it, the old process never
//!   serves again: if the new one ends before it says `serving`, the old one ends too, with an
//!   error, so that a service manager starts encke again.
//! - *Every step has a deadline*: together those until the state is sent have `--upgrade-timeout`, and each
//!   later one a time of its own.
//! - *Neither side trusts the other's bytes*: a message that cannot be read ends the attempt.

mod attempt;
mod channel;
mod failure;
mod memory;
mod message;
mod oom_score;
mod program;
mod take_over;

pub(crate) use attempt::{Attempt, Ending, NewProcess, report};
pub(crate) use channel::{Fault, Waiting};
pub(crate) use failure::Failure;
pub(crate) use memory::{create, seal};
pub(crate) use message::{Cluster, FileId, Go, Hello, Listening, Message};
pub use message::{FORMATS, Stage};
pub use program::Program;
pub use take_over::{TakeOver, TakeOverError};
