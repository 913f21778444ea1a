//! Chunked transfer coding (RFC 9112, section 7.1), as a sender.
//!
//! Owns the bytes around a piece of a body.

/// The chunk that ends a body.
pub(in crate::engine) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Wraps what `write` appends into one chunk (RFC 9112, section 7.1).
pub(in crate::engine) fn chunk(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    const SIZE_BYTES: usize = 8;
    let start = out.len();
    out.extend_from_slice(b"00000000\r\n");
    write(out);
    let size = out.len() - start - SIZE_BYTES - 2;
    let digits = format!("{size:x}");
    debug_assert!(
        size > 0 && digits.len() <= SIZE_BYTES,
        "an empty chunk ends the body"
    );
    out.splice(start..start + SIZE_BYTES, digits.bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_is_preceded_by_its_size() {
        for length in [1, 15, 16, 255, 70_000] {
            let mut out = b"before".to_vec();
            chunk(&mut out, |out| out.resize(out.len() + length, b'x'));
            let expected = format!("before{length:x}\r\n{}\r\n", "x".repeat(length));
            assert_eq!(out, expected.as_bytes());
        }
    }
}
