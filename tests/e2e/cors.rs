//! Pages of other origins: which of them may read, and the responses to preflights.

use std::time::Duration;

use encke::{Config, Cors};

use crate::client::request;
use crate::server::Server;

const GOOD: &str = "https://good.example";

fn listed() -> Server {
    Server::with(|config| config.cors = Cors::Origins(vec![GOOD.into(), "http://b:8".into()]))
}

fn origin(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

#[test]
fn other_origins_are_refused_by_default() {
    let server = Server::start();
    let answer = server.client().get_with("/poll/x", &origin(GOOD));
    answer.problem(403);
    assert_eq!(answer.field("Access-Control-Allow-Origin"), None);
    let answer = server.client().post("/publish/x", &origin(GOOD), "x");
    answer.problem(403);
    assert_eq!(server.channel("x"), None);
    // A page that has its own name lead here is another all the same.
    let rebound = server.client().get_with("/poll/x", &origin("http://test"));
    rebound.problem(403);
    // The page of the server's own origin is no other.
    let target = "GET /poll/x HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:1\r\n\r\n";
    let mut client = server.client();
    client.send(target);
    let own = client.answer();
    assert_eq!(own.status(), 200);
    assert_eq!(own.field("Access-Control-Allow-Origin"), None);
}

#[test]
fn listed_origins_are_echoed() {
    let server = listed();
    for allowed in [GOOD, "http://b:8"] {
        let answer = server.client().get_with("/poll/x", &origin(allowed));
        answer.batch();
        assert_eq!(answer.field("Access-Control-Allow-Origin"), Some(allowed));
        assert_eq!(answer.field("Vary"), Some("Origin"));
        let exposed = answer.field("Access-Control-Expose-Headers").unwrap();
        assert!(exposed.contains("Encke-Cursor"), "{exposed}");
    }
    for other in [
        "https://evil.example",
        "http://good.example",
        "null",
        "http://b",
    ] {
        let answer = server.client().get_with("/poll/x", &origin(other));
        answer.problem(403);
        assert_eq!(answer.field("Access-Control-Allow-Origin"), None);
    }
    // Caches must not give an answer without the origin to a page of one.
    assert_eq!(server.get("/poll/x").field("Vary"), Some("Origin"));
}

#[test]
fn held_polls_streams_and_errors_echo_the_origin() {
    let server = listed();
    let mut held = server.client();
    held.ask("GET", "/long-poll/x", &origin(GOOD));
    server.wait_subscribers("x", 1);
    server.publish("x", "1");
    let answer = held.answer();
    assert_eq!(answer.field("Access-Control-Allow-Origin"), Some(GOOD));
    assert_eq!(answer.batch().data(), ["1"]);
    let expired = held.get_with("/long-poll/x?hold=0.02", &origin(GOOD));
    assert_eq!(expired.field("Access-Control-Allow-Origin"), Some(GOOD));
    for endpoint in ["sse", "ndjson", "frame"] {
        let target = format!("/{endpoint}/x");
        let stream = crate::stream::Stream::open(server.client(), &target, &origin(GOOD));
        let allowed = stream.head.field("Access-Control-Allow-Origin");
        assert_eq!(allowed, Some(GOOD), "{endpoint}");
    }
    let error = server.client().get_with("/poll/x?limit=0", &origin(GOOD));
    error.problem(400);
    assert_eq!(error.field("Access-Control-Allow-Origin"), Some(GOOD));
}

#[test]
fn star_allows_every_origin() {
    let server = Server::with(|config| config.cors = Cors::Any);
    for field in [origin("https://any.example"), origin("null"), String::new()] {
        let answer = server.client().get_with("/poll/x", &field);
        answer.batch();
        assert_eq!(answer.field("Access-Control-Allow-Origin"), Some("*"));
    }
}

#[test]
fn preflight_lists_what_is_allowed() {
    let server = listed();
    let fields = format!(
        "{}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization, content-type\r\n",
        origin(GOOD)
    );
    let mut client = server.client();
    client.ask("OPTIONS", "/publish/x", &fields);
    let answer = client.answer();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.field("Access-Control-Allow-Origin"), Some(GOOD));
    let methods = answer.field("Access-Control-Allow-Methods").unwrap();
    assert!(methods.contains("POST"), "{methods}");
    let allowed = answer
        .field("Access-Control-Allow-Headers")
        .unwrap()
        .to_lowercase();
    for name in [
        "authorization",
        "content-type",
        "encke-event",
        "idempotency-key",
        "last-event-id",
        "cache-control",
        "traceparent",
        "tracestate",
        "x-requested-with",
        "baggage",
        "content-encoding",
        "pragma",
    ] {
        let mut names = allowed.split(',').map(str::trim);
        assert!(names.any(|known| known == name), "{name}: {allowed}");
    }
    let exposed = answer.field("Access-Control-Expose-Headers");
    assert_eq!(exposed, Some("Encke-Cursor, Retry-After"));
    assert!(answer.field("Access-Control-Max-Age").is_some());

    let evil = fields.replace(GOOD, "https://evil.example");
    client.ask("OPTIONS", "/publish/x", &evil);
    let answer = client.answer();
    answer.problem(403);
    assert_eq!(answer.field("Access-Control-Allow-Methods"), None);
}

