//! The parts of a request head that determine where the request ends.
//!
//! Owns the types for the HTTP version and the framing of the body.

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

/// The framing of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// This number of bytes follows the head.
    Length(u64),
    /// Chunks follow the head (RFC 9112, 7.1).
    Chunked,
}
