//! Several nodes of one cluster, as processes, on a real Redis. Skipped where that is not
//! installed, but in CI.

mod audience;
mod clustered;
mod encke;
mod misuse;
mod nodes;
mod partition;
mod producers;
mod start;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;

use encke_test_rig::redis::Server;

/// A server of Redis of a test; none where that is not installed.
fn redis(args: &[&str]) -> Option<Server> {
    Server::of_test(args)
}
