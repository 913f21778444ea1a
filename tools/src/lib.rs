//! Load drivers and helpers for encke.
//!
//! `floor` is the yardstick: the least that any epoll server could do. `swarm` drives it, encke and
//! other HTTP-push servers with the same load and checks every receipt; it consists of a
//! [`conductor`] (publishes, measures) and [`worker`] processes (the subscribers). `compare` runs
//! several servers side by side, prints ratios and writes a page. `promise` checks what encke
//! promises under faults ([`mod@promise`]); `adversary` attacks it while a neighbour must be served
//! as before. `saved` and `nodes` measure what saved history and several nodes cost. `three-ways`
//! compares the techniques of receiving, in [`ways`].
//!
//! All that load a server have their connections in a [`driver`], and read responses by `encke-test-client`.

pub mod adversary;
pub mod command;
pub mod comparison;
pub mod conductor;
pub mod driver;
pub mod flame;
pub mod floor;
pub mod grip;
mod lines;
mod load;
pub mod machine;
pub mod measure;
pub mod metrics;
pub mod net;
pub mod nodes;
pub mod page;
pub mod part;
pub mod promise;
pub mod receipt;
pub mod report;
pub mod saved;
pub mod server;
pub mod trace;
pub mod ways;
pub mod worker;
pub mod workspace;
