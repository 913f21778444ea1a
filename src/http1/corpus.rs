//! Requests with their bodies, right and wrong, and what each must come to however it is cut.

use super::Error;

/// Limits that all cases are read with.
pub(super) const MAX_HEAD_BYTES: usize = 700;
pub(super) const MAX_BODY_BYTES: usize = 32;

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Read whole: target (path and query), body, and what is left for the next request.
    Read {
        target: String,
        body: Vec<u8>,
        rest: Vec<u8>,
    },
    /// Refused.
    Refused(Error),
    /// Not complete.
    Waiting,
}

/// One request.
pub(super) struct Case {
    pub(super) bytes: Vec<u8>,
    pub(super) verdict: Verdict,
}

/// A head whose body comes in chunks.
const CHUNKED: &str = "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n";

/// All requests.
pub(super) fn cases() -> Vec<Case> {
    let whole = READ.iter().map(|(bytes, target, body, rest)| {
        let (target, body, rest) = (target.to_string(), body.as_bytes(), rest.as_bytes());
        (
            bytes.to_string(),
            Verdict::Read {
                target,
                body: body.to_vec(),
                rest: rest.to_vec(),
            },
        )
    });
    let in_chunks = CHUNKS_READ.iter().map(|(chunks, body, rest)| {
        let (target, body, rest) = ("/p?".to_string(), body.as_bytes(), rest.as_bytes());
        let verdict = Verdict::Read {
            target,
            body: body.to_vec(),
            rest: rest.to_vec(),
        };
        (format!("{CHUNKED}{chunks}"), verdict)
    });
    let refused = REFUSED
        .iter()
        .map(|(bytes, error)| (bytes.to_string(), *error));
    let chunks = CHUNKS_REFUSED.iter();
    let chunks = chunks.map(|(chunks, error)| (format!("{CHUNKED}{chunks}"), *error));
    let refused = refused.chain(chunks).chain(large());
    let waiting = WAITING
        .iter()
        .map(|bytes| (bytes.to_string(), Verdict::Waiting));
    whole
        .chain(in_chunks)
        .chain(refused.map(|(bytes, error)| (bytes, Verdict::Refused(error))))
        .chain(waiting)
        .map(|(bytes, verdict)| Case {
            bytes: bytes.into_bytes(),
            verdict,
        })
        .collect()
}

/// Requests that a limit refuses.
fn large() -> Vec<(String, Error)> {
    let start = "GET / HTTP/1.1\r\nHost: h\r\n";
    vec![
        (
            format!("GET /{} HTTP/1.1\r\n", "a".repeat(800)),
            Error::TargetTooLong,
        ),
        (
            format!("{start}A: {}\r\n\r\n", "a".repeat(800)),
            Error::HeadTooLong,
        ),
        (
            format!("{start}{}\r\n", "A: bcde\r\n".repeat(99)),
            Error::HeadTooLong,
        ),
        (
            format!("{start}{}\r\n", "A:b\r\n".repeat(100)),
            Error::TooManyFields,
        ),
        (
            format!("{}{start}\r\n", "\r\n".repeat(340)),
            Error::HeadTooLong,
        ),
        (
            format!("{CHUNKED}1;{}", "x".repeat(256)),
            Error::ChunkLineTooLong,
        ),
    ]
}

