//! The fuzz targets: one function each, which panics if its input breaks a rule.
//!
//! Each holds the server's code against an independent reading of the same bytes, and against
//! itself with the bytes cut differently. The programs in `targets` hand them to libFuzzer, and a
//! test runs the seeds through them on any toolchain.

mod batch;
mod body;
mod cluster;
mod cut;
mod entry;
mod head;
mod judged;
mod params;
mod server;
mod syntax;
mod thaw;
mod token;
mod tree;
mod wanted;
mod ws;

pub use batch::batch;
pub use body::body;
pub use cluster::cluster;
pub use entry::entry;
pub use head::head;
pub use params::params;
pub use thaw::{is_thawed, thaw};
pub use token::token;
pub use ws::ws;

/// A world of the simulation: its settings and steps by the bytes.
pub fn engine(bytes: &[u8]) {
    encke_simulation::live_chosen(bytes);
}
