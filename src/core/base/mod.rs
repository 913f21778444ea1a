//! What the rest stands on: intrusive lists, the timer wheel, moments, and counted bytes.
//!
//! Owns no data of the server's: the lists and the wheel link and time `u32` indices, whatever
//! they mean to the caller. It never does I/O, never reads a clock (time is an argument), and
//! knows nothing of HTTP, channels or connections.

pub mod decimal;
pub mod histogram;
pub mod list;
pub mod meter;
pub mod time;
pub mod wheel;
