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

use std::fs;

use super::plan::Plan;
use crate::command::text;
use crate::net::{self, now_ns};
use fault::Fault;

/// Makes a run with each fault of the plan, and prints what came of it; whether every promise was
/// kept.
pub(super) fn run(plan: &Plan) -> Result<bool, String> {
    let faults = plan.faults.iter().map(|name| Fault::named(name));
    let faults = faults.collect::<Result<Vec<_>, _>>()?.concat();
    net::raise_file_limit();
    let seed = plan
        .seed
        .unwrap_or_else(|| now_ns() / 1_000_000 % 1_000_000);
    println!("seed {seed}\n{}", report::HEAD);
    let mut is_kept = true;
    for fault in faults {
        let name = format!("encke-promise-{}-{}", std::process::id(), fault.name());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).map_err(text)?;
        let report = conduct::run(plan, fault, seed, &dir);
        // What is left behind is in the directory for such things.
        let _ = fs::remove_dir_all(&dir);
        is_kept &= report?;
    }
    if is_kept {
        println!("no promise was broken");
    }
    Ok(is_kept)
}
