//! The key of an opening handshake, and its answer (RFC 6455, section 4.2.2).
//!
//! Owns the form of a key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The bytes of a decoded key.
const KEY_BYTES: usize = 16;

/// The bytes of a `Sec-WebSocket-Accept`: base64 of a SHA-1 digest.
pub const ACCEPT_BYTES: usize = 28;

/// The text that is appended to a key before it is hashed (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`; `None` if the key is not 16 bytes in
/// base64.
pub fn accept(key: &[u8]) -> Option<[u8; ACCEPT_BYTES]> {
    // Base64 decodes in groups of three bytes.
    let mut decoded = [0; KEY_BYTES.div_ceil(3) * 3];
    let is_whole = key.len() == KEY_BYTES.div_ceil(3) * 4;
    let length = STANDARD.decode_slice(key, &mut decoded).ok()?;
    if !is_whole || length != KEY_BYTES {
        return None;
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; ACCEPT_BYTES];
    let written = STANDARD.encode_slice(digest, &mut accept).ok()?;
    debug_assert_eq!(written, ACCEPT_BYTES);
    Some(accept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_the_specification() {
        let expected = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ==").as_ref(), Some(expected));
    }

    #[test]
    fn key_is_sixteen_bytes() {
        for length in 0..40 {
            let key = STANDARD.encode(vec![7; length]);
            assert_eq!(accept(key.as_bytes()).is_some(), length == 16, "{length}");
        }
        for key in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            " dGhlIHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZ_==",
            "dGhlIHNhbXBsZSBub25jZQ==AAAA",
        ] {
            assert_eq!(accept(key.as_bytes()), None, "{key}");
        }
    }
}
