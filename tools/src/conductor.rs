//! Conducts a run: starts the server and the workers, publishes, waits, measures.
//!
//! Everything waits with a deadline; a run that misses one ends with what is known of it.

mod herd;
mod lone;
mod modes;
mod parked;
mod plan;
mod publisher;
mod stage;

pub use modes::run;
pub(crate) use modes::{Sender, run_on, settle};
pub(crate) use parked::Asker;
pub use plan::{Mode, Plan};
pub(crate) use stage::Stage;
