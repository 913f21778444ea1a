//! The opening handshake of a WebSocket (RFC 6455, section 4.2).
//!
//! Owns what is wrong with one, and in which order that is said.

use super::route::Names;
use crate::engine::response::Problem;
use crate::http1::{Head, Method, Version, status};
use crate::transport::Options;
use crate::ws;

/// A handshake that can be answered.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    pub(in crate::engine) accept: [u8; ws::ACCEPT_BYTES],
    /// The subprotocol that the client offers and encke knows.
    pub(in crate::engine) subprotocol: Option<&'static str>,
}

impl Handshake {
    /// Judges the handshake of a request to receive from these channels.
    pub(super) fn of(
        head: &Head<'_>,
        names: &Names<'_>,
        options: Options,
    ) -> Result<Handshake, Problem> {
        let upgrade = &head.upgrade;
        // HTTP/1.0 knows no upgrade, so its field is ignored (RFC 9110, section 7.8).
        let is_upgrade = upgrade.is_to_websocket() && head.version == Version::Http11;
        if !is_upgrade || head.method != Method::Get {
            return Err(Problem::bad(
                "this endpoint is a WebSocket: connect to it with a WebSocket client, which sends \
                 GET with `Connection: Upgrade` and `Upgrade: websocket`; a proxy in between must \
                 pass both on",
            ));
        }
        if !upgrade.is_version_13() {
            let detail = "the version of the WebSocket protocol must be 13";
            return Err(Problem::new(status::UPGRADE_REQUIRED, detail)
                .with("Sec-WebSocket-Version", "13")
                .with("Upgrade", "websocket")
                .with("Connection", "Upgrade"));
        }
        let accept = upgrade.key.and_then(|key| ws::accept(key));
        let accept = accept.ok_or_else(|| {
            Problem::bad("Sec-WebSocket-Key must be given once, and be 16 bytes in base64")
        })?;
        if options.contains(Options::RAW | Options::PUBLISH) && names.len() > 1 {
            return Err(Problem::bad(
                "with raw=1 and publish=1 name one channel, the one that is published to",
            ));
        }
        Ok(Handshake {
            accept,
            subprotocol: upgrade.offers_encke().then_some("encke"),
        })
    }
}