/// Requests, their targets, their bodies and what follows them.
const READ: &[(&str, &str, &str, &str)] = &[
    ("GET / HTTP/1.0\r\n\r\n", "/?", "", ""),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "/?", "", ""),
    (
        "GET /poll/a,b?since=1-2&limit=3 HTTP/1.1\r\nHost: h:80\r\n\r\n",
        "/poll/a,b?since=1-2&limit=3",
        "",
        "",
    ),
    (
        "HEAD /long-poll/a%2Fb HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        "/long-poll/a%2Fb?",
        "",
        "",
    ),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "/?", "", ""),
    (
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\n",
        "/1?",
        "",
        "GET /2 HTTP/1.1\r\n",
    ),
    (
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\r\n\n\r",
        "/1?",
        "",
        "\r\n\n\r",
    ),
    (
        "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n",
        "/a?b",
        "",
        "",
    ),
    (
        "GET HTTPS://h:1?b HTTP/1.1\r\nHost: h\r\n\r\n",
        "/?b",
        "",
        "",
    ),
    ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "*?", "", ""),
    (
        "OPTIONS /a HTTP/1.1\r\nHost: h\r\nOrigin: null\r\n\
         Access-Control-Request-Method: PUT\r\n\r\n",
        "/a?",
        "",
        "",
    ),
    ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "h:1?", "", ""),
    ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "/?", "", ""),
    (
        "DELETE /channels/é HTTP/1.1\r\nHost: h\r\n\r\n",
        "/channels/é?",
        "",
        "",
    ),
    (
        "GET / HTTP/1.1\r\nHost:  h \t\r\nAccept:\r\nCookie: a=b\tc\r\n\r\n",
        "/?",
        "",
        "",
    ),
    ("POST /p HTTP/1.1\r\nHost: h\r\n\r\n", "/p?", "", ""),
    (
        "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\nnext",
        "/p?",
        "",
        "next",
    ),
    (
        "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        "/p?",
        "hello",
        "",
    ),
    (
        "PUT /p HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello\r\n",
        "/p?",
        "hello",
        "\r\n",
    ),
    (
        "POST /p HTTP/1.1\r\nHost: h\r\ncontent-length:2\r\n\r\n\r\n",
        "/p?",
        "\r\n",
        "",
    ),
    (
        "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n\n\n\r\rGET",
        "/p?",
        "\n\n\r\r",
        "GET",
    ),
    (
        "POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 32\r\n\r\n\
         0123456789abcdef0123456789abcdefx",
        "/p?",
        "0123456789abcdef0123456789abcdef",
        "x",
    ),
];

/// What follows [`CHUNKED`]: chunks, the body they make and what follows them.
const CHUNKS_READ: &[(&str, &str, &str)] = &[
    ("0\r\n\r\n", "", ""),
    ("5\r\nhello\r\n0\r\n\r\nGET", "hello", "GET"),
    (
        "5;a=\"b\"\r\nhello\r\n006\r\n world\r\n00;x\r\nA: b\r\nC:\r\n\r\n",
        "hello world",
        "",
    ),
    (
        "1\r\n\r\r\n1\r\n\n\r\n2 ;x\r\n\r\n\r\n0\r\n\r\n\r\n",
        "\r\n\r\n",
        "\r\n",
    ),
    (
        "1F\r\n0123456789abcdef0123456789abcde\r\n1\r\nf\r\n0\r\n\r\n",
        "0123456789abcdef0123456789abcdef",
        "",
    ),
];

/// Requests that are refused, and why.
const REFUSED: &[(&str, Error)] = &[
    ("GET /\r\n", Error::VersionMissing),
    ("get / HTTP/1.1\r\nHost: h\r\n\r\n", Error::Method),
    ("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n", Error::Method),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Error::Version),
    ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", Error::Version),
    ("GET / HTCPCP/1.0\r\nHost: h\r\n\r\n", Error::RequestLine),
    ("GET / HTTP/1.1x\r\nHost: h\r\n\r\n", Error::RequestLine),
    ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
    ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", Error::RequestLine),
    ("GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
    ("GET a HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
    ("GET h:1 HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
    ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
    ("CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", Error::Target),
    ("GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", Error::Fragment),
    ("GET / HTTP/1.1\r\n\r\n", Error::HostMissing),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        Error::HostRepeated,
    ),
    ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", Error::HostInvalid),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nOrigin: a\r\nOrigin: a\r\n\r\n",
        Error::OriginRepeated,
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nLast-Event-ID: 1\r\nLast-Event-ID: 2\r\n\r\n",
        Error::LastEventIdRepeated,
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
        Error::AuthorizationRepeated,
    ),
    (
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        Error::SpaceBeforeColon,
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
        Error::ObsoleteFold,
    ),
    (
        "GET / HTTP/1.1\r\nHost: h\r\n=\x02: a\r\n\r\n",
        Error::FieldName,
    ),
    ("GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", Error::FieldName),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nA: \x00\r\n\r\n",
        Error::FieldValue,
    ),
    ("GET / HTTP/1.1\nHost: h\n\n", Error::BareLf),
    ("GET / HTTP/1.1\r\nHost: h\r\n\n", Error::BareLf),
    ("GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", Error::BareLf),
    ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Error::BareLf),
    ("GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n", Error::BareCr),
    ("GET /\r HTTP/1.1\r\nHost: h\r\n\r\n", Error::BareCr),
    ("GET / HTTP/1.1\r\nHost: h\r\n\r\r\n", Error::BareCr),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\na",
        Error::ContentLengthInvalid,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
        Error::ContentLengthInvalid,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        Error::ContentLengthRepeated,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Error::LengthAndCoding,
    ),
    (
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Error::CodingOnHttp10,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Error::CodingUnknown,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        Error::CodingInvalid,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Error::CodingRepeated,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\na",
        Error::Expectation,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 33\r\n\r\n",
        Error::BodyTooLarge,
    ),
];

