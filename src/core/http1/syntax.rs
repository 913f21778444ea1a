//! The diagnosis of a malformed head.
//!
//! Owns the mapping of an error of `httparse` to a precise [`Error`]. `httparse` reports neither
//! the position of an error nor bare line feeds; both are searched for here. The search may be
//! slow, because the connection is closed after it.
//!
//! Invariant: the first error in the head is the one that is reported, so the error does not depend
//! on the pieces.

use httparse::{Header, Request};
use std::mem::MaybeUninit;

use super::Error;
use super::scan::first_bare;

/// The most fields a head may have.
pub(super) const MAX_FIELDS: usize = 100;

/// An array for the fields of one head, not initialised because most of it stays unused.
pub(super) const fn uninit_fields<'b>() -> [MaybeUninit<Header<'b>>; MAX_FIELDS] {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// The error of a view that `httparse` refuses.
///
/// `None` if it is not known yet: a CR at the end of the view is either the first half of a
/// misplaced line end, or bare.
pub(super) fn diagnose(view: &[u8]) -> Option<Error> {
    if let Some((at, bare)) = first_bare(view) {
        return Some(diagnose_before(view, at, bare));
    }
    match view.split_last() {
        Some((b'\r', before)) if httparse_error(before).is_none() => None,
        _ => Some(httparse_error(view).unwrap_or(Error::RequestLine)),
    }
}

/// The error of a view with a bare CR or LF at index `at`: `bare`, or an earlier error.
pub(super) fn diagnose_before(view: &[u8], at: usize, bare: Error) -> Error {
    httparse_error(&view[..at]).unwrap_or(bare)
}

/// Maps the error of `httparse` for a view to ours; `None` if it has none.
fn httparse_error(view: &[u8]) -> Option<Error> {
    let mut fields = uninit_fields();
    let mut request = Request::new(&mut []);
    let error = request.parse_with_uninit_headers(view, &mut fields).err()?;
    let start = view
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(0);
    Some(match error {
        httparse::Error::Token => match request.method {
            None => Error::RequestLine,
            Some(method) => in_target(view.get(start + method.len() + 1..).unwrap_or_default()),
        },
        httparse::Error::Version => {
            let method = request.method.unwrap_or_default();
            let target = request.path.unwrap_or_default();
            in_version(
                view.get(start + method.len() + target.len() + 2..)
                    .unwrap_or_default(),
            )
        }
        httparse::Error::HeaderName => in_field_name(&view[start..]),
        httparse::Error::HeaderValue => Error::FieldValue,
        httparse::Error::TooManyHeaders => Error::TooManyFields,
        httparse::Error::NewLine | httparse::Error::Status => Error::RequestLine,
    })
}

/// The error of bytes that start with a target that `httparse` refuses.
fn in_target(bytes: &[u8]) -> Error {
    match bytes
        .iter()
        .position(|byte| matches!(byte, 0..=b' ' | 0x7f))
    {
        Some(0) => Error::RequestLine,
        Some(end) if bytes[end] == b'\r' => Error::VersionMissing,
        _ => Error::Target,
    }
}

/// The error of bytes that start with a version that `httparse` refuses.
fn in_version(bytes: &[u8]) -> Error {
    match bytes.strip_prefix(b"HTTP/").and_then(<[u8]>::first) {
        Some(b'0'..=b'9') => Error::Version,
        _ => Error::RequestLine,
    }
}

/// The error of a head, from its request line on, with a field name that `httparse` refuses.
fn in_field_name(head: &[u8]) -> Error {
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let end = line.iter().position(|byte| !is_token(*byte));
        match end.map(|end| (end, line[end])) {
            Some((1.., b':')) => {}
            Some((0, b' ' | b'\t')) => return Error::ObsoleteFold,
            Some((_, b' ' | b'\t')) => return Error::SpaceBeforeColon,
            _ => break,
        }
    }
    Error::FieldName
}

/// Whether a byte is allowed in a token (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
