//! Pages of other origins: who may read, and what a preflight is told.

use encke::Cors;

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
fn held_polls_and_streams_and_errors_echo_it_too() {
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
fn a_star_allows_all() {
    let server = Server::with(|config| config.cors = Cors::Any);
    for field in [origin("https://any.example"), origin("null"), String::new()] {
        let answer = server.client().get_with("/poll/x", &field);
        answer.batch();
        assert_eq!(answer.field("Access-Control-Allow-Origin"), Some("*"));
    }
}

#[test]
fn a_preflight_is_told_what_is_allowed() {
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
    ] {
        assert!(allowed.contains(name), "{allowed}");
    }
    assert!(answer.field("Access-Control-Max-Age").is_some());

    let evil = fields.replace(GOOD, "https://evil.example");
    client.ask("OPTIONS", "/publish/x", &evil);
    let answer = client.answer();
    answer.problem(403);
    assert_eq!(answer.field("Access-Control-Allow-Methods"), None);
}

#[test]
fn a_preflight_needs_no_key() {
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
fn options_of_anything_says_what_there_is() {
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
