//! Conducts a run: starts the server and the workers, publishes, waits, measures.
//!
//! Everything waits with a deadline; a run that misses one ends with what is known of it.

mod herd;
mod lone;
mod modes;
mod parked;
mod plan;
mod publisher;
mod sender;
mod stage;
mod window;

pub use modes::run;
pub(crate) use modes::run_on;
pub(crate) use parked::Asker;
pub use plan::{Mode, Plan};
pub(crate) use sender::Sender;
pub(crate) use stage::Stage;
pub(crate) use window::settle;
