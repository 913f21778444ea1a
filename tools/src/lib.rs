//! Load drivers and helpers for encke.
//!
//! `floor` is the yardstick: the least that any epoll server could do. `swarm` drives it, encke and
//! other HTTP-push servers with the same load and checks every receipt; it consists of a
//! [`conductor`] (publishes, measures) and [`worker`] processes (the subscribers). `compare` runs
//! two servers side by side and prints ratios. `promise` checks what encke promises while it is
//! troubled ([`mod@promise`]); `adversary` attacks it, beside a neighbour that must not notice.

pub mod adversary;
pub mod conductor;
pub mod floor;
mod lines;
pub mod measure;
pub mod net;
pub mod part;
pub mod promise;
pub mod receipt;
pub mod report;
pub mod server;
pub mod trace;
pub mod worker;
