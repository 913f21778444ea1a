//! Authorities (`host:port`) and origins (`scheme://host:port`): parsed, normalised, compared.
//!
//! Owns RFC 3986, 3.2.2, 3.2.3 and 6.2, for hosts and ports, and RFC 6454, 4 to 6: the syntax of a
//! `Host` field, the authority of a target, an `Origin` field, a configured origin and an address
//! option, and their comparison.
//!
//! Never resolves a name. It does not allocate to parse names, or to compare names without escapes,
//! because every request has a `Host`.
//!
//! Invariants:
//!
//! - *Equal values have equal texts.* Two values are equal if and only if they are displayed alike.
//! - *Displayed text is normal.* It parses to an equal value, which is displayed the same.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::base::decimal;

/// A host and an optional port (RFC 3986, 3.2), without user information, which HTTP refuses
/// (RFC 9110, 4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'b> {
    host: Host<'b>,
    /// An empty port is none (RFC 3986, 6.2.3).
    port: Option<u16>,
}

/// A host, as it was written. Comparison and display normalise it.
#[derive(Clone, Copy, Debug)]
enum Host<'b> {
    /// A registered name or an IPv4 address.
    Name(&'b [u8]),
    V6(Ipv6Addr),
    /// `v1.anything`, an address of a future IP version.
    Future(&'b [u8]),
}

impl<'b> Authority<'b> {
    /// Parses `host`, `host:` or `host:port`, the host not empty, the port at most 65535.
    ///
    /// A host is a name of the characters of RFC 3986 (`_` is one), percent-encoded octets
    /// included, an IPv4 address, or an IPv6 address in brackets. Zone identifiers are refused.
    #[inline]
    pub fn parse(bytes: &'b [u8]) -> Option<Authority<'b>> {
        let (host, rest) = match bytes {
            [b'[', inner @ ..] => {
                let end = inner.iter().position(|&byte| byte == b']')?;
                (Host::literal(&inner[..end])?, &inner[end + 1..])
            }
            _ => {
                let (name, rest) = bytes.split_at(name_length(bytes)?);
                if name.is_empty() {
                    return None;
                }
                (Host::Name(name), rest)
            }
        };
        let port = match rest {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        Some(Authority { host, port })
    }

    /// The port, if there is one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The host in the syntax of a resolver: normalised, an IPv6 address without its brackets.
    pub fn host(&self) -> String {
        match self.host {
            Host::V6(address) => address.to_string(),
            host => host.to_string(),
        }
    }

    /// Whether the host is an IP address or `localhost`, whose meaning no DNS server can change.
    pub fn is_address_or_localhost(&self) -> bool {
        match self.host {
            Host::V6(_) => true,
            Host::Future(_) => false,
            Host::Name(_) => {
                let name = self.host();
                name == "localhost" || name.parse::<Ipv4Addr>().is_ok()
            }
        }
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// A scheme, a host and a port (RFC 6454, 4); never the opaque origin `null`.
///
/// ```
/// use encke_core::authority::Origin;
///
/// let typed = Origin::parse(b"HTTPS://App.Example:443").unwrap();
/// assert_eq!(typed.to_string(), "https://app.example");
/// assert_eq!(Some(typed), Origin::parse(b"https://app.example"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Origin<'b> {
    scheme: &'b str,
    authority: Authority<'b>,
}

impl<'b> Origin<'b> {
    /// Parses `scheme://host` or `scheme://host:port`, the port from 1. There is no path, not even
    /// `/` (RFC 6454, 6.1).
    pub fn parse(bytes: &'b [u8]) -> Option<Origin<'b>> {
        let colon = bytes.iter().position(|&byte| byte == b':')?;
        let (scheme, rest) = bytes.split_at(colon);
        let authority = Authority::parse(rest.strip_prefix(b"://")?)?;
        let is_allowed = is_scheme(scheme) && authority.port != Some(0);
        let scheme = std::str::from_utf8(scheme).ok().filter(|_| is_allowed)?;
        Some(Origin { scheme, authority })
    }

    /// The port, or else the default port of the scheme; `None` for a scheme without one.
    pub fn port(&self) -> Option<u16> {
        self.authority.port.or_else(|| default_port(self.scheme))
    }

    /// Whether this is an origin of the server named by `host`: a `Host` field, or the authority of
    /// a target.
    ///
    /// `Host` has no scheme, and the server does not know it, because a proxy may terminate TLS. A
    /// `Host` without a port therefore has the default port of this origin's scheme: `app.example`
    /// is the host of `http://app.example` and of `https://app.example`, `app.example:443` only of
    /// the latter.
    pub fn is_at(&self, host: &Authority<'_>) -> bool {
        let default = default_port(self.scheme);
        default.is_some()
            && self.authority.host == host.host
            && self.port() == host.port.or(default)
    }

    /// Whether the host is an IP address or `localhost`.
    pub fn is_address_or_localhost(&self) -> bool {
        self.authority.is_address_or_localhost()
    }

    /// Whether a browser can send this origin. Browsers write IPv4 addresses as four decimal
    /// numbers, and names in ASCII without escapes (WHATWG URL, 3.5). A `*` is not a wildcard.
    pub fn is_of_browser(&self) -> bool {
        let Host::Name(name) = self.authority.host else {
            return matches!(self.authority.host, Host::V6(_));
        };
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        let mut labels = name.rsplit(|&byte| byte == b'.');
        let last = labels.find(|label| !label.is_empty()).unwrap_or_default();
        let is_number = match last {
            // A name that ends in a number is an address to browsers, which then write it as one.
            [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
            digits => digits.iter().all(u8::is_ascii_digit),
        };
        let is_v4 = || self.authority.host().parse::<Ipv4Addr>().is_ok();
        name.iter().all(is_plain) && !last.is_empty() && (!is_number || is_v4())
    }
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.authority.host == other.authority.host
            && self.port() == other.port()
    }
}

impl Eq for Origin<'_> {}

impl fmt::Display for Origin<'_> {
    /// Writes the serialised origin (RFC 6454, 6.2): as browsers send it, without a default port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.authority.port;
        let authority = Authority {
            port: port.filter(|_| port != default_port(self.scheme)),
            ..self.authority
        };
        write!(f, "{}://{authority}", self.scheme.to_ascii_lowercase())
    }
}

/// The default port of `http` and `https`.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme.len() {
        4 if scheme.eq_ignore_ascii_case("http") => Some(80),
        5 if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

/// Whether bytes are a scheme (RFC 3986, 3.1).
fn is_scheme(bytes: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().all(is_part)
}

impl<'b> Host<'b> {
    /// Parses the text between brackets.
    fn literal(bytes: &'b [u8]) -> Option<Host<'b>> {
        let is_future_byte = |byte: &u8| is_name_byte(*byte) || *byte == b':';
        if let [b'v' | b'V', future @ ..] = bytes {
            let dot = future.iter().position(|&byte| byte == b'.')?;
            let (version, address) = (&future[..dot], &future[dot + 1..]);
            let is_version = !version.is_empty() && version.iter().all(u8::is_ascii_hexdigit);
            let is_address = !address.is_empty() && address.iter().all(is_future_byte);
            return (is_version && is_address).then_some(Host::Future(bytes));
        }
        let text = std::str::from_utf8(bytes).ok()?;
        text.parse().ok().map(Host::V6)
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(a), Host::Name(b)) => {
                let is_escaped = || a.contains(&b'%') || b.contains(&b'%');
                a.eq_ignore_ascii_case(b) || is_escaped() && normal_name(a) == normal_name(b)
            }
            (Host::V6(a), Host::V6(b)) => a == b,
            (Host::Future(a), Host::Future(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(&normal_name(name)),
            Host::Future(text) => write!(f, "[{}]", normal_name(text)),
            // Rust writes an IPv4-mapped address with a dotted tail, browsers do not (WHATWG URL,
            // 3.5).
            Host::V6(address) => match address.segments() {
                [0, 0, 0, 0, 0, 0xffff, high, low] => write!(f, "[::ffff:{high:x}:{low:x}]"),
                _ => write!(f, "[{address}]"),
            },
        }
    }
}

/// A checked name in its normal form (RFC 3986, 6.2.2): lower case, unreserved characters not
/// escaped, the digits of other escapes in upper case.
fn normal_name(name: &[u8]) -> String {
    let mut normal = String::with_capacity(name.len());
    let mut rest = name;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', &[high, low, ref after @ ..]) => {
                rest = after;
                let escape = [char::from(high), char::from(low)];
                let digits = escape.map(|digit| digit.to_digit(16).unwrap_or_default());
                let octet = char::from((digits[0] << 4 | digits[1]) as u8);
                if octet.is_ascii_alphanumeric() || "-._~".contains(octet) {
                    normal.push(octet.to_ascii_lowercase());
                } else {
                    normal.push('%');
                    normal.extend(escape.map(|digit| digit.to_ascii_uppercase()));
                }
            }
            _ => normal.push(char::from(first.to_ascii_lowercase())),
        }
    }
    normal
}

/// The length of the name at the start, in bytes; `None` if a `%` in it is not followed by two
/// hexadecimal digits.
fn name_length(bytes: &[u8]) -> Option<usize> {
    let plain_from = |start: usize| {
        let end = bytes[start..].iter().position(|byte| !is_name_byte(*byte));
        end.map_or(bytes.len(), |end| start + end)
    };
    let mut length = plain_from(0);
    // Nearly all names have no escape.
    while bytes.get(length) == Some(&b'%') {
        let escape = bytes.get(length + 1..length + 3)?;
        if !escape.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        length = plain_from(length + 3);
    }
    Some(length)
}

/// A port of one digit or more; leading zeros are allowed (RFC 3986, 3.2.3).
fn port(digits: &[u8]) -> Option<u16> {
    u16::try_from(decimal::exact(digits)?).ok()
}

/// Whether a byte is allowed unescaped in a name: unreserved, or a delimiter (RFC 3986, 3.2.2).
fn is_name_byte(byte: u8) -> bool {
    const IS_NAME_BYTE: [bool; 256] = {
        let mut table = [false; 256];
        let marks = b"-._~!$&'()*+,;=";
        let mut at = 0;
        while at < 256 {
            table[at] = (at as u8).is_ascii_alphanumeric();
            at += 1;
        }
        let mut at = 0;
        while at < marks.len() {
            table[marks[at] as usize] = true;
            at += 1;
        }
        table
    };
    IS_NAME_BYTE[usize::from(byte)]
}
