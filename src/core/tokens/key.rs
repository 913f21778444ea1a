//! Keys that verify tokens.
//!
//! Owns their material and their fingerprints, and asks `ring` whether a signature is theirs. It
//! reads no file: `key_file` does.
//!
//! Invariant: *the algorithm belongs to the key*. A key has one algorithm. The exception is an RSA
//! key without `alg`, which has two: RS256 and PS256.

use std::fmt;
use std::sync::Arc;

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{digest, hmac};

use super::algorithm::Algorithm;

/// The most keys of a server: as many signatures may be checked for one forged token.
pub const MAX_KEYS: usize = 64;

/// The fingerprint of a key: the same whenever its file is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub u64);

/// A key that verifies tokens. Clones share its material; two are equal if their materials are.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    label: Label,
    algorithms: &'static [Algorithm],
    verifier: Verifier,
    /// SHA-256 of the kind and the material.
    fingerprint: [u8; 32],
}

/// The properties of a key in a JWKS beside its material.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Label {
    /// The `kid` by which tokens choose it.
    pub(super) kid: Option<Box<str>>,
    /// Its only algorithm, one of those that its material has. `None`: all that it has.
    pub(super) algorithm: Option<Algorithm>,
}

/// The key material of a file, whose size and encoding are checked.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyMaterial<'a> {
    /// A secret, not empty.
    Secret(&'a [u8]),
    /// A compressed point of Ed25519.
    Ed25519([u8; 32]),
    /// An uncompressed point of P-256: 4, x, y.
    P256([u8; 65]),
    /// Modulus and exponent, big-endian, without zeros before them.
    Rsa { n: &'a [u8], e: &'a [u8] },
}

/// The form of a key that `ring` verifies with.
enum Verifier {
    Secret(hmac::Key),
    Ed25519([u8; 32]),
    P256([u8; 65]),
    Rsa { n: Box<[u8]>, e: Box<[u8]> },
}

impl KeyMaterial<'_> {
    /// The algorithms that such a key can have.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            KeyMaterial::Secret(_) => &[Algorithm::Hs256],
            KeyMaterial::Ed25519(_) => &[Algorithm::EdDsa],
            KeyMaterial::P256(_) => &[Algorithm::Es256],
            KeyMaterial::Rsa { .. } => &[Algorithm::Rs256, Algorithm::Ps256],
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        match self {
            KeyMaterial::Secret(secret) => fingerprint([b"secret", secret]),
            KeyMaterial::Ed25519(point) => fingerprint([b"Ed25519", &point[..]]),
            KeyMaterial::P256(point) => fingerprint([b"P-256", &point[..]]),
            KeyMaterial::Rsa { n, e } => fingerprint([&b"RSA"[..], n, e]),
        }
    }
}

impl Key {
    /// A key of this material.
    pub(super) fn new(material: KeyMaterial<'_>, label: Label) -> Key {
        let verifier = match material {
            KeyMaterial::Secret(secret) => {
                Verifier::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret))
            }
            KeyMaterial::Ed25519(point) => Verifier::Ed25519(point),
            KeyMaterial::P256(point) => Verifier::P256(point),
            KeyMaterial::Rsa { n, e } => Verifier::Rsa {
                n: n.into(),
                e: e.into(),
            },
        };
        let all = material.algorithms();
        let only = |named| all.iter().position(|&own| Some(own) == named);
        Key(Arc::new(Inner {
            algorithms: only(label.algorithm).map_or(all, |at| &all[at..=at]),
            label,
            verifier,
            fingerprint: material.fingerprint(),
        }))
    }

    /// Its fingerprint. It depends on the material alone, not on `kid`.
    pub fn id(&self) -> KeyId {
        let first = self.0.fingerprint.first_chunk().copied();
        KeyId(u64::from_be_bytes(first.unwrap_or_default()))
    }

    /// The `kid` by which tokens choose it.
    pub fn kid(&self) -> Option<&str> {
        self.0.label.kid.as_deref()
    }

    /// The algorithms of which its tokens may be.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        self.0.algorithms
    }

    /// Whether a token of this algorithm and `kid` may be its. A `kid` chooses among the keys that
    /// have one.
    pub(super) fn fits(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        let is_chosen = match (self.kid(), kid) {
            (Some(own), Some(kid)) => own == kid,
            _ => true,
        };
        is_chosen && self.0.algorithms.contains(&algorithm)
    }

    /// Whether a signature is of this key. The algorithm is one that [`Key::fits`].
    pub(super) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.0.verifier {
            Verifier::Secret(key) => hmac::verify(key, signed, signature),
            Verifier::Ed25519(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(signed, signature)
            }
            // RFC 7518, section 3.4: r and s, each 32 bytes, and no DER.
            Verifier::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            Verifier::Rsa { n, e } => {
                let padding = match algorithm {
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n, e }.verify(padding, signed, signature)
            }
        };
        verified.is_ok()
    }
}

/// SHA-256 of parts whose lengths are a part of it too.
fn fingerprint<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash = hash.finish();
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

impl fmt::Debug for Key {
    /// Of a secret not even the fingerprint: guesses of a weak one could be checked against it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Key");
        shown.field("kid", &self.0.label.kid);
        shown.field("algorithms", &self.0.algorithms);
        if !matches!(self.0.verifier, Verifier::Secret(_)) {
            shown.field("id", &self.id());
        }
        shown.finish_non_exhaustive()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.0.fingerprint == other.0.fingerprint && self.0.label == other.0.label
    }
}

impl Eq for Key {}
