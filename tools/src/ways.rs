//! The ways of receiving, beside each other: each technique under the same events, and what it
//! costs whom.
//!
//! Owns the clients of the experiment, the times of its events and what comes of it. It drives
//! encke alone, with holds and heartbeats as shipped, since they are part of what a technique costs.
//!
//! Invariant: what is measured is a window in a course of things that goes on before and after it.
//! Polls are spread over their interval, what was published before the first of them included, and
//! held polls are as old as they would be; so a window as long as the interval is long enough.

mod client;
mod experiment;
mod plot;
mod row;
mod schedule;
mod technique;

pub use experiment::{Plan, run};
pub use plot::plot;
pub use row::{Row, table};
pub use technique::Technique;
