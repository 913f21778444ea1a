//! Data structures without knowledge of HTTP, channels or connections: intrusive lists, the timer
//! wheel, a queue, times, counted bytes, histograms, decimal numbers, and records of a file.
//!
//! Owns no data of the server: the lists and the wheel work on `u32` indices of the caller's
//! tables. It never does I/O and never reads a clock: time is an argument.

pub mod decimal;
pub mod histogram;
pub mod list;
pub mod meter;
pub mod queue;
pub mod record;
pub mod time;
pub mod wheel;
