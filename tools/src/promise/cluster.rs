//! Whether several nodes over Redis keep the promise that one server makes: the same clients, which
//! change nodes with their cursors; the same publishers, to all nodes; and one fault after the
//! other, done to nodes, to Redis, or to what is between them.
//!
//! Each fault has a run of its own (`conduct`), with servers of Redis started for it, a
//! proxy between each node and Redis (`proxy`), and questions to every node whether it is ready
//! (`health`). What is done is in `actions`, when and what it excuses is recorded there too, and the
//! judge of `encke-oracle` takes all logs as one sequence. `plant` falsifies logs, to see that the
//! judge finds it.

mod actions;
mod conduct;
mod fault;
mod health;
mod nodes;
mod plant;
mod proxy;
mod report;

use super::plan::Plan;
use encke_test_rig::Directory;
use fault::Fault;

/// Makes a run with each fault of the plan, and prints what came of it; whether every promise was
/// kept.
pub(super) fn run(plan: &Plan) -> Result<bool, String> {
    let faults = plan.faults.iter().map(|name| Fault::named(name));
    let faults = faults.collect::<Result<Vec<_>, _>>()?.concat();
    let seed = plan.seed();
    println!("seed {seed}\n{}", report::HEAD);
    let mut is_kept = true;
    for fault in faults {
        let dir = Directory::new();
        is_kept &= conduct::run(plan, fault, seed, dir.root())?;
    }
    if is_kept {
        println!("no promise was broken");
    }
    Ok(is_kept)
}
