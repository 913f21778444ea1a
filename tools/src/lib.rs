//! Load drivers and helpers for encke.
//!
//! `floor` is the yardstick: the least that any epoll server could do. `swarm` drives it, encke and
//! other HTTP-push servers with the same load and checks every receipt; it consists of a
//! [`conductor`] (publishes, measures) and [`worker`] processes (the subscribers). `compare` runs
//! several servers side by side, prints ratios and writes a page. `promise` checks what encke
//! promises while it is troubled ([`mod@promise`]); `adversary` attacks it, beside a neighbour that
//! must not notice. `three-ways` sets the techniques of receiving beside each other, in [`ways`].

pub mod adversary;
pub mod comparison;
pub mod conductor;
pub mod driver;
pub mod flame;
pub mod floor;
pub mod grip;
pub mod instructions;
mod lines;
pub mod machine;
pub mod measure;
pub mod net;
pub mod page;
pub mod part;
pub mod promise;
pub mod receipt;
pub mod report;
pub mod server;
pub mod trace;
pub mod ways;
pub mod worker;
pub mod workspace;
