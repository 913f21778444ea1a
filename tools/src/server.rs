//! A server under load: the small file that describes it, and the process.
//!
//! Owns the process it started and ends it when dropped. A description says how to start the
//! server (or where it runs), how to ask it for things, and nothing about what it costs.

mod description;
mod process;
mod running;
mod template;

pub use description::{Description, Request};
pub use process::{Launch, Server};
pub use template::{Filling, Template, channel_name};
