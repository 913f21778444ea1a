//! The parameters of a request to publish.
//!
//! Owns their names and defaults. Unknown parameters are ignored; a malformed value is 400. Of a
//! parameter given several times the last counts.

use super::params::{decoded, last, parameters, switch};
use super::route::Route;
use crate::engine::response::Problem;
use crate::http1::{self, Head, Method};
use crate::message::{EventName, IdempotencyKey, MAX_KEY_BYTES_WITH_PARTS};

/// The parameters of a request to publish.
#[derive(Debug, Default)]
pub(super) struct PublishParams {
    /// The event name: the header field, else the parameter.
    pub(super) event: Option<EventName>,
    /// The channel ends with this request.
    pub(super) end: bool,
    /// Each line of the body is published as it comes.
    pub(super) lines: bool,
    /// Each line is acknowledged when it is accepted.
    pub(super) ack: bool,
}

impl PublishParams {
    /// Parses them. `is_named`: the request may name an event, as it does not name its messages' in
    /// their lines. Publishes are hot, and nearly all have no query.
    #[inline]
    pub(super) fn parse(head: &Head<'_>, is_named: bool) -> Result<PublishParams, Problem> {
        let mut params = match head.query.is_empty() {
            true => PublishParams::default(),
            false => PublishParams::parse_query(head, is_named)?,
        };
        if let Some(name) = head.encke_event.filter(|_| is_named) {
            params.event = event(name)?;
        }
        Ok(params)
    }

    fn parse_query(head: &Head<'_>, is_named: bool) -> Result<PublishParams, Problem> {
        let mut params = PublishParams::default();
        let mut named = None;
        for (name, raw) in parameters(head.query) {
            match &*name {
                b"event" => named = Some(raw),
                b"end" => params.end = switch("end", &decoded(raw)?)?,
                b"lines" => params.lines = switch("lines", &decoded(raw)?)?,
                b"ack" => params.ack = switch("ack", &decoded(raw)?)?,
                _ => {}
            }
        }
        // The header field wins, also over a malformed name.
        if let Some(raw) = named.filter(|_| is_named && head.encke_event.is_none()) {
            params.event = event(&decoded(raw)?)?;
        }
        Ok(params)
    }
}

/// Whether a request asks to publish by lines. Nearly none does, so it is asked before the request
/// is judged, which needs the same parameters.
#[inline]
pub(in crate::engine) fn is_by_lines(head: &Head<'_>) -> bool {
    matches!(head.method, Method::Post | Method::Put) && !head.query.is_empty() && asks_lines(head)
}

fn asks_lines(head: &Head<'_>) -> bool {
    let is_publish = Route::of(head.path).is_some_and(|route| route.is_publish());
    let value = last(head.query, b"lines").and_then(http1::decode);
    is_publish && value.is_some_and(|value| switch("lines", &value).is_ok_and(|lines| lines))
}

fn event(name: &[u8]) -> Result<Option<EventName>, Problem> {
    EventName::parse(name).map_err(|error| Problem::bad(error.to_string()))
}

/// The key of a request that publishes by lines, from which those of its lines are made.
pub(super) fn key_of_lines(head: &Head<'_>) -> Result<Option<IdempotencyKey>, Problem> {
    match idempotency_key(head)? {
        Some(key) if !key.has_room_for_parts() => Err(Problem::bad(format!(
            "Idempotency-Key of a request with lines=1 has at most {MAX_KEY_BYTES_WITH_PARTS} bytes"
        ))),
        key => Ok(key),
    }
}

/// The key of a request to publish.
pub(super) fn idempotency_key(head: &Head<'_>) -> Result<Option<IdempotencyKey>, Problem> {
    let key = head.idempotency_key.map(IdempotencyKey::parse).transpose();
    key.map_err(|error| Problem::bad(error.to_string()))
}
