//! Connections as the engine sees them: entries in a table, and no socket.
//!
//! Owns the table, the state of each connection, its one deadline, its buffered bytes, and the one
//! exit for bytes ([`Wire`]). It calls no module above it: what the state of a connection makes due
//! after an event is *returned* by [`Connections::settle`].
//!
//! Invariants:
//! - *One exit.* Every byte leaves through [`Wire::send`], called in `write` alone.
//! - *One deadline.* A connection has at most one entry in the wheel; its state says what it is
//!   for.
//! - *Blocked is dequeued.* A connection with unsent bytes stands in none of the hub's lists.
//! - *Closing is last.* An index is reused only after [`Connections::next_close`] returned it.

mod ahead;
mod conn;
mod holders;
mod line_upload;
mod request_state;
mod state;
mod table;
mod wire;
mod write;

pub use conn::{Access, ConnId};
pub(super) use conn::{Conn, Flags};
pub(super) use holders::CredentialRef;
pub(super) use line_upload::{BodyEnd, LinePlan, LineStep, LineUpload};
pub(super) use request_state::{
    LingerBatch, LingeredMessage, ResponseOptions, UnfinishedMessage, Upload,
};
pub use state::State;
pub(super) use state::States;
pub(super) use table::{Connections, freeze, thaw};
#[cfg(test)]
pub(super) use wire::Sink;
pub use wire::{Sent, Wire};
pub(super) use write::{resume, write, write_behind, write_frames, write_shared};
