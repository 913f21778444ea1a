//! The facts of a request whose response is not written yet, in a state that is handed over.
//!
//! Owns their form.

use serde::{Deserialize, Serialize};

use super::{KeepAlive, ResponseContext};
use crate::frozen::ThawError;

/// The frozen form of a [`ResponseContext`] of a response that is no JSONP.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(in crate::engine) struct FrozenContext {
    keep_alive: u8,
    head_only: bool,
    origin: Option<u16>,
}

impl From<&ResponseContext<'_>> for FrozenContext {
    fn from(context: &ResponseContext<'_>) -> FrozenContext {
        debug_assert!(
            context.callback.is_none(),
            "what is kept beyond its request is no JSONP"
        );
        FrozenContext {
            keep_alive: context.keep_alive as u8,
            head_only: context.head_only,
            origin: context.origin,
        }
    }
}

impl TryFrom<FrozenContext> for ResponseContext<'static> {
    type Error = ThawError;

    fn try_from(frozen: FrozenContext) -> Result<ResponseContext<'static>, ThawError> {
        const ALL: [KeepAlive; 4] = [
            KeepAlive::Http11,
            KeepAlive::Explicit,
            KeepAlive::Close,
            KeepAlive::Upgrade,
        ];
        let keep_alive = ALL.get(usize::from(frozen.keep_alive)).copied();
        Ok(ResponseContext {
            keep_alive: keep_alive
                .ok_or(ThawError::Damaged("a connection has an unknown keep-alive"))?,
            head_only: frozen.head_only,
            origin: frozen.origin,
            callback: None,
        })
    }
}
