//! Nodes of a cluster in simulation: worlds of a few nodes over a model of the server that keeps
//! their log, which stops, forgets and is replaced.
//!
//! | file | owns |
//! |---|---|
//! | `world`, `world::trouble`, `world::judge` | what happens, what goes wrong, and the rules |
//! | `server` | a server that keeps the log |
//! | `link` | a node and its connections |
//! | `replica` | what a node has applied, and what its clients get |
//! | `audience` | how many readers channels have on other nodes |
//!
//! A world that breaks a rule panics; [`live`] says why.

mod audience;
mod link;
mod replica;
mod server;
mod world;

pub use world::Tally;

use crate::life::catch;
use world::World;

/// Lives a world of so many steps. If it is traced, what happened comes with a failure.
///
/// # Errors
///
/// The rule that was broken, after what happened before.
pub fn live(seed: u64, steps: u64, is_traced: bool) -> Result<Tally, (String, Vec<String>)> {
    let mut world = World::new(seed, is_traced);
    catch(|| world.live(steps)).map_err(|why| (why, world.trace().to_vec()))
}
