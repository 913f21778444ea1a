//! From a request's head to the operation it asks for, or to a refusal.
//!
//! Owns all decisions that need no body: the endpoint, the method, the rights of the request, the
//! parameters. It changes nothing but the cache and the counters of tokens.

mod authorize;
mod credential;
mod handshake;
mod params;
mod permit;
mod publication;
mod rights;
mod route;

pub(super) use authorize::{
    AuthorizationContext, Authorizer, Operation, freeze as freeze_authorizer,
    thaw as thaw_authorizer,
};
pub(super) use params::{Params, Since, callback_of, decoded, parameters, since};
pub(super) use permit::{Identity, publish_to, receive as receive_from, serves_publishing};
pub(super) use publication::is_by_lines;
pub(super) use rights::{FrozenRights, Rights};
pub(super) use route::{MAX_CHANNELS, Names, Receive, Route, distinct_names};
