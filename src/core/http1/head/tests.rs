mod pieces;

use super::*;
use proptest::prelude::*;

const MAX: usize = 4_096;

fn fresh(bytes: &[u8]) -> Result<Outcome<'_>, Error> {
    parse(bytes, &mut Scan::default(), MAX)
}

fn complete(bytes: &[u8]) -> Head<'_> {
    match fresh(bytes) {
        Ok(Outcome::Complete { head, length }) if length == bytes.len() => head,
        other => panic!("{:?}: {other:?}", bytes.escape_ascii().to_string()),
    }
}

fn with_fields(fields: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n")
}

#[test]
fn head_with_every_field_is_parsed() {
    let bytes =
        b"\r\n\r\nPOST /a%20b/c?d=%26&e HTTP/1.1\r\nHOST: h\r\nlast-event-id:  1-2 \t\r\n\
        Origin: http://o\r\nContent-Type: text/plain\r\nAuthorization: Bearer x\r\n\
        Cookie: c=1\r\nCookie: d=2\r\nIdempotency-Key:k\r\nEncke-Event: \xc3\xa9\r\nAccess-Control-Request-Method: PUT\r\n\
        content-encoding: gzip\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\
        Connection: x, Close\r\nif-none-match: \"t\"\r\nIf-None-Match: *\r\nX-Empty:\r\n\r\nabc";
    let expected = Head {
        method: Method::Post,
        version: Version::Http11,
        path: b"/a%20b/c",
        query: b"d=%26&e",
        framing: Framing::Length(3),
        keep_alive: false,
        expect_continue: true,
        last_event_id: Some(b"1-2"),
        origin: Some(b"http://o"),
        content_type: Some(b"text/plain"),
        authorization: Some(b"Bearer x"),
        cookie: Some(b"c=1"),
        idempotency_key: Some(b"k"),
        encke_event: Some(b"\xc3\xa9"),
        if_none_match: Some(b"\"t\""),
        preflight_method: Some(b"PUT"),
        has_content_coding: true,
        is_from_same_origin: true,
        upgrade: Upgrade::default(),
        host: Some(b"h"),
    };
    let length = bytes.len() - 3;
    assert_eq!(
        fresh(bytes),
        Ok(Outcome::Complete {
            head: expected,
            length
        })
    );
}

#[test]
fn content_codings_other_than_identity_are_seen() {
    let has_coding = |fields: &str| complete(with_fields(fields).as_bytes()).has_content_coding;
    for fields in [
        "Content-Encoding: gzip",
        "content-encoding:br",
        "Content-Encoding: identity, gzip",
        "Content-Encoding: gzip, identity",
        "Content-Encoding: identity\r\nContent-Encoding: deflate",
        "Content-Encoding: x-gzip\r\nContent-Encoding: identity",
        "Content-Encoding: identity;q=1",
        "Content-Encoding: unknown",
    ] {
        assert!(has_coding(fields), "{fields}");
    }
    for fields in [
        "X: gzip",
        "Content-Encoding:",
        "Content-Encoding: identity",
        "Content-Encoding: IDENTITY",
        "Content-Encoding: identity, ,Identity,",
        "Content-Encoding: identity\r\nContent-Encoding: identity",
        "Accept-Encoding: gzip",
    ] {
        assert!(!has_coding(fields), "{fields}");
    }
}

