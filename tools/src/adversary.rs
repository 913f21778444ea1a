//! Hostile clients against a real encke with stated limits, beside a neighbour that behaves well.
//!
//! An [`Attack`] is data: a script for each of its connections, the limits that encke is given, the
//! memory that it may make encke use, and what must have been counted afterwards. A [`trial`] runs
//! one: the neighbour alone, the neighbour beside the attack, and then everything must be given
//! back. The attacking connections are in processes of their own ([`raid`]).
//!
//! A trial fails for what does not depend on the machine's speed: memory over the budget, something
//! not given back, a message of the neighbour lost, late, twice or misrouted, a counter that did
//! not move, a server that is gone. Times and processor shares are reported and not judged.

mod attack;
mod attacks;
mod crowd;
mod finding;
pub mod raid;
mod script;
pub mod trial;
mod watch;

pub use attack::{Attack, Size};
pub use attacks::ALL;
pub use finding::Finding;
