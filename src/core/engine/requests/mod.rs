//! Requests: from bytes to what is asked for, and its response.

pub(super) mod authorize;
pub(super) mod channels;
pub(super) mod execute;
pub(super) mod input;
pub(super) mod metrics;
pub(super) mod page;
pub(super) mod params;
pub(super) mod publish;
pub(super) mod reject;
pub(super) mod route;
