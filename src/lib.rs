#![forbid(unsafe_code)]
#![doc = include_str!("ARCHITECTURE.md")]

mod cluster;
mod disk;
pub mod docs;
pub mod handover;
mod inbox;
mod inherit;
pub mod producer;
mod reactor;
mod server;

pub use disk::DataError;
pub use encke_core::config::{
    self, Address, Config, ConfigError, Cors, DataFull, DataSync, EngineAddress, EngineConfig,
    EngineUrl, History, Inherited, Saving,
};
pub use encke_core::message::{
    ChannelName, Data, Draft, EventError, EventName, IdempotencyKey, IdempotencyKeyError, Json,
    JsonError, NameError,
};
pub use encke_core::{pattern, tokens};
pub use inbox::{
    Accepted, Handle, Publication, PublishError, Publisher, Receipt, ReloadError, Reloading,
};
pub use inherit::inherit;
pub use server::{Error, Server};
