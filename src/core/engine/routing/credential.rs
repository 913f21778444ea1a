//! Where a request carries its credential.
//!
//! Owns the three places of a token, and their order: `Authorization: Bearer` (RFC 6750, section
//! 2.1), the parameter `token`, the cookie. It does not judge what it finds there.

use std::borrow::Cow;

use super::params::{last, parameters};
use crate::authority::{Authority, Origin};
use crate::http1::{self, Head};

/// The credential in the scheme `Bearer`, which may be empty; `None` for other schemes.
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer";
    let (scheme, credential) = value.split_at_checked(SCHEME.len())?;
    let is_whole = credential.first().is_none_or(|&byte| byte == b' ');
    (is_whole && scheme.eq_ignore_ascii_case(SCHEME)).then(|| credential.trim_ascii())
}

/// The token of a request; `None` where it has none. `cookie_name` is the cookie to look at;
/// `allows_any` says that pages of every origin may read.
///
/// An empty parameter or cookie counts as none, an empty `Bearer` does not.
pub(super) fn token<'b>(
    head: &Head<'b>,
    cookie_name: Option<&str>,
    allows_any: bool,
) -> Option<Cow<'b, [u8]>> {
    if let Some(token) = head.authorization.and_then(bearer) {
        return Some(Cow::Borrowed(token));
    }
    let parameter = last(head.query, b"token").filter(|raw| !raw.is_empty());
    if let Some(raw) = parameter {
        // What cannot be decoded is no token, and is judged as it is.
        return Some(http1::decode(raw).unwrap_or(Cow::Borrowed(raw)));
    }
    let cookie = cookie_name.filter(|_| takes_cookie(head, allows_any))?;
    let token = cookie_value(head.cookie?, cookie.as_bytes())?;
    (!token.is_empty()).then_some(Cow::Borrowed(token))
}

/// Whether the cookie of a request may be its credential. A browser adds it to the requests of any
/// page. What such a request returns is safe from a page of another origin by CORS, unless it is a
/// script (JSONP), which every page may load.
///
/// Where pages of every origin may read, they may do so without cookies only. So the cookie counts
/// neither for a page that sends another `Origin`, as it could publish, nor for a frame that posts
/// to the origin that it names.
fn takes_cookie(head: &Head<'_>, allows_any: bool) -> bool {
    if head.is_from_same_origin {
        return true;
    }
    let has = |wanted: &[u8]| parameters(head.query).any(|(name, _)| *name == *wanted);
    if has(b"callback") {
        return false;
    }
    let is_foreign = |origin: &[u8]| origin_of_host(head, origin).is_none();
    !allows_any || !(head.origin.is_some_and(is_foreign) || has(b"origin"))
}

/// The origin, if the `Host` of a request is its own.
pub(super) fn origin_of_host<'b>(head: &Head<'b>, origin: &'b [u8]) -> Option<Origin<'b>> {
    let host = head.host.and_then(Authority::parse)?;
    Origin::parse(origin).filter(|origin| origin.is_at(&host))
}

/// The value of the first cookie of this name (RFC 6265, section 4.2.1), without quotes.
fn cookie_value<'b>(cookies: &'b [u8], wanted: &[u8]) -> Option<&'b [u8]> {
    let mut pairs = cookies.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| {
        let value = pair.strip_prefix(wanted)?.strip_prefix(b"=")?;
        let unquoted = value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""));
        Some(unquoted.unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Outcome, Scan};

    #[test]
    fn bearers() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        assert_eq!(bearer(b"Bearer"), Some(&b""[..]));
        assert_eq!(bearer(b"Bearer "), Some(&b""[..]));
        assert_eq!(bearer(b"Bearer a b"), Some(&b"a b"[..]));
        for other in [&b"Basic abc"[..], b"Bearerabc", b"Bear", b""] {
            assert_eq!(bearer(other), None);
        }
    }

    /// The token of a request with this query and these fields, where cookies named `t` are used.
    fn found(query: &str, fields: &str) -> Option<String> {
        let text = format!("GET /poll/a?{query} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let outcome = http1::parse(text.as_bytes(), &mut Scan::default(), 16 << 10);
        let Ok(Outcome::Complete { head, .. }) = outcome else {
            panic!("no head: {text}")
        };
        token(&head, Some("t"), false).map(|token| String::from_utf8(token.into_owned()).unwrap())
    }

    #[test]
    fn places_of_a_token_and_their_order() {
        let found = |query: &str, fields: &str| found(query, fields).unwrap_or("-".into());
        let all = "Authorization: Bearer h\r\nCookie: t=c\r\n";
        assert_eq!(found("token=q", all), "h");
        assert_eq!(found("token=q", "Cookie: t=c\r\n"), "q");
        assert_eq!(found("", "Cookie: t=c\r\n"), "c");
        assert_eq!(found("", "Authorization: Basic h\r\nCookie: t=c\r\n"), "c");
        assert_eq!(found("token=", ""), "-");
        assert_eq!(found("token=", "Cookie: t=c\r\n"), "c");
        assert_eq!(found("token=a&token=b", ""), "b");
        assert_eq!(found("token=a%2Eb", ""), "a.b");
        assert_eq!(found("t%6Fken=q", ""), "q");
        assert_eq!(found("", "Authorization: Bearer\r\nCookie: t=c\r\n"), "");
    }

    #[test]
    fn cookies() {
        let found = |cookies: &str| found("", &format!("Cookie: {cookies}\r\n"));
        for (cookies, expected) in [
            ("a=1; t=c; b=2", Some("c")),
            ("t=c;t=d", Some("c")),
            ("t=\"c\"", Some("c")),
            ("t=c=d", Some("c=d")),
            ("xt=c", None),
            ("t", None),
            ("t=", None),
            ("T=c", None),
            ("a=\"t=c\"", None),
        ] {
            assert_eq!(found(cookies).as_deref(), expected, "{cookies}");
        }
    }

    /// Every page may load a script from anywhere, and the browser sends the cookie with it.
    #[test]
    fn script_of_another_origin_has_no_cookie() {
        let cookie = "Cookie: t=c\r\n";
        assert_eq!(found("callback=f", cookie), None);
        assert_eq!(found("c%61llback=f", cookie), None);
        let same = format!("{cookie}Sec-Fetch-Site: same-origin\r\n");
        assert_eq!(found("callback=f", &same).as_deref(), Some("c"));
        assert_eq!(found("callback=f&token=q", cookie).as_deref(), Some("q"));
    }
}
