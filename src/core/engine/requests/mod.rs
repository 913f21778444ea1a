//! Requests: from received bytes to a response, or to a parked connection.
//!
//! Owns the order of requests on a connection, what each endpoint answers, and responses that take
//! more than one tick. It never decides when a parked connection is served.
//!
//! Calls run one way: `input` → `execute` → `publish`, `channels`, `kicks`, `connections`, `metrics`, and
//! `input` → `frames` → `socket` → `command`, and `input` → `lines` → `execute`.

mod channels;
mod client;
mod command;
mod connections;
mod deferred;
mod deferred_queue;
mod execute;
mod frames;
mod frozen;
mod input;
mod kick_queue;
mod kicks;
mod lines;
mod metrics;
mod nodes;
mod page;
mod publish;
mod reconfigure;
mod reject;
mod socket;
mod state;

pub(super) use deferred_queue::continue_deferred;
pub(super) use frozen::{freeze, thaw};
pub(super) use input::{eof, input, resume_input};
pub(super) use kicks::{continue_kicks, ended_by, take_kick, tell_blocks};
pub(super) use reconfigure::{reconfigure, review};
pub(super) use reject::reject;
pub(super) use state::Requests;
