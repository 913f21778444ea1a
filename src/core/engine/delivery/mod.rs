//! Delivery to parked connections: polls, streams, deadlines and drains.

pub(super) mod deadlines;
pub(super) mod deliver;
pub(super) mod drain;
pub(super) mod poll;
pub(super) mod retry_advice;
pub(super) mod shapes;
pub(super) mod stream;
