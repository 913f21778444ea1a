//! The reasons for which the file of a key is refused.
//!
//! Owns their texts: each says what the file has to be, or what to do. None contains a byte of a
//! secret.

use thiserror::Error;

use super::key::MAX_KEYS;

/// The reason for which the file of a key is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// It is longer than 1 MiB.
    #[error("the file of a key has at most 1 MiB")]
    Long,
    /// The key cannot be used: its size, its kind.
    #[error("the key {0}")]
    Unfit(String),
    /// It is a private key, which signs tokens and is not needed to verify them.
    #[error(
        "this is a private key; the server needs the public key alone: \
         openssl pkey -in FILE -pubout"
    )]
    Private,
    /// It is a JWK set with a private key.
    #[error(
        "key {0} of the JWK set is a private key; leave out d and all members after it (p, q, dp, \
         dq, qi): the server needs the public key alone"
    )]
    PrivateJwk(usize),
    /// It is a certificate.
    #[error(
        "this is a certificate; the server needs its public key: \
         openssl x509 -in FILE -noout -pubkey"
    )]
    Certificate,
    /// It is PEM, and broken, or PEM of something else.
    #[error("a public key in PEM was expected: {0}")]
    Pem(&'static str),
    /// It is a key in another form. To take a public key for a secret would let anyone sign.
    #[error("this is a key {0}")]
    Form(&'static str),
    /// It is JSON, and not a JWK set.
    #[error("a JWK set was expected, an object with the list keys: {0}")]
    Jwks(&'static str),
    /// It is a JWK set of which no key can be used.
    #[error("the JWK set has no key that verifies tokens{0}")]
    NoKey(String),
    /// It has more keys than a server uses.
    #[error("there are {0} keys; at most {MAX_KEYS} are allowed")]
    TooMany(usize),
}
