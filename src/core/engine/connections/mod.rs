//! Connections, as the engine sees them: where each stands in its requests, and the one exit.

pub(super) mod conn;
pub(super) mod request_state;
pub(super) mod wire;
