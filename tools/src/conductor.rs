//! Leads a run: starts the server and the workers, publishes, waits, measures.
//!
//! Everything waits with a deadline; a run that misses one ends with what is known of it.

mod herd;
mod lone;
mod modes;
pub(crate) mod parked;
mod plan;
pub(crate) mod publisher;
mod stage;

pub use modes::run;
pub(crate) use modes::{Sender, settle};
pub(crate) use parked::ask;
pub use plan::{Mode, Plan};
pub(crate) use publisher::Publisher;
pub(crate) use stage::Stage;
