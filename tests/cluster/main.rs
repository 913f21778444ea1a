//! Several nodes of one cluster, as processes, on a real Redis. Skipped where that is not
//! installed, but in CI.

mod audience;
mod encke;
mod misuse;
mod nodes;
mod producers;
mod redis;
mod start;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;