#[test]
fn fields_of_a_websocket_handshake() {
    let upgrade = |fields: &str| {
        let text = with_fields(fields);
        let upgrade = complete(text.as_bytes()).upgrade;
        let key = upgrade
            .key
            .map_or("", |key| std::str::from_utf8(key).unwrap());
        let says = [
            upgrade.is_to_websocket(),
            upgrade.is_version_13(),
            upgrade.offers_encke(),
        ];
        (says.map(u8::from), key.to_owned())
    };
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let all = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: a, encke";
    let version = |says| (says, "");
    for (fields, (says, expected)) in [
        (all, ([1, 1, 1], key)),
        (
            &*all.to_lowercase().replace("key: key", "key: KEY"),
            ([1, 1, 1], key),
        ),
        ("X: y", ([0, 0, 0], "")),
        ("Upgrade: websocket", ([0, 0, 0], "")),
        ("Connection: upgrade", ([0, 0, 0], "")),
        (
            "Upgrade: h2c, WebSocket\r\nConnection: upgrade",
            ([1, 0, 0], ""),
        ),
        ("Upgrade: h2c\r\nConnection: upgrade", ([0, 0, 0], "")),
        ("Sec-WebSocket-Version: 8", version([0, 0, 0])),
        ("Sec-WebSocket-Version: 13, 8", version([0, 0, 0])),
        (
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8",
            version([0, 0, 0]),
        ),
        (
            "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Version: 13",
            version([0, 0, 0]),
        ),
        (
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13",
            version([0, 1, 0]),
        ),
        ("Sec-WebSocket-Key: KEY", ([0, 0, 0], key)),
        ("Sec-WebSocket-Key: a", ([0, 0, 0], "")),
        (
            "Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Key: KEY",
            ([0, 0, 0], ""),
        ),
        (
            "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: encke",
            ([0, 0, 1], ""),
        ),
        ("Sec-WebSocket-Protocol: encke.v2", ([0, 0, 0], "")),
        ("Sec-WebSocket-Protocol: Encke", ([0, 0, 0], "")),
    ] {
        let fields = fields.replace("KEY", key);
        assert_eq!(upgrade(&fields), (says, expected.to_owned()), "{fields}");
    }
}

#[test]
fn sec_fetch_site_is_same_origin_only_if_all_say_so() {
    let is_same = |fields: &str| complete(with_fields(fields).as_bytes()).is_from_same_origin;
    assert!(is_same("Sec-Fetch-Site: same-origin"));
    assert!(is_same("sec-fetch-site:same-origin"));
    for fields in [
        "X: same-origin",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Site: same-origin, same-origin",
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Site: same-origin",
    ] {
        assert!(!is_same(fields), "{fields}");
    }
}

#[test]
fn origins_of_heads_that_are_not_whole() {
    let check = |bytes: &str, expected: &[&str]| {
        let found: Vec<_> = origins(bytes.as_bytes()).collect();
        let expected: Vec<_> = expected.iter().map(|origin| origin.as_bytes()).collect();
        assert_eq!(found, expected, "{bytes:?}");
    };
    check("", &[]);
    check("Origin: http://a\r\n", &[]);
    check("G / x\r\nOrigin: http://a", &[]);
    check("G / x\r\nOrigin: http://a\r", &[]);
    check("G / x\r\nOrigin: http://a\r\n", &["http://a"]);
    check(
        "\r\n\nG\noRIGIN:http://a \n\nOrigin: http://b\n",
        &["http://a"],
    );
    check("G\r\nOrigin: a\r\nX\r\nOrigin: b\r\nO", &["a", "b"]);
    check("G\r\nOrigins: a\r\nX-Origin: b\r\nOrigin : c\r\n", &[]);
}

