//! The engine of [encke](https://docs.rs/encke): requests, channels and delivery, without sockets.
//!
//! Owns everything between the bytes that a connection received and the bytes that it is to send.
//! It has no socket, clock, thread, file or random source: bytes, time and a seed are arguments.
//! The `encke` crate is this engine behind a poll; its documentation has the map of both.
//!
//! Used by the tests, the benches and the simulation of encke. A program that embeds a server uses
//! the `encke` crate, whose interface is stable; this one changes with the engine.
#![forbid(unsafe_code)]

pub mod authority;
pub mod base;
pub mod config;
pub mod encode;
pub mod engine;
pub mod frozen;
pub mod http1;
pub mod hub;
pub mod log;
pub mod message;
pub mod pattern;
pub mod tokens;
pub mod transport;
pub mod ws;
