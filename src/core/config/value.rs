//! The syntax of the values of settings: durations, bytes, counts, flags, modes, addresses.
//!
//! Owns the parsers, for every source of settings. Each error is one line with the allowed syntax;
//! the caller adds the option and the value. The ranges are in `table`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{Address, Cors};
use crate::authority::Authority;

/// Finds the addresses of a host name: DNS, or a file of hosts.
pub type Resolve = fn(host: &str, port: u16) -> Result<Vec<SocketAddr>, String>;

const DURATION_UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];

const DURATION_SYNTAX: &str =
    "a duration is seconds, such as 30 or 0.5, or has a suffix: 500ms, 30s, 2m, 1h";

/// A duration: seconds, fractions allowed, or with a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = &text[digits.len()..];
        // `f64::from_str` also accepts signs, exponents and names such as `inf`.
        if !digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            return Err(DURATION_SYNTAX.into());
        }
        let unit = match suffix {
            "" => Some(1.0),
            _ => DURATION_UNITS
                .iter()
                .find(|(name, _)| *name == suffix)
                .map(|(_, unit)| *unit),
        };
        let number: Option<f64> = digits.parse().ok();
        let seconds = number.zip(unit).map(|(number, unit)| number * unit);
        let seconds = seconds.ok_or(DURATION_SYNTAX)?;
        Duration::try_from_secs_f64(seconds)
            .map(Span)
            .map_err(|_| "the duration is too long; at most 30 days, 720h, are allowed".into())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole_s = self.0.as_secs();
        match (whole_s, self.0.subsec_nanos()) {
            (0, 0) => f.write_str("0s"),
            (s, 0) if s % 3_600 == 0 => write!(f, "{}h", s / 3_600),
            (s, 0) if s % 60 == 0 => write!(f, "{}m", s / 60),
            (s, 0) => write!(f, "{s}s"),
            _ => write!(f, "{}s", self.0.as_secs_f64()),
        }
    }
}

const BYTE_UNITS: [(&str, u32); 3] = [("G", 30), ("M", 20), ("K", 10)];

const BYTES_SYNTAX: &str =
    "bytes are a whole number, or one with a suffix: 64K, 16M, 1G (of 1024) or 64KiB, 16MiB, 1GiB";

/// A number of bytes, plain or with a suffix of powers of 1,024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = &text[digits.len()..];
        let letter = suffix.strip_suffix("iB").unwrap_or(suffix);
        let shift = match suffix {
            "" => Some(0),
            _ => BYTE_UNITS
                .iter()
                .find(|(name, _)| letter.eq_ignore_ascii_case(name))
                .map(|(_, shift)| *shift),
        };
        let shift = shift.filter(|_| is_number(digits)).ok_or(BYTES_SYNTAX)?;
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
            .map(Bytes)
            .ok_or_else(|| "the number of bytes is too large".into())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, shift): &&(&str, u32)| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        match BYTE_UNITS.iter().find(fits) {
            Some((name, shift)) => write!(f, "{}{name}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Parses a count.
pub(super) fn count(text: &str) -> Result<u64, String> {
    if !is_number(text) {
        return Err("the value must be a whole number, such as 1000".into());
    }
    text.parse().map_err(|_| "the number is too large".into())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses a boolean.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("a boolean is true, yes, on or 1, or false, no, off or 0".into()),
    }
}

impl Address {
    /// Parses an address. `resolve` finds the addresses of a host name.
    ///
    /// # Errors
    ///
    /// The error describes the syntax of addresses, or why the name has no address.
    pub fn parse(text: &str, resolve: Resolve) -> Result<Address, String> {
        if let Some(inner) = text.strip_prefix("proxy:") {
            return Ok(Address::Proxied(Address::parse(inner, resolve)?.into()));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        let (host, port) = host_and_port(text).ok_or(
            "an address is host:port, [v6]:port or unix:/path, such as 127.0.0.1:7711; \
             for every interface: 0.0.0.0:7711 or [::]:7711",
        )?;
        let mut addresses = Vec::new();
        for address in resolve(&host, port)? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match *addresses {
            [] => Err(format!("{host} resolves to no address")),
            [address] => Ok(Address::Tcp(address)),
            _ => Ok(Address::Name {
                name: text.to_owned(),
                addresses,
            }),
        }
    }
}

impl Cors {
    /// Parses origins, or a single `*`.
    ///
    /// # Errors
    ///
    /// `*` is given together with other origins.
    pub fn parse(origins: &[String]) -> Result<Cors, String> {
        match origins {
            [origin] if origin == "*" => Ok(Cors::Any),
            _ if origins.iter().any(|origin| origin == "*") => {
                Err("* means every origin; give it alone, without others".into())
            }
            _ => Ok(Cors::Origins(origins.to_vec())),
        }
    }
}

/// Parses the mode of a unix socket's file: octal, as for chmod.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "a mode is three octal digits, such as 660".into())
}

/// Splits `host:port` or `[v6]:port`. The zone of a link-local address (`[fe80::1%eth0]:80`) is
/// passed to the resolver; authorities of URLs and of HTTP have no zone, so it is not parsed by
/// [`Authority`].
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (plain, zone) = match text.split_once('%') {
        Some((start, rest)) => {
            let end = rest.find(']')?;
            (
                format!("{start}{}", &rest[end..]),
                &text[start.len()..][..=end],
            )
        }
        None => (text.to_owned(), ""),
    };
    let authority = Authority::parse(plain.as_bytes())?;
    Some((authority.host() + zone, authority.port()?))
}

#[cfg(test)]
mod tests;