#[test]
fn preflight_needs_no_key() {
    let server = Server::with(|config| {
        config.cors = Cors::Origins(vec![GOOD.into()]);
        config.publish_key = Some("secret".into());
    });
    let fields = format!("{}Access-Control-Request-Method: POST\r\n", origin(GOOD));
    let mut client = server.client();
    client.ask("OPTIONS", "/publish/x", &fields);
    assert_eq!(client.answer().status(), 204);
    // A page is to see why it was refused.
    let answer = client.post("/publish/x", &origin(GOOD), "x");
    answer.problem(401);
    assert_eq!(answer.field("Access-Control-Allow-Origin"), Some(GOOD));
}

#[test]
fn options_lists_the_allowed_methods() {
    let server = Server::start();
    for (target, allow) in [
        ("/poll/x", "GET, HEAD, OPTIONS"),
        ("/publish/x", "POST, PUT, OPTIONS"),
        ("/channels/x", "GET, HEAD, DELETE, OPTIONS"),
    ] {
        let mut client = server.client();
        client.ask("OPTIONS", target, "");
        let answer = client.answer();
        assert_eq!((answer.status(), answer.field("Allow")), (204, Some(allow)));
        client.ask("OPTIONS", "*", "");
        assert_eq!(client.answer().status(), 204);
    }
}

/// A server that echoes origins, and refuses early.
fn strict() -> Server {
    Server::with(|config| {
        config.cors = Cors::Origins(vec![GOOD.into(), "http://b:8".into()]);
        config.max_head_bytes = 600;
        config.max_body_bytes = 100;
        config.head_timeout = Duration::from_millis(100);
        config.body_timeout = Duration::from_millis(100);
    })
}

