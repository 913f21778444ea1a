//! The algorithms of signatures (RFC 7518, section 3.1; RFC 8037, section 3.1).
//!
//! Owns their names.

/// An algorithm of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256: `HS256`.
    Hs256,
    /// Ed25519: `EdDSA`, or `Ed25519` as RFC 9864 names it.
    EdDsa,
    /// ECDSA on P-256 with SHA-256: `ES256`.
    Es256,
    /// RSA with PKCS #1 v1.5 and SHA-256: `RS256`.
    Rs256,
    /// RSA with PSS and SHA-256: `PS256`.
    Ps256,
}

impl Algorithm {
    /// The algorithm that `alg` names. Names are compared as they are: case counts.
    pub(super) fn named(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            "ES256" => Some(Algorithm::Es256),
            "RS256" => Some(Algorithm::Rs256),
            "PS256" => Some(Algorithm::Ps256),
            _ => None,
        }
    }

    /// The name to write into `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Ps256 => "PS256",
        }
    }
}
