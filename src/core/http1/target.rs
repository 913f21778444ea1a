//! Request targets: their four forms, percent-encoding and parameters.
//!
//! Owns RFC 9112, 3.2 and the parts of RFC 3986 that a server needs. Everything stays raw until
//! [`decode`] is called: targets are split before they are decoded, because an encoded `/` or `&`
//! must not split.
//!
//! Some searches use plain loops: most paths and names are so short that a vectorised search costs
//! more.

use std::borrow::Cow;

use memchr::memchr;

use super::Error;
use crate::authority::Authority;

/// Decodes percent-encoding. A plus stays a plus.
///
/// `None` if a `%` is not followed by two hexadecimal digits.
pub fn decode(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(mut at) = raw.iter().position(|&byte| byte == b'%') else {
        return Some(Cow::Borrowed(raw));
    };
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        decoded.extend_from_slice(&rest[..at]);
        let &[high, low, ref after @ ..] = &rest[at + 1..] else {
            return None;
        };
        decoded.push(hex(high)? << 4 | hex(low)?);
        rest = after;
        match memchr(b'%', rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    decoded.extend_from_slice(rest);
    Some(Cow::Owned(decoded))
}

/// The parameters of a raw query, in order, as raw names and values.
///
/// `&` separates parameters, and the first `=` a name from its value. Without `=` the value is
/// empty. An empty text between two `&` is not a parameter.
pub fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        })
}

/// Splits a target into path and query, both raw.
pub(super) fn split<'b>(method: &str, target: &'b [u8]) -> Result<(&'b [u8], &'b [u8]), Error> {
    let (path, query) = split_query(target)?;
    if method == "CONNECT" {
        let port = Authority::parse(target).and_then(|authority| authority.port());
        return port.map(|_| (target, &b""[..])).ok_or(Error::Target);
    }
    let path = match target {
        [b'/', ..] => Some(path),
        b"*" if method == "OPTIONS" => Some(path),
        _ => absolute_path(path),
    };
    path.map(|path| (path, query)).ok_or(Error::Target)
}

/// The host, and the port, of an absolute target.
pub(super) fn authority(target: &[u8]) -> Option<&[u8]> {
    match target {
        [b'/', ..] => None,
        _ => split_authority(target).map(|(authority, _)| authority),
    }
}

/// Splits a target before its query. Targets have no fragment (RFC 9112, 3.2).
fn split_query(target: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let Some(end) = target.iter().position(|byte| matches!(byte, b'?' | b'#')) else {
        return Ok((target, b""));
    };
    match memchr(b'#', &target[end..]) {
        None => Ok((&target[..end], &target[end + 1..])),
        Some(_) => Err(Error::Fragment),
    }
}

/// The path of an absolute target without its query.
fn absolute_path(target: &[u8]) -> Option<&[u8]> {
    let (authority, path) = split_authority(target)?;
    Authority::parse(authority)?;
    Some(if path.is_empty() { b"/" } else { path })
}

/// Splits an absolute target before its path.
fn split_authority(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let after = after_scheme(target, b"http://").or_else(|| after_scheme(target, b"https://"))?;
    let end = after
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(after.len());
    Some(after.split_at(end))
}

