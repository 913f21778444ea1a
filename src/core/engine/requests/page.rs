//! The live page at `/`: one document that carries its style and its scripts.
//!
//! Owns the document and its Content-Security-Policy. The page itself is in `page/`; it uses
//! the public endpoints alone and knows nothing of the engine.
//!
//! Invariant: *nothing runs but what is built in*. Style and scripts are allowed by their hashes:
//! `'self'` would allow JSONP responses too, part of which the client chooses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::client;
use crate::engine::response::{BodyLength, ResponseContext, ResponseWriter, field};

const DOCUMENT: &str = include_str!("../../page/index.html");
const STYLE: &str = include_str!("../../page/page.css");
/// In the order in which they run. They share one global scope.
const SCRIPTS: [(&str, &str); 4] = [
    ("/*receive.js*/", include_str!("../../page/receive.js")),
    ("/*draw.js*/", include_str!("../../page/draw.js")),
    ("/*choose.js*/", include_str!("../../page/choose.js")),
    ("/*page.js*/", include_str!("../../page/page.js")),
];
/// The place of the JavaScript client, after the scripts.
const CLIENT: &str = "/*encke.js*/";

/// The page, ready to be served.
pub(super) struct Page {
    document: String,
    policy: String,
}

impl Page {
    pub(super) fn new() -> Page {
        let mut document = DOCUMENT.replace("/*page.css*/", STYLE);
        let mut hashes = String::new();
        let client = client::inlined();
        for (place, script) in SCRIPTS.into_iter().chain([(CLIENT, &*client)]) {
            document = document.replace(place, script);
            hashes.push(' ');
            hashes.push_str(&hash(script));
        }
        let policy = format!(
            "default-src 'none'; script-src{hashes}; style-src {style}; connect-src 'self'; \
             frame-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            style = hash(STYLE),
        );
        Page { document, policy }
    }
}

/// A hash source (CSP Level 3, section 2.3.1) for the text of an element.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

impl Page {
    /// Writes the page.
    pub(super) fn write(&self, response: &mut ResponseWriter, context: &ResponseContext<'_>) {
        let ResponseWriter { heads, out, .. } = response;
        heads.begin(out, context, 200);
        field(out, "Content-Type", "text/html; charset=utf-8");
        field(out, "Content-Security-Policy", &self.policy);
        field(out, "Referrer-Policy", "no-referrer");
        field(out, "X-Content-Type-Options", "nosniff");
        field(out, "Cross-Origin-Opener-Policy", "same-origin");
        heads.end(out, BodyLength::Known(self.document.len()));
        if !context.head_only {
            out.extend_from_slice(self.document.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of all elements of a name.
    fn elements<'d>(document: &'d str, name: &str) -> Vec<&'d str> {
        let (open, close) = (format!("<{name}"), format!("</{name}>"));
        let parts = document.split(&open).skip(1);
        let text = |part: &'d str| part.split_once('>').unwrap().1;
        parts
            .map(|part| text(part).split_once(&close).unwrap().0)
            .collect()
    }

    #[test]
    fn every_element_that_runs_is_allowed_by_its_hash() {
        let page = Page::new();
        for (name, directive, count) in [("script", "script-src", 5), ("style", "style-src", 1)] {
            let texts = elements(&page.document, name);
            assert_eq!(texts.len(), count, "{name}");
            let allowed = page
                .policy
                .split("; ")
                .find_map(|part| part.strip_prefix(directive))
                .unwrap();
            let hashes: String = texts
                .iter()
                .map(|text| format!(" {}", hash(text)))
                .collect();
            assert_eq!(allowed, hashes);
        }
        assert!(!page.policy.contains("unsafe"));
    }

    #[test]
    fn a_hash_is_that_of_the_standard() {
        // The example of CSP Level 3, section 8.2.
        assert_eq!(
            hash("alert('Hello, world.');"),
            "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
        );
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        // The name space of SVG is no address.
        let document = Page::new()
            .document
            .replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", " src=", "@import", " url(", ":url("] {
            assert!(!document.contains(outside), "{outside}");
        }
    }
}