#[test]
fn closing_error_allows_the_origin_of_its_request() {
    let server = strict();
    let long = "x".repeat(700);
    let good = origin(GOOD);
    let post =
        |fields: &str, body: &str| request("POST", "/publish/x", &format!("{good}{fields}"), body);
    let get = |fields: &str| request("GET", "/poll/x", fields, "");
    for (status, bytes) in [
        (413, post("Content-Length: 101\r\n", "")),
        (
            413,
            post("Content-Length: 101\r\nExpect: 100-continue\r\n", ""),
        ),
        (413, post("Transfer-Encoding: chunked\r\n", "65\r\n")),
        (413, post("Content-Length: 18446744073709551615\r\n", "")),
        (400, post("Content-Length: 1\r\nContent-Length: 1\r\n", "a")),
        (400, post("Transfer-Encoding: chunked\r\n", "x\r\n")),
        (400, post("Transfer-Encoding: chunked\r\n", "1\r\nab")),
        (
            431,
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("0\r\nX: {}\r\n", long.repeat(12)),
            ),
        ),
        (501, post("Transfer-Encoding: gzip\r\n", "")),
        (417, get(&format!("{good}Expect: wonders\r\n"))),
        (501, request("BREW", "/pot", &good, "")),
        (505, get(&good).replace("HTTP/1.1", "HTTP/2.0")),
        (400, get(&good).replace("Host: test\r\n", "")),
        (400, get(&format!("{good}Host: b\r\n"))),
        (400, get(&format!("{good}{good}"))),
        (400, get(&format!("{good}X : y\r\n"))),
        (400, get(&format!("{good}X: y\0\r\n"))),
        (400, get(&format!("{good}X: y\n"))),
        (400, get(&good).replace("\r\n", "\n")),
        (431, get(&format!("{good}X: {long}\r\n"))),
        // The field line is whole, the head is not.
        (431, get(&format!("{good}X: {long}")).trim_end().to_owned()),
        (408, format!("GET /poll/x HTTP/1.1\r\n{good}Ho")),
        (
            408,
            format!("GET /poll/x HTTP/1.1\r\nhost: a\r\noRiGiN:{GOOD}\r\n"),
        ),
        (408, post("Content-Length: 9\r\n", "half")),
        (408, post("Transfer-Encoding: chunked\r\n", "4\r\nha")),
        (408, format!("{}GET /poll/x HTTP/1.1\r\n{good}", get(""))),
    ] {
        let mut client = server.client();
        client.send(&bytes);
        if bytes.starts_with(&get("")) {
            client.answer().batch();
        }
        let answer = client.answer();
        answer.problem(status);
        assert_eq!(answer.field("Connection"), Some("close"), "{bytes}");
        let allowed = answer.field("Access-Control-Allow-Origin");
        assert_eq!(allowed, Some(GOOD), "{status}: {bytes}");
        let exposed = answer.field("Access-Control-Expose-Headers");
        assert_eq!(exposed, Some("Encke-Cursor, Retry-After"), "{bytes}");
        assert_eq!(answer.field("Vary"), Some("Origin"), "{bytes}");
    }
}

#[test]
fn closing_error_allows_no_other_origin() {
    let server = strict();
    for bytes in [
        request(
            "POST",
            "/publish/x",
            "Origin: https://evil.example\r\nContent-Length: 101\r\n",
            "",
        ),
        request(
            "POST",
            "/publish/x",
            "Origin: null\r\nContent-Length: 101\r\n",
            "",
        ),
        request(
            "POST",
            "/publish/x",
            "X-Origin: https://good.example\r\nContent-Length: 101\r\n",
            "",
        ),
        // It may go on: `https://good.example.evil`.
        format!("GET /poll/x HTTP/1.1\r\nOrigin: {GOOD}"),
        // A line of the body, or after the request, is not a field of the request.
        request(
            "POST",
            "/publish/x",
            "Transfer-Encoding: chunked\r\n",
            &format!("x\r\n{}", origin(GOOD)),
        ),
        format!("GET /poll/x HTTP/1.1\r\n\r\n{}", origin(GOOD)),
    ] {
        let mut client = server.client();
        client.send(&bytes);
        let answer = client.answer();
        assert!(answer.status() >= 400, "{bytes}");
        let allowed = answer.field("Access-Control-Allow-Origin");
        assert_eq!(allowed, None, "{bytes}");
        assert_eq!(answer.field("Vary"), Some("Origin"), "{bytes}");
    }
}

/// Sends a publish as a page of `page` does, to `host`.
fn publish_as(server: &Server, host: &str, page: &str, fields: &str) -> u16 {
    let mut client = server.client();
    let head = format!("Host: {host}\r\nOrigin: {page}\r\n{fields}Content-Length: 1\r\n");
    client.send(format!("POST /publish/x HTTP/1.1\r\n{head}\r\nx"));
    client.answer().status()
}

const KEY: &str = "Authorization: Bearer secret\r\n";

fn with_key(config: &mut Config) {
    config.publish_key = Some("secret".into());
}

