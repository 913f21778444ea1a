//! Which rule a head has broken.
//!
//! Owns the translation of what the parser below says into a precise [`Error`]. The parser knows
//! neither where it failed nor bare line feeds; both are found here, at leisure, since the
//! connection ends with it.
//!
//! Invariant: the first defect counts. So a head gets the same error whole as in pieces.

use httparse::{Header, Request};
use std::mem::MaybeUninit;

use super::Error;
use super::scan::first_bare;

/// The most fields a head may have.
pub(super) const MAX_FIELDS: usize = 100;

/// Room for the fields of one head, not initialised since most of it stays unused.
pub(super) const fn uninit_fields<'b>() -> [MaybeUninit<Header<'b>>; MAX_FIELDS] {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// The defect of a view that the parser refuses.
///
/// `None` if it cannot be told yet: a CR at the very end, which is either half a line end in the
/// wrong place or bare.
pub(super) fn diagnose(view: &[u8]) -> Option<Error> {
    if let Some((at, bare)) = first_bare(view) {
        return Some(diagnose_before(view, at, bare));
    }
    match view.split_last() {
        Some((b'\r', before)) if httparse_error(before).is_none() => None,
        _ => Some(httparse_error(view).unwrap_or(Error::RequestLine)),
    }
}

/// The defect of a view with a bare CR or LF at an index: that, unless one comes before it.
pub(super) fn diagnose_before(view: &[u8], at: usize, bare: Error) -> Error {
    httparse_error(&view[..at]).unwrap_or(bare)
}

/// What the parser has against a view; `None` if nothing.
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

/// Judges bytes that start with a target the parser refuses.
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

/// Judges bytes that start with a version the parser refuses.
fn in_version(bytes: &[u8]) -> Error {
    match bytes.strip_prefix(b"HTTP/").and_then(<[u8]>::first) {
        Some(b'0'..=b'9') => Error::Version,
        _ => Error::RequestLine,
    }
}

/// Judges a head, from its request line on, with a field name that the parser refuses.
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

/// Whether a byte may stand in a token (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
