//! The JavaScript client at `/encke.js`: a module that pages of any origin may load.
//!
//! Owns its bytes and how long they may be kept. The client itself is in `src/client` of the
//! repository; what is served is its minified form, which the browser checks compare with it.

use sha2::{Digest, Sha256};

use crate::engine::response::{BodyLength, ResponseContext, ResponseWriter, field};

const MODULE: &str = include_str!("../../client/encke.min.js");

/// The client, ready to be served.
pub(super) struct Client {
    /// The entity tag (RFC 9110, section 8.8.3), quotes included.
    tag: String,
}

impl Client {
    pub(super) fn new() -> Client {
        let hash = Sha256::digest(MODULE);
        let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Client {
            tag: format!("\"{hex}\""),
        }
    }

    /// Writes the module. Its fields are the same for every origin, so that caches can share it.
    pub(super) fn write(&self, response: &mut ResponseWriter, context: &ResponseContext<'_>) {
        let ResponseWriter { heads, out, .. } = response;
        heads.begin_public(out, context, 200);
        field(out, "Cache-Control", "public, max-age=3600");
        field(out, "ETag", &self.tag);
        field(out, "Content-Type", "text/javascript; charset=utf-8");
        field(out, "X-Content-Type-Options", "nosniff");
        heads.end(out, BodyLength::Known(MODULE.len()));
        if !context.head_only {
            out.extend_from_slice(MODULE.as_bytes());
        }
    }
}
