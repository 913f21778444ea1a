//! Whether encke keeps its promise on a bad day: many clients that come, go, stall and come back,
//! publishers that retry, a server that is stopped, drained, killed and started again, or upgraded;
//! and a verdict computed from what each of them wrote down.
//!
//! `conduct` starts the server, processes of clients (`crowd`) and threads of publishers
//! (`publisher`), and does things to them. Half of the clients have tokens (`pass`), whose keys are
//! changed and whose connections are ended (`operator`). Each keeps a log; the crate `encke-oracle`
//! judges the logs. `soak` watches memory and counters of a long run.

mod answer;
mod client;
mod clock;
mod cluster;
mod conduct;
mod crowd;
mod crowds;
mod decode;
mod log_file;
mod operator;
mod pass;
mod plan;
mod protocol;
mod publisher;
mod publishers;
mod soak;
mod summary;
mod upgrades;

pub use crowd::serve;
pub use plan::Plan;

use crate::net;

/// Makes a run, or with several nodes one with each fault, and prints what came of it; whether every
/// promise was kept.
pub fn run(plan: &Plan) -> Result<bool, String> {
    net::raise_file_limit();
    match plan.nodes {
        Some(_) => cluster::run(plan),
        None => conduct::run(plan),
    }
}
