//! Several nodes of one cluster, as processes, on a real Redis. Skipped where that is not
//! installed, but in CI.

mod audience;
mod encke;
mod misuse;
#[path = "../e2e/namespaces.rs"]
mod namespaces;
mod nodes;
mod partition;
mod producers;
mod redis;
mod start;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;
