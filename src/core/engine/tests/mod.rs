//! The engine as its caller sees it: bytes in, bytes out, and time.

mod audience;
mod cluster;
mod ends;
mod frozen;
mod kick;
mod kick_cluster;
mod lines;
mod nodes;
mod pace;
mod redis;
mod review;
mod rights;
mod saving;
mod short_writes;
mod socket;
mod support;