/// What follows [`CHUNKED`], and why it is refused.
const CHUNKS_REFUSED: &[(&str, Error)] = &[
    ("21\r\n", Error::BodyTooLarge),
    ("1\r\na\r\n20\r\n", Error::BodyTooLarge),
    ("0x1\r\na\r\n0\r\n\r\n", Error::ChunkSize),
    ("\r\na\r\n0\r\n\r\n", Error::ChunkSize),
    ("1\r\nab\r\n0\r\n\r\n", Error::ChunkEnd),
    ("1\na\r\n0\r\n\r\n", Error::BareLf),
    ("1;\ra\r\n0\r\n\r\n", Error::BareCr),
    ("0\r\nA: \x01\r\n\r\n", Error::TrailerByte),
    ("0;\x01\r\n\r\n", Error::ChunkExtensionByte),
];

/// Requests that have not ended.
const WAITING: &[&str] = &[
    "\r\n\r\n",
    "GET /a",
    "GET / HTTP/1.1\r\nHost: h\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\n\r",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n",
];

mod tests {
    use super::super::{Decoder, Outcome, Scan, parse};
    use super::*;

    /// Reads a request whose bytes come up to each of the given places in turn.
    fn read(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Result<Verdict, Error> {
        let mut scan = Scan::default();
        let mut body = Vec::new();
        let mut after_head: Option<(String, Decoder)> = None;
        let mut used = 0;
        for end in ends {
            if after_head.is_none() {
                match parse(&bytes[..end], &mut scan, MAX_HEAD_BYTES)? {
                    Outcome::Partial => continue,
                    Outcome::Complete { head, length } => {
                        used = length;
                        let target = [head.path, head.query].join(&b'?');
                        let target = String::from_utf8_lossy(&target).into_owned();
                        after_head = Some((target, Decoder::new(head.framing)));
                    }
                }
            }
            let Some((target, decoder)) = &mut after_head else {
                continue;
            };
            let progress = decoder.decode(&bytes[used..end], &mut body, MAX_BODY_BYTES)?;
            used += progress.consumed;
            if progress.done {
                let (target, rest) = (target.clone(), bytes[used..].to_vec());
                return Ok(Verdict::Read { target, body, rest });
            }
            assert_eq!(used, end, "a body that goes on leaves nothing");
        }
        Ok(Verdict::Waiting)
    }

    fn check(case: &Case, ends: &[usize]) {
        let verdict = read(&case.bytes, ends.iter().copied()).unwrap_or_else(Verdict::Refused);
        let text = case.bytes.escape_ascii();
        assert_eq!(verdict, case.verdict, "{text} up to {ends:?}");
    }

    #[test]
    fn every_request_comes_to_the_same_however_it_is_cut() {
        let cases = cases();
        assert!(cases.len() >= 60);
        for case in &cases {
            let length = case.bytes.len();
            check(case, &[length]);
            for at in 0..=length {
                check(case, &[at, length]);
            }
            check(case, &(0..=length).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_short_request_comes_to_the_same_cut_twice() {
        for case in cases().iter().filter(|case| case.bytes.len() < 120) {
            let length = case.bytes.len();
            for first in 0..length {
                for second in first..length {
                    check(case, &[first, second, length]);
                }
            }
        }
    }
}
