//! Request heads: however they are cut, and against two other readings.
//!
//! The one is what the parsing library alone says; the other goes line by line and knows nothing
//! but the RFC. Where the server says that a head is complete, both must find the same in it; where
//! a plain request is complete to the slow reader, the server must not refuse it.

use encke_core::http1::{Error, Framing, Head, Method, Outcome, Scan, Version, parse};

use crate::cut;
use crate::syntax::is_token;

const MAX_HEAD_BYTES: usize = 1_024;

/// Reads bytes as a request head.
pub fn head(bytes: &[u8]) {
    let whole = read(bytes, &[bytes.len()], MAX_HEAD_BYTES);
    for ends in cut::ways(bytes) {
        let pieces = read(bytes, &ends, MAX_HEAD_BYTES);
        match (&whole, &pieces) {
            (Err(error), Ok(Outcome::Partial)) => refused_later(bytes, &ends, *error),
            _ => assert_eq!(pieces, whole, "cut at {ends:?}"),
        }
    }
    match &whole {
        Ok(Outcome::Complete { head, length }) => {
            let bytes = &bytes[..*length];
            agrees_with_library(bytes, head);
            let slow = Slow::read(bytes).expect("complete, and the slow reader disagrees");
            slow.compare(head);
            limits(bytes);
        }
        Ok(Outcome::Partial) => {
            assert!(bytes.len() < MAX_HEAD_BYTES, "waits beyond the limit");
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let only_empty = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            assert!(
                end.is_none() || Slow::lines(bytes).is_none() || only_empty,
                "waits, and its end is here"
            );
        }
        Err(error) => {
            assert!((400..=505).contains(&error.status()));
            if let Some(slow) = Slow::first(bytes) {
                assert!(!slow.is_plain(), "refused for nothing: {error:?}");
            }
        }
    }
}

fn read<'b>(bytes: &'b [u8], ends: &[usize], max: usize) -> Result<Outcome<'b>, Error> {
    let mut scan = Scan::default();
    for &end in ends {
        match parse(&bytes[..end], &mut scan, max)? {
            Outcome::Partial => {}
            complete => return Ok(complete),
        }
    }
    Ok(Outcome::Partial)
}

/// The fault of a head that comes in pieces may be reported at its end, and is the same then.
fn refused_later(bytes: &[u8], ends: &[usize], error: Error) {
    let whole = [bytes, b"\r\n\r\n"].concat();
    let mut ends = ends.to_vec();
    ends.extend(bytes.len() + 1..=whole.len());
    assert_eq!(
        read(&whole, &ends, MAX_HEAD_BYTES),
        Err(error),
        "cut at {ends:?}"
    );
}

/// A head is allowed at exactly its length, and no shorter.
fn limits(bytes: &[u8]) {
    let length = bytes.len();
    assert!(read(bytes, &[length], length).is_ok());
    for ends in cut::ways(bytes) {
        let refused = read(bytes, &ends, length - 1);
        let is_long = matches!(refused, Err(Error::HeadTooLong | Error::TargetTooLong));
        assert!(is_long, "{refused:?} with one byte too many");
    }
}

fn agrees_with_library(bytes: &[u8], head: &Head<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; 200];
    let mut request = httparse::Request::new(&mut fields);
    let status = request
        .parse(bytes)
        .expect("complete, and the library refuses it");
    assert_eq!(status, httparse::Status::Complete(bytes.len()));
    assert_eq!(
        Some(request.version == Some(1)),
        Some(head.version == Version::Http11)
    );
    let target = request.path.expect("a target").as_bytes();
    assert!(target.ends_with(head.query));
}

/// A head as somebody reads it who goes by lines.
struct Slow<'b> {
    method: &'b [u8],
    target: &'b [u8],
    version: &'b [u8],
    fields: Vec<(Vec<u8>, &'b [u8])>,
}

impl<'b> Slow<'b> {
    /// The lines up to and without the empty one, empty ones before them aside.
    fn lines(bytes: &'b [u8]) -> Option<(Vec<&'b [u8]>, usize)> {
        let mut lines = Vec::new();
        let mut at = 0;
        loop {
            let end = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
            let line = &bytes[at..end];
            at = end + 2;
            match (line.is_empty(), lines.is_empty()) {
                (true, true) => {}
                (true, false) => return Some((lines, at)),
                (false, _) => lines.push(line),
            }
        }
    }