fn after_scheme<'b>(target: &'b [u8], scheme: &[u8]) -> Option<&'b [u8]> {
    let (start, after) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(after)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The naive model: one byte after the other.
    fn naive_decode(raw: &[u8]) -> Option<Vec<u8>> {
        let mut decoded = Vec::new();
        let mut bytes = raw.iter();
        while let Some(byte) = bytes.next() {
            if *byte != b'%' {
                decoded.push(*byte);
                continue;
            }
            let high = char::from(*bytes.next()?).to_digit(16)?;
            let low = char::from(*bytes.next()?).to_digit(16)?;
            decoded.push((high * 16 + low) as u8);
        }
        Some(decoded)
    }

    #[test]
    fn percent_encoding_is_decoded() {
        let check =
            |raw: &[u8], expected: Option<&[u8]>| assert_eq!(decode(raw).as_deref(), expected);
        check(b"", Some(b""));
        check(b"a+b", Some(b"a+b"));
        check(b"%2F%2f%00%ff%25", Some(b"//\0\xff%"));
        check(b"a%20b%C3%A9c", Some("a béc".as_bytes()));
        for wrong in [
            "%", "a%", "%2", "%2%", "%%", "%2g", "%g2", "% 2", "%+2", "%u1234", "%-1",
        ] {
            check(wrong.as_bytes(), None);
        }
        assert!(matches!(decode(b"plain"), Some(Cow::Borrowed(b"plain"))));
    }

    proptest! {
        #[test]
        fn decode_equals_the_naive_twin(raw in vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&raw).map(Cow::into_owned), naive_decode(&raw));
        }

        #[test]
        fn decode_of_many_escapes_equals_the_naive_twin(raw in "([a-g%+]|%[0-9a-fA-F]{2}){0,20}") {
            let raw = raw.as_bytes();
            prop_assert_eq!(decode(raw).map(Cow::into_owned), naive_decode(raw));
        }

        #[test]
        fn decode_reverses_encoding(bytes in vec(any::<u8>(), 0..40)) {
            let raw: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            let decoded = decode(raw.as_bytes());
            prop_assert_eq!(decoded.as_deref(), Some(&bytes[..]));
        }
    }

    #[test]
    fn parameters_are_split_raw() {
        let check = |query: &str, expected: &[(&str, &str)]| {
            let pairs: Vec<_> = parameters(query.as_bytes()).collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect();
            assert_eq!(pairs, expected, "{query}");
        };
        check("", &[]);
        check("&&", &[]);
        check("a", &[("a", "")]);
        check("a=", &[("a", "")]);
        check("=b", &[("", "b")]);
        check(
            "a=b=c&&d=%26&a=+",
            &[("a", "b=c"), ("d", "%26"), ("a", "+")],
        );
    }

    #[test]
    fn each_form_of_target_is_split() {
        let check = |method: &str, target: &str, expected: Result<(&str, &str), Error>| {
            let expected = expected.map(|(path, query)| (path.as_bytes(), query.as_bytes()));
            assert_eq!(
                split(method, target.as_bytes()),
                expected,
                "{method} {target}"
            );
        };
        check("GET", "/", Ok(("/", "")));
        check("GET", "//a?b?c", Ok(("//a", "b?c")));
        check("GET", "/?", Ok(("/", "")));
        check("GET", "/http://a/", Ok(("/http://a/", "")));
        check("GET", "http://a", Ok(("/", "")));
        check("GET", "HTTPS://[::1]:80?q", Ok(("/", "q")));
        check("GET", "hTTp://a.b:8080/c/d?e=/f", Ok(("/c/d", "e=/f")));
        check("GET", "http://a?b/c", Ok(("/", "b/c")));
        check("OPTIONS", "*", Ok(("*", "")));
        check("OPTIONS", "/a", Ok(("/a", "")));
        check("CONNECT", "a.b:443", Ok(("a.b:443", "")));
        for target in ["/a#b", "#", "http://a/#", "/?#"] {
            check("GET", target, Err(Error::Fragment));
        }
        for target in [
            "*",
            "a",
            "a/b",
            "?a",
            "a.b:443",
            "http:/a",
            "http://",
            "http:///a",
            "http://u@a/",
            "http://a:b/",
            "http://:80/",
            "ftp://a/",
            "https:a",
            "http://a%/",
            "http://[::1/",
        ] {
            check("GET", target, Err(Error::Target));
        }
        check("OPTIONS", "*?a", Err(Error::Target));
        for target in ["/", "a.b", "a.b:", "http://a/", "*"] {
            check("CONNECT", target, Err(Error::Target));
        }
    }
}