proptest! {
    #[test]
    fn origins_of_a_whole_head_are_those_of_its_fields(
        bytes in "(GET /[a-z]{0,3} HTTP/1.1\r\n)((Host|Origin|ORIGIN|X): ?[a-z:/]{0,9} ?\r\n){0,4}\r\n(Origin: x\r\n)?"
    ) {
        if let Ok(Outcome::Complete { head, .. }) = fresh(bytes.as_bytes()) {
            let found: Vec<_> = origins(bytes.as_bytes()).collect();
            prop_assert_eq!(found, head.origin.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn origins_of_any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = origins(&bytes).count();
    }
}

#[test]
fn head_without_fields_is_parsed() {
    let expected = Head {
        method: Method::Get,
        version: Version::Http10,
        path: b"/",
        query: b"",
        framing: Framing::None,
        keep_alive: false,
        expect_continue: false,
        last_event_id: None,
        origin: None,
        content_type: None,
        authorization: None,
        cookie: None,
        idempotency_key: None,
        encke_event: None,
        if_none_match: None,
        preflight_method: None,
        has_content_coding: false,
        is_from_same_origin: false,
        upgrade: Upgrade::default(),
        host: None,
    };
    assert_eq!(complete(b"GET / HTTP/1.0\r\n\r\n"), expected);
}

#[test]
fn known_methods_are_parsed_and_others_refused() {
    for (token, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("PATCH", Method::Other),
        ("TRACE", Method::Other),
    ] {
        let bytes = format!("{token} / HTTP/1.1\r\nHost:\r\n\r\n");
        assert_eq!(complete(bytes.as_bytes()).method, method);
    }
    assert_eq!(
        complete(b"CONNECT a:1 HTTP/1.0\r\n\r\n").method,
        Method::Other
    );
    for token in ["get", "Get", "GETS", "BREW", "M-SEARCH", "PROPFIND"] {
        let bytes = format!("{token} / HTTP/1.1\r\nHost:\r\n\r\n");
        assert_eq!(fresh(bytes.as_bytes()), Err(Error::Method), "{token}");
    }
}

#[test]
fn host_of_an_absolute_target_overrides_host() {
    for (target, host) in [("/", "h"), ("http://a:1/", "a:1"), ("HTTPS://a?b", "a")] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(complete(bytes.as_bytes()).host, Some(host.as_bytes()));
    }
    let bytes = b"CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(complete(bytes).host, Some(&b"h"[..]));
    assert_eq!(
        complete(b"GET http://a/ HTTP/1.0\r\n\r\n").host,
        Some(&b"a"[..])
    );
    assert_eq!(
        fresh(b"GET http://a/ HTTP/1.1\r\n\r\n"),
        Err(Error::HostMissing)
    );
}

#[test]
fn connect_ends_the_connection() {
    for fields in ["", "Connection: keep-alive\r\n", "Content-Length: 1\r\n"] {
        let bytes = format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{fields}\r\n");
        assert!(!complete(bytes.as_bytes()).keep_alive, "{fields}");
    }
}

#[test]
fn keep_alive_follows_version_and_connection_field() {
    for (version, fields, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: CLOSE , keep-alive\r\n", false),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: a,close\r\n",
            false,
        ),
        ("1.1", "Connection: upgrade,,closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: te,\tkeep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        assert_eq!(
            complete(bytes.as_bytes()).keep_alive,
            expected,
            "{version} {fields}"
        );
    }
}

