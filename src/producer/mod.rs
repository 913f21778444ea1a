//! Producers: threads that feed messages from elsewhere to the server.
//!
//! Owns blocking reads and what is to be said about bad input. A producer knows neither the hub
//! nor the reactor: it hands each message to a closure, which may block, and that is its only
//! brake. The end of a producer's source ends its thread, never the server.

pub mod stdin;