#[test]
fn own_origin_is_compared_as_an_origin() {
    let server = Server::with(with_key);
    for (host, page) in [
        ("app.example:443", "https://app.example"),
        ("app.example:80", "http://app.example"),
        ("App.Example", "https://app.example"),
        ("App.Example:8443", "https://app.example:8443"),
        ("app.example", "https://app.example"),
        ("app.example:", "http://app.example"),
        ("my_app.example:443", "https://my_app.example"),
        ("[0:0::1]:80", "http://[::1]"),
        ("[::FFFF:127.0.0.1]:7711", "http://[::ffff:7f00:1]:7711"),
        ("app.example", "HTTPS://APP.example:443"),
    ] {
        assert_eq!(publish_as(&server, host, page, KEY), 200, "{host} {page}");
    }
    for (host, page) in [
        ("app.example:80", "https://app.example"),
        ("app.example:443", "http://app.example"),
        ("app.example", "https://app.example:8443"),
        ("app.example:8443", "https://app.example"),
        ("app.example", "https://evil.example"),
        ("app.example", "https://app.example.evil"),
        ("app.example", "chrome-extension://app.example"),
        ("app.example", "https://app.example/"),
        ("app.example", "null"),
        ("app.example", ""),
        ("", "http://"),
    ] {
        assert_eq!(publish_as(&server, host, page, KEY), 403, "{host} {page}");
    }
}

#[test]
fn configured_origins_are_compared_as_origins() {
    let server = Server::with(|config| {
        config.cors = Cors::Origins(vec![
            "HTTPS://App.Example:443".into(),
            "http://[0::0001]:80".into(),
        ]);
    });
    for (page, serialised) in [
        ("https://app.example", "https://app.example"),
        ("https://App.Example:443", "https://app.example"),
        ("http://[::1]", "http://[::1]"),
        ("http://[0:0::1]:80", "http://[::1]"),
    ] {
        let answer = server.client().get_with("/poll/x", &origin(page));
        let allowed = answer.field("Access-Control-Allow-Origin");
        assert_eq!(allowed, Some(serialised), "{page}");
    }
    for page in [
        "http://app.example",
        "https://app.example:80",
        "http://[::2]",
    ] {
        server
            .client()
            .get_with("/poll/x", &origin(page))
            .problem(403);
    }
    let mut frame = server.stream("/frame/x?origin=https://APP.example:443");
    let opening = frame.until("<script>e(").unwrap();
    assert!(
        opening.contains("postMessage(o,\"https://app.example\")"),
        "{opening}"
    );
    // The same origin twice is one, which is answered alike for all.
    let server = Server::with(|config| {
        config.cors = Cors::Origins(vec![GOOD.into(), "https://GOOD.example:443".into()]);
    });
    let allowed = server.get("/poll/x");
    assert_eq!(allowed.field("Access-Control-Allow-Origin"), Some(GOOD));
}

#[test]
fn same_origin_request_with_the_key_is_allowed_behind_a_proxy_that_rewrites_host() {
    const SAME: &str = "Sec-Fetch-Site: same-origin\r\n";
    let page = "https://app.example";
    let server = Server::with(with_key);
    let publish = |fields: &str| publish_as(&server, "127.0.0.1:7711", page, fields);
    assert_eq!(publish(&format!("{SAME}{KEY}")), 200);
    assert_eq!(publish(KEY), 403);
    assert_eq!(publish(SAME), 403);
    assert_eq!(
        publish(&format!("{SAME}Authorization: Bearer wrong\r\n")),
        403
    );
    for site in [
        "cross-site",
        "same-site",
        "none",
        "",
        "same-origin, same-origin",
    ] {
        let fields = format!("Sec-Fetch-Site: {site}\r\n{KEY}");
        assert_eq!(publish(&fields), 403, "{site}");
    }
    assert_eq!(
        publish(&format!("{SAME}Sec-Fetch-Site: cross-site\r\n{KEY}")),
        403
    );
    // Where no key is required, a page that has its own name lead here is of one origin with it.
    let server = Server::start();
    let fields = format!("{SAME}{KEY}");
    assert_eq!(publish_as(&server, "127.0.0.1:7711", page, &fields), 403);
}
