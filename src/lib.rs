#![forbid(unsafe_code)]
#![doc = include_str!("ARCHITECTURE.md")]

pub mod base;
pub mod config;
pub mod docs;
pub mod encode;
pub mod engine;
pub mod http1;
pub mod hub;
pub mod inbox;
pub mod producer;
mod reactor;
mod server;

pub use config::{Address, Config, ConfigError, Cors, History, Inherited};
pub use encode::Data;
pub use inbox::{Accepted, Handle, Publication, PublishError, Publisher, Receipt};
pub use server::{Error, Server};