    /// The head that all of the bytes are.
    fn read(bytes: &'b [u8]) -> Option<Slow<'b>> {
        let (lines, length) = Slow::lines(bytes)?;
        (length == bytes.len()).then(|| Slow::of(&lines))?
    }

    /// The head that the bytes begin with.
    fn first(bytes: &'b [u8]) -> Option<Slow<'b>> {
        let (lines, length) = Slow::lines(bytes)?;
        (length <= MAX_HEAD_BYTES).then(|| Slow::of(&lines))?
    }

    fn of(lines: &[&'b [u8]]) -> Option<Slow<'b>> {
        let is_control = |&byte: &u8| byte.is_ascii_control() && byte != b'\t';
        if lines.iter().any(|line| line.iter().any(is_control)) {
            return None;
        }
        let mut words = lines[0].split(|&byte| byte == b' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        let mut fields = Vec::new();
        for line in &lines[1..] {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if !is_token(name) {
                return None;
            }
            // Of what it trims, only spaces and tabs can be here.
            fields.push((name.to_ascii_lowercase(), value.trim_ascii()));
        }
        Some(Slow {
            method,
            target,
            version,
            fields,
        })
    }

    fn all(&self, name: &str) -> Vec<&'b [u8]> {
        let named = self.fields.iter().filter(|(n, _)| n == name.as_bytes());
        named.map(|&(_, value)| value).collect()
    }

    /// The only field of a name.
    fn only(&self, name: &str) -> Option<&'b [u8]> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there twice, and one was chosen");
        all.first().copied()
    }

    fn has_option(&self, wanted: &str) -> bool {
        let all = self.all("connection");
        let mut options = all
            .iter()
            .flat_map(|value| value.split(|&byte| byte == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
    }

    fn framing(&self) -> Framing {
        let length = self.only("content-length");
        match self.only("transfer-encoding") {
            Some(coding) => {
                assert!(length.is_none(), "a length and a coding");
                assert_eq!(self.version, b"HTTP/1.1", "a coding in 1.0");
                assert!(coding.eq_ignore_ascii_case(b"chunked"), "another coding");
                Framing::Chunked
            }
            None => length.map_or(Framing::None, |digits| {
                assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
                let digits = std::str::from_utf8(digits).expect("digits");
                Framing::Length(digits.parse().expect("a length below 2^64"))
            }),
        }
    }

    fn method(&self) -> Option<Method> {
        Some(match self.method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"CONNECT" | b"PATCH" | b"TRACE" => Method::Other,
            _ => return None,
        })
    }

    /// Path and query, of a target that begins with a slash or a scheme.
    fn path(&self) -> (Vec<u8>, Vec<u8>) {
        let target = match self.target {
            [b'/', ..] | b"*" => self.target,
            _ if self.method == b"CONNECT" => return (self.target.to_vec(), Vec::new()),
            absolute => {
                let text = absolute.to_ascii_lowercase();
                let scheme = if text.starts_with(b"https://") { 8 } else { 7 };
                assert!(text.starts_with(b"http"), "a target of no form");
                let after = &absolute[scheme..];
                let end = after.iter().position(|byte| b"/?".contains(byte));
                &after[end.unwrap_or(after.len())..]
            }
        };
        let mut parts = target.splitn(2, |&byte| byte == b'?');
        let path = parts.next().unwrap_or_default();
        let path: &[u8] = if path.is_empty() { b"/" } else { path };
        (path.to_vec(), parts.next().unwrap_or_default().to_vec())
    }

    /// The authority of an absolute target.
    fn target_host(&self) -> Option<&'b [u8]> {
        let slashes = self.target.windows(3).position(|three| three == b"://")?;
        if self.target.starts_with(b"/") || self.method == b"CONNECT" {
            return None;
        }
        let after = &self.target[slashes + 3..];
        let end = after.iter().position(|byte| b"/?".contains(byte));
        Some(&after[..end.unwrap_or(after.len())])
    }

    fn compare(&self, head: &Head<'_>) {
        assert_eq!(Some(head.method), self.method());
        let version = match head.version {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        };
        assert_eq!(self.version, version);
        assert!(!self.target.contains(&b'#'), "a fragment");
        let (path, query) = self.path();
        assert_eq!((head.path, head.query), (&path[..], &query[..]));
        assert_eq!(head.framing, self.framing());
        let is_11 = head.version == Version::Http11;
        let stays = !self.has_option("close") && (is_11 || self.has_option("keep-alive"));
        // Nothing follows a CONNECT: it may have been meant for the tunnel that there is not.
        assert_eq!(head.keep_alive, stays && self.method != b"CONNECT");
        let expects = self.all("expect");
        let is_continue = |value: &&[u8]| value.eq_ignore_ascii_case(b"100-continue");
        assert!(!is_11 || expects.iter().all(is_continue));
        assert_eq!(head.expect_continue, is_11 && !expects.is_empty());
        // The host of an absolute target counts before the field, which has to be there all the
        // same.
        let field = self.only("host");
        assert!(!is_11 || field.is_some());
        assert_eq!(head.host, self.target_host().or(field));
        let codings = self.all("content-encoding").into_iter();
        let is_coded = codings
            .flat_map(|list| list.split(|&byte| byte == b','))
            .any(|coding| {
                !coding.trim_ascii().is_empty()
                    && !coding.trim_ascii().eq_ignore_ascii_case(b"identity")
            });
        assert_eq!(head.has_content_coding, is_coded);
        let sites = self.all("sec-fetch-site");
        let is_same = !sites.is_empty() && sites.iter().all(|site| *site == b"same-origin");
        assert_eq!(head.is_from_same_origin, is_same);
        // Of several the first counts.
        assert_eq!(head.cookie, self.all("cookie").first().copied());
        let tags = self.all("if-none-match").first().copied();
        assert_eq!(head.if_none_match, tags);
        for (name, value) in [
            ("last-event-id", head.last_event_id),
            ("origin", head.origin),
            ("content-type", head.content_type),
            ("authorization", head.authorization),
            ("idempotency-key", head.idempotency_key),
            ("encke-event", head.encke_event),
            ("access-control-request-method", head.preflight_method),
        ] {
            assert_eq!(self.only(name), value, "{name}");
        }
    }

    /// Whether there is nothing in it that a server could object to.
    fn is_plain(&self) -> bool {
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"/?=&,-".contains(byte);
        let is_known = |name: &[u8]| matches!(name, b"host" | b"accept" | b"origin" | b"x");
        let mut names: Vec<&[u8]> = self.fields.iter().map(|(name, _)| &name[..]).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        matches!(self.method, b"GET" | b"POST")
            && self.target.starts_with(b"/")
            && self.target.iter().all(is_letter)
            && self.version == b"HTTP/1.1"
            && names.len() == count
            && names.iter().all(|name| is_known(name))
            && self
                .all("host")
                .first()
                .is_some_and(|host| host.iter().all(u8::is_ascii_alphanumeric))
    }
}