#[test]
fn framing_follows_length_and_coding_fields() {
    for (field, expected) in [
        ("Content-Length: 0", Ok(Framing::Length(0))),
        ("Content-Length: 007", Ok(Framing::Length(7))),
        (
            "Content-Length: 18446744073709551615",
            Ok(Framing::Length(u64::MAX)),
        ),
        (
            "Content-Length: 18446744073709551616",
            Err(Error::ContentLengthInvalid),
        ),
        (
            "Content-Length: 99999999999999999999999",
            Err(Error::ContentLengthInvalid),
        ),
        ("Content-Length:", Err(Error::ContentLengthInvalid)),
        ("Content-Length: +1", Err(Error::ContentLengthInvalid)),
        ("Content-Length: -1", Err(Error::ContentLengthInvalid)),
        ("Content-Length: 0x1", Err(Error::ContentLengthInvalid)),
        ("Content-Length: 1 1", Err(Error::ContentLengthInvalid)),
        ("Content-Length: 1, 1", Err(Error::ContentLengthInvalid)),
        ("Content-Length: 1.0", Err(Error::ContentLengthInvalid)),
        (
            "Content-Length: 1\r\ncontent-length: 1",
            Err(Error::ContentLengthRepeated),
        ),
        ("Transfer-Encoding: chunked", Ok(Framing::Chunked)),
        ("Transfer-Encoding: \tChunkeD ", Ok(Framing::Chunked)),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            Err(Error::LengthAndCoding),
        ),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            Err(Error::LengthAndCoding),
        ),
        (
            "Content-Length: 1\r\nTransfer-Encoding: x",
            Err(Error::LengthAndCoding),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Err(Error::CodingRepeated),
        ),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            Err(Error::CodingRepeated),
        ),
        (
            "Transfer-Encoding: chunked, chunked",
            Err(Error::CodingRepeated),
        ),
        (
            "Transfer-Encoding: gzip, chunked, chunked",
            Err(Error::CodingRepeated),
        ),
        (
            "Transfer-Encoding: chunked, gzip",
            Err(Error::CodingInvalid),
        ),
        ("Transfer-Encoding: chunked,", Err(Error::CodingInvalid)),
        ("Transfer-Encoding: , chunked", Err(Error::CodingInvalid)),
        ("Transfer-Encoding:", Err(Error::CodingInvalid)),
        ("Transfer-Encoding: chunked;a=b", Err(Error::CodingInvalid)),
        ("Transfer-Encoding: \"chunked\"", Err(Error::CodingInvalid)),
        ("Transfer-Encoding: chunked x", Err(Error::CodingInvalid)),
        ("Transfer-Encoding: gzip", Err(Error::CodingUnknown)),
        (
            "Transfer-Encoding: gzip;q=1, chunked",
            Err(Error::CodingUnknown),
        ),
        ("Transfer-Encoding: identity", Err(Error::CodingUnknown)),
        ("Transfer-Encoding: xchunked", Err(Error::CodingUnknown)),
    ] {
        let bytes = with_fields(field);
        let framing = fresh(bytes.as_bytes()).map(|outcome| match outcome {
            Outcome::Complete { head, .. } => head.framing,
            Outcome::Partial => panic!("{field}"),
        });
        assert_eq!(framing, expected, "{field}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fresh(old), Err(Error::CodingOnHttp10));
    let old = b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(complete(old).framing, Framing::Length(5));
}

#[test]
fn other_expectations_are_refused() {
    assert!(!complete(with_fields("A: b").as_bytes()).expect_continue);
    assert!(complete(with_fields("expect:100-CONTINUE").as_bytes()).expect_continue);
    for expect in ["", "200-ok", "100-continue, x", "100-continue\r\nExpect: x"] {
        let bytes = with_fields(&format!("Expect: {expect}"));
        assert_eq!(fresh(bytes.as_bytes()), Err(Error::Expectation), "{expect}");
    }
    assert!(!complete(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue);
    assert!(!complete(b"GET / HTTP/1.0\r\nExpect: x\r\n\r\n").expect_continue);
}

#[test]
fn repeated_singleton_fields_are_refused() {
    for (name, error) in [
        ("Host", Error::HostRepeated),
        ("Authorization", Error::AuthorizationRepeated),
        ("Content-Type", Error::ContentTypeRepeated),
        ("Encke-Event", Error::EnckeEventRepeated),
        ("Idempotency-Key", Error::IdempotencyKeyRepeated),
        ("Last-Event-ID", Error::LastEventIdRepeated),
        ("Origin", Error::OriginRepeated),
        ("Access-Control-Request-Method", Error::PreflightRepeated),
    ] {
        let lower = name.to_ascii_lowercase();
        let bytes = format!("GET / HTTP/1.0\r\n{name}: a\r\nX: y\r\n{lower}: a\r\n\r\n");
        assert_eq!(fresh(bytes.as_bytes()), Err(error), "{name}");
    }
    complete(with_fields("Cookie: a\r\nCookie: b").as_bytes());
}

#[test]
fn each_syntax_error_is_diagnosed() {
    for (bytes, error) in [
        ("GET /\r\n", Error::VersionMissing),
        ("GET / \r\n\r\n", Error::RequestLine),
        ("GET  / HTTP/1.1\r\n\r\n", Error::RequestLine),
        ("GET /  HTTP/1.1\r\n\r\n", Error::RequestLine),
        ("GET / HTTP/1.1 \r\n\r\n", Error::RequestLine),
        ("GET / HTTP/1.10\r\n\r\n", Error::RequestLine),
        ("GET / http/1.1\r\n\r\n", Error::RequestLine),
        ("GET / HTTP\r\n\r\n", Error::RequestLine),
        ("GET /a b HTTP/1.1\r\n\r\n", Error::RequestLine),
        ("GET\t/ HTTP/1.1\r\n\r\n", Error::RequestLine),
        ("GET\r\n", Error::RequestLine),
        (" GET / HTTP/1.1\r\n\r\n", Error::RequestLine),
        ("\x16\x03\x01\x02", Error::RequestLine),
        ("GET /\x00 HTTP/1.1\r\n\r\n", Error::Target),
        ("GET /\x7f HTTP/1.1\r\n\r\n", Error::Target),
        ("GET a HTTP/1.1\r\nHost:\r\n\r\n", Error::Target),
        ("GET /#a HTTP/1.1\r\nHost:\r\n\r\n", Error::Fragment),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Error::Version),
        ("GET / HTTP/0.9\r\n\r\n", Error::Version),
        ("GET / HTTP/1.2\r\n\r\n", Error::Version),
        ("GET / HTTP/3", Error::Version),
        ("GET / HTTP/1.1\r\n\r\n", Error::HostMissing),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Error::HostInvalid),
        ("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", Error::HostInvalid),
        (
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            Error::SpaceBeforeColon,
        ),
        (
            "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n",
            Error::SpaceBeforeColon,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            Error::ObsoleteFold,
        ),
        (
            "GET / HTTP/1.1\r\nHost:\r\n\ta\r\n\r\n",
            Error::ObsoleteFold,
        ),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Error::ObsoleteFold),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", Error::FieldName),
        ("GET / HTTP/1.1\r\n: a\r\n\r\n", Error::FieldName),
        ("GET / HTTP/1.1\r\nA\x00: a\r\n\r\n", Error::FieldName),
        ("GET / HTTP/1.1\r\nH(: a\r\n\r\n", Error::FieldName),
        ("GET / HTTP/1.1\r\nÄ: a\r\n\r\n", Error::FieldName),
        ("GET / HTTP/1.1\r\nA: \x00\r\n\r\n", Error::FieldValue),
        ("GET / HTTP/1.1\r\nA: b\x01c\r\n\r\n", Error::FieldValue),
        ("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", Error::FieldValue),
        ("\n", Error::BareLf),
        ("\r\n\nGET / HTTP/1.1", Error::BareLf),
        ("GET / HTTP/1.1\n", Error::BareLf),
        ("GET / HTTP/1.0\n\n", Error::BareLf),
        ("GET / HTTP/1.0\r\n\n", Error::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\n", Error::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Error::BareLf),
        ("GET / HTTP/1.1\r\nHost:\nA: b", Error::BareLf),
        ("GET /\n", Error::BareLf),
        ("\rG", Error::BareCr),
        ("GET /\r HTTP/1.1\r\n\r\n", Error::BareCr),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", Error::BareCr),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Error::BareCr),
        ("GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n", Error::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Error::BareCr),
        ("GET / HTTP/1.0\r\n\rx", Error::BareCr),
        // The first error is reported.
        ("GET / HTTP/2.0\r\nA : b\nC\r\n\r\n", Error::Version),
        ("GET / HTTP/1.1\r\nA: b\nC : d\r\n\r\n", Error::BareLf),
        (
            "GET / HTTP/1.1\r\nA : b\nC: d\r\n\r\n",
            Error::SpaceBeforeColon,
        ),
    ] {
        assert_eq!(fresh(bytes.as_bytes()), Err(error), "{bytes:?}");
    }
    assert_eq!(fresh(b"GET /\xff HTTP/1.1\r\n\r\n"), Err(Error::Target));
}
