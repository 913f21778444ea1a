//! From a request's head to the operation it asks for, or to a refusal.
//!
//! Owns what can be decided before the body is here: the endpoint, the method, who may use it, the
//! parameters. It changes nothing.

mod authorize;
mod params;
mod route;

pub(super) use authorize::{Authorizer, Circumstances, Operation};
pub(super) use params::{Params, Since, callback_of, decoded, parameters};
pub(super) use route::{Names, Receive, Route};
