//! The JavaScript client at `/encke.js`: a module that pages of any origin may load.
//!
//! Owns its bytes and how long they may be kept. The client itself is in `src/client` of the
//! repository; what is served is its minified form, which the browser checks compare with it.

use sha2::{Digest, Sha256};

use crate::engine::response::{BodyLength, ResponseContext, ResponseWriter, field};

const MODULE: &str = include_str!("../../client/encke.min.js");

/// The module for an element of a page, where it cannot be imported: what it exports is in the
/// global `encke`.
pub(super) fn inlined() -> String {
    let (code, exports) = MODULE
        .rsplit_once("export{")
        .expect("a module ends with its exports");
    let exports = exports.trim_end().trim_end_matches([';', '}']);
    let members = exports.split(',').map(|export| {
        let (local, public) = export.split_once(" as ").unwrap_or((export, export));
        format!("{public}:{local}")
    });
    let members: Vec<String> = members.collect();
    format!("{code}window.encke={{{}}};", members.join(","))
}

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

    /// Writes the module, or that the one that the client has, by the tags in `If-None-Match` (RFC
    /// 9110, section 13.1.2), is still the same. Its fields are the same for every origin, so that
    /// caches can share it.
    pub(super) fn write(
        &self,
        response: &mut ResponseWriter,
        context: &ResponseContext<'_>,
        known: Option<&[u8]>,
    ) {
        let ResponseWriter { heads, out, .. } = response;
        let is_known = known.is_some_and(|tags| self.is_among(tags));
        heads.begin_public(out, context, if is_known { 304 } else { 200 });
        field(out, "Cache-Control", "public, max-age=3600");
        field(out, "ETag", &self.tag);
        if is_known {
            heads.end(out, BodyLength::None);
            return;
        }
        field(out, "Content-Type", "text/javascript; charset=utf-8");
        field(out, "X-Content-Type-Options", "nosniff");
        heads.end(out, BodyLength::Known(MODULE.len()));
        if !context.head_only {
            out.extend_from_slice(MODULE.as_bytes());
        }
    }

    /// Whether a list of tags, compared weakly, has this one, or is `*`.
    fn is_among(&self, tags: &[u8]) -> bool {
        let mut tags = tags.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inlined_module_sets_what_it_exports() {
        let text = inlined();
        let (_, members) = text.rsplit_once("window.encke={").unwrap();
        for name in ["connect:", "EnckeError:"] {
            assert!(members.contains(name), "{members}");
        }
        assert!(!text.contains("export{") && !text.contains("</script"));
    }
}
