//! The promise that encke makes to its clients, stated once, and a judge that holds logs against
//! it:
//! *after a cursor, a client receives every message of its channels once and in order, or is told
//! of a gap where one is missing.*
//!
//! | module | owns |
//! |---|---|
//! | [`id`], [`log`], [`run`], [`span`] | what clients and publishers write down |
//! | [`cluster`] | what was done to the nodes of a cluster, and what that excuses |
//! | `order` | one sequence over the epochs of a cluster |
//! | `case` | one entry of a log, and everything that it is judged with |
//! | [`finding`] | the kinds of broken promises |
//! | [`truth`] | which messages exist, under which ids, and which of them history may have dropped |
//! | [`reader`] | the promise itself: one client's log, entry by entry |
//! | [`judge`] | the verdict on a whole run |
//!
//! A test of processes (`promise`) gathers the logs of a run and has them judged at its end
//! ([`judge::check`]): it knows what history may drop from the limits that the server was given,
//! and allows for a busy machine. A simulation sees inside the server, so it judges each entry when
//! it is written ([`reader::Reader::judge`]), tells the truth exactly what history has dropped, and
//! writes entries that only it can know (`Parked`, `Blocked`, `Settled`); with those the same rules
//! are exact, and nothing has slack.
//!
//! Never: encke's code, sockets, files, clocks. Logs in, findings out.

mod case;
pub mod cluster;
pub mod finding;
pub mod id;
pub mod judge;
pub mod log;
mod order;
pub mod reader;
pub mod run;
pub mod span;
pub mod truth;

#[cfg(test)]
mod tests;
