//! Load drivers and helpers for encke.
