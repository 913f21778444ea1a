//! Who may receive and publish, and until when.

use super::support::{START_S, Server, config, other_rules, status, token};
use crate::config::{Config, Cors, Policy, Publish, Subscribe};
use crate::engine::Access::{self, Guarded, Public, Trusted};
use crate::tokens::Key;

fn policy(pattern: &str) -> Policy {
    Policy::of(pattern.parse().unwrap())
}

/// Settings with a publish key, tokens, and a policy of each kind.
fn all_kinds() -> Config {
    Config {
        publish_key: Some("key".into()),
        policies: vec![
            Policy {
                subscribe: Some(Subscribe::Anyone),
                publish: Publish::Anyone,
                ..policy("open/*")
            },
            Policy {
                subscribe: Some(Subscribe::Nobody),
                publish: Publish::Nobody,
                ..policy("shut/*")
            },
            Policy {
                publish: Publish::Key,
                ..policy("key/*")
            },
        ],
        ..config()
    }
}

fn request(method: &str, target: &str, authorization: Option<&str>) -> String {
    let field = authorization.map(|value| format!("Authorization: {value}\r\n"));
    let field = field.unwrap_or_default();
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{field}Content-Length: 0\r\n\r\n")
}

/// The statuses of one request by: nobody, the key, a token for all, a token for another channel,
/// a token that is none.
fn statuses(config: &Config, access: Access, method: &str, target: &str) -> [u16; 5] {
    let all = format!("Bearer {}", token("u", 60, "**", "**"));
    let other = format!("Bearer {}", token("u", 60, "other", "other"));
    let credentials = [
        None,
        Some("Bearer key"),
        Some(&all),
        Some(&other),
        Some("Bearer x"),
    ];
    credentials.map(|credential| {
        let mut server = Server::new(config);
        let (_, response) = server.ask(access, &request(method, target, credential));
        status(&response).parse().unwrap()
    })
}

#[test]
fn rights_by_listener_credential_and_policy() {
    let config = all_kinds();
    // A listener that does not look at the key takes it for a token, which it is not.
    for (access, method, target, expected) in [
        (Public, "GET", "/poll/a", [401, 401, 200, 403, 401]),
        (Public, "GET", "/poll/open/a", [200, 401, 200, 200, 401]),
        (Public, "GET", "/poll/shut/a", [403, 401, 403, 403, 401]),
        (Public, "GET", "/poll/open/a,a", [401, 401, 200, 403, 401]),
        (Public, "HEAD", "/sse/a", [401, 401, 200, 403, 401]),
        (Public, "POST", "/publish/a", [401, 401, 200, 403, 401]),
        (Public, "POST", "/publish/open/a", [200, 401, 200, 200, 401]),
        (Public, "POST", "/publish/shut/a", [403, 401, 403, 403, 401]),
        (Public, "POST", "/publish/key/a", [401, 401, 403, 403, 401]),
        (Public, "GET", "/channels", [404, 404, 404, 404, 404]),
        (
            Public,
            "GET",
            "/connections?sub=u",
            [404, 404, 404, 404, 404],
        ),
        (Guarded, "GET", "/poll/a", [401, 200, 200, 403, 401]),
        (Guarded, "GET", "/poll/shut/a", [403, 200, 403, 403, 401]),
        (Guarded, "POST", "/publish/a", [401, 200, 200, 403, 401]),
        (Guarded, "POST", "/publish/key/a", [401, 200, 403, 403, 401]),
        (
            Guarded,
            "POST",
            "/publish/shut/a",
            [403, 200, 403, 403, 401],
        ),
        (Guarded, "GET", "/channels", [401, 200, 401, 401, 401]),
        (Guarded, "GET", "/metrics", [401, 200, 401, 401, 401]),
        (
            Guarded,
            "DELETE",
            "/connections?sub=u",
            [401, 200, 401, 401, 401],
        ),
        (Trusted, "GET", "/poll/a", [200, 200, 200, 200, 401]),
        (
            Trusted,
            "POST",
            "/publish/shut/a",
            [200, 200, 200, 200, 401],
        ),
        (Trusted, "GET", "/channels", [200, 200, 200, 200, 200]),
    ] {
        let found = statuses(&config, access, method, target);
        assert_eq!(found, expected, "{access:?} {method} {target}");
    }
}

#[test]
fn listener_without_key_asks_publishers_for_no_token() {
    let config = Config {
        publish_key: None,
        ..all_kinds()
    };
    for (method, target, expected) in [
        ("POST", "/publish/a", [200, 401, 200, 200, 401]),
        ("POST", "/publish/key/a", [200, 401, 200, 200, 401]),
        ("POST", "/publish/shut/a", [403, 401, 403, 403, 401]),
        ("GET", "/channels", [200, 200, 200, 200, 200]),
        ("GET", "/poll/a", [401, 401, 200, 403, 401]),
    ] {
        let found = statuses(&config, Guarded, method, target);
        assert_eq!(found, expected, "{method} {target}");
    }
}

#[test]
fn without_keys_for_tokens_all_is_as_it_was() {
    let keyless = Config {
        publish_key: Some("key".into()),
        ..Config::default()
    };
    for (access, method, target, expected) in [
        (Public, "GET", "/poll/a", [200, 200, 200, 200, 200]),
        (Public, "POST", "/publish/a", [404, 404, 404, 404, 404]),
        (Guarded, "GET", "/poll/a?token=x", [200, 200, 200, 200, 200]),
        (Guarded, "POST", "/publish/a", [401, 200, 401, 401, 401]),
    ] {
        let found = statuses(&keyless, access, method, target);
        assert_eq!(found, expected, "{access:?} {method} {target}");
    }
}

#[test]
fn anonymous_patterns_decide_who_needs_a_token() {
    for tokens in [config().tokens, Config::default().tokens] {
        let has_keys = !tokens.keys.is_empty();
        let config = Config {
            anonymous: Some(vec!["news/**".parse().unwrap()]),
            tokens,
            ..Config::default()
        };
        let mut server = Server::new(&config);
        let mut poll =
            |target| status(&server.ask(Public, &request("GET", target, None)).1).to_owned();
        assert_eq!(poll("/poll/news/a"), "200");
        assert_eq!(poll("/poll/private"), "401", "{has_keys}");
    }
}

#[test]
fn refusals_say_why() {
    let mut server = Server::new(&all_kinds());
    let cases = [
        (None, "/poll/a", "Bearer realm=\"encke\"\r\n"),
        (
            Some("Bearer x".to_owned()),
            "/poll/a",
            "Bearer realm=\"encke\", error=\"invalid_token\", error_description=\"malformed: ",
        ),
        (
            Some("Bearer".to_owned()),
            "/poll/open/a",
            "error=\"invalid_token\", error_description=\"malformed: ",
        ),
        (
            Some(format!("Bearer {}", token("u", 60, "b", "b"))),
            "/poll/a",
            "Bearer realm=\"encke\", error=\"insufficient_scope\"\r\n",
        ),
    ];
    for (credential, target, expected) in cases {
        let request = request("GET", target, credential.as_deref());
        let (_, response) = server.ask(Public, &request);
        let challenge = response
            .split("WWW-Authenticate: ")
            .nth(1)
            .unwrap_or("none");
        assert!(challenge.contains(expected), "{response}");
    }
    // A wrong publish key is told from a bad token, where the key is looked at.
    for (access, credential, expected) in [
        (
            Guarded,
            "Bearer wrong",
            "\"this is neither the publish key nor a token\"",
        ),
        (
            Guarded,
            "Bearer wr.ong",
            "\"malformed: a token has three parts",
        ),
        (
            Public,
            "Bearer wrong",
            "\"malformed: a token has three parts",
        ),
    ] {
        let request = request("POST", "/publish/a", Some(credential));
        let (_, response) = server.ask(access, &request);
        assert_eq!(status(&response), "401");
        let words = format!("error=\"invalid_token\", error_description={expected}");
        assert!(response.contains(&words), "{response}");
    }
    // The first channel that is not granted is named.
    let (_, response) = server.get("/poll/b,c,d", &token("u", 60, "b", "b"));
    assert!(response.contains("receive from c:"), "{response}");
}

#[test]
fn token_may_be_a_parameter_or_a_cookie() {
    let config = Config {
        token_cookie: Some("t".into()),
        cors: Cors::Origins(vec!["https://a.example".into()]),
        ..config()
    };
    let mut server = Server::new(&config);
    let token = token("u", 60, "a", "a");
    let (_, response) = server.ask(
        Public,
        &request("GET", &format!("/poll/a?token={token}"), None),
    );
    assert_eq!(status(&response), "200");

    let head = format!("Host: h\r\nCookie: x=1; t={token}\r\n");
    let allowed = "Origin: https://a.example\r\n";
    let (_, response) = server.ask(
        Public,
        &format!("GET /poll/a HTTP/1.1\r\n{head}{allowed}\r\n"),
    );
    assert_eq!(status(&response), "200");
    assert!(
        response.contains("\r\nAccess-Control-Allow-Credentials: true\r\n"),
        "{response}"
    );
    for (fields, expected) in [("Origin: https://evil.example\r\n", "403"), ("", "200")] {
        let request = format!("GET /poll/a HTTP/1.1\r\n{head}{fields}\r\n");
        assert_eq!(status(&server.ask(Public, &request).1), expected);
    }
    // A script of any page: the answer is a call with the problem.
    let request = format!("GET /poll/a?callback=f HTTP/1.1\r\n{head}\r\n");
    let (_, response) = server.ask(Public, &request);
    assert!(
        response.contains("f({\"error\":") && response.contains("401"),
        "{response}"
    );
}

/// With `--cors-origin *` any page may send requests, to which the browser adds the cookie.
#[test]
fn cookie_does_not_count_for_pages_that_only_the_star_allows() {
    let mut server = Server::new(&Config {
        token_cookie: Some("t".into()),
        cors: Cors::Any,
        ..config()
    });
    let token = token("u", 60, "a", "a");
    let cookie = format!("Cookie: t={token}\r\n");
    let evil = "Origin: https://evil.example\r\n";
    let own = "Origin: https://h\r\n";
    let null = "Origin: null\r\n";
    for (method, target, fields, expected) in [
        ("POST", "/publish/a", evil, "401"),
        ("POST", "/publish/a", null, "401"),
        ("POST", "/publish/a", own, "200"),
        (
            "POST",
            "/publish/a",
            "Sec-Fetch-Site: same-origin\r\n",
            "200",
        ),
        ("POST", "/publish/a", "", "200"),
        ("GET", "/poll/a", evil, "401"),
        ("GET", "/frame/a?origin=https://evil.example", "", "401"),
        ("GET", "/frame/a", "", "200"),
    ] {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: h\r\n{cookie}{fields}Content-Length: 0\r\n\r\n"
        );
        let (_, response) = server.ask(Public, &request);
        assert_eq!(status(&response), expected, "{method} {target} {fields}");
    }
    // Any page that has a token of its own may use it.
    let target = format!("/poll/a?token={token}");
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{evil}\r\n");
    assert_eq!(status(&server.ask(Public, &request).1), "200");
}

/// A page can have its own name resolved to this machine, and bring a token of its own.
#[test]
fn token_gives_rebound_page_no_more_than_it_grants() {
    let with_key = Config {
        publish_key: Some("key".into()),
        ..config()
    };
    let token = token("u", 60, "a", "a");
    for (config, access, method, target, expected) in [
        (config(), Trusted, "POST", "/publish/b", "403"),
        (config(), Trusted, "GET", "/poll/b", "403"),
        (config(), Guarded, "POST", "/publish/b", "403"),
        (config(), Guarded, "GET", "/poll/a", "200"),
        (config(), Public, "POST", "/publish/a", "200"),
        (with_key.clone(), Trusted, "POST", "/publish/b", "403"),
        (with_key, Guarded, "POST", "/publish/a", "200"),
    ] {
        for site in ["", "Sec-Fetch-Site: same-origin\r\n"] {
            let mut server = Server::new(&config);
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\
                 {site}Authorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
            );
            let (_, response) = server.ask(access, &request);
            assert_eq!(status(&response), expected, "{access:?} {method} {site}");
        }
    }
}

#[test]
fn credentials_are_never_allowed_to_every_origin() {
    for (cors, cookie, expected) in [
        (Cors::Any, Some("t"), 0),
        (Cors::Origins(vec!["https://a.example".into()]), None, 0),
        (
            Cors::Origins(vec!["https://a.example".into()]),
            Some("t"),
            1,
        ),
        (
            Cors::Origins(vec!["https://b.example".into(), "https://a.example".into()]),
            Some("t"),
            1,
        ),
    ] {
        let config = Config {
            cors,
            token_cookie: cookie.map(String::from),
            ..config()
        };
        let mut server = Server::new(&config);
        for method in ["GET", "OPTIONS"] {
            let request = format!(
                "{method} /poll/a HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example\r\n\
                 Access-Control-Request-Method: GET\r\n\r\n"
            );
            let (_, response) = server.ask(Public, &request);
            let found = response
                .matches("Access-Control-Allow-Credentials: true")
                .count();
            assert_eq!(found, expected, "{response}");
        }
    }
}

#[test]
fn batch_is_published_if_all_its_channels_are_granted() {
    let mut server = Server::new(&config());
    let token = token("u", 60, "a", "a/*");
    let mut publish = |body: &str| {
        let request = format!(
            "POST /publish HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        server.ask(Public, &request).1
    };
    let good = "{\"channel\":\"a/1\",\"data\":1}\n{\"channel\":\"a/2\",\"data\":2}\n";
    assert_eq!(status(&publish(good)), "200");
    let bad = "{\"channel\":\"a/1\",\"data\":3}\n{\"channel\":\"b\",\"data\":4}\n";
    let refused = publish(bad);
    assert_eq!(status(&refused), "403");
    assert!(refused.contains("publish to b:"), "{refused}");
    assert_eq!(server.engine.hub().message_count(), 2);
}

#[test]
fn hold_ends_as_an_empty_batch_when_its_token_expires() {
    let mut server = Server::new(&config());
    let (id, response) = server.get("/long-poll/a?hold=100", &token("u", 10, "a", "a"));
    assert_eq!(response, "");
    server.pass(8_900);
    assert_eq!(server.take(id), "");
    server.pass(1_100);
    let response = server.take(id);
    assert!(response.ends_with("\"messages\":[]}"), "{response}");
    assert_eq!(server.engine.stats().expired, 1);
    assert_eq!(server.engine.stats().holds_expired, 0);
}

#[test]
fn hold_that_ends_before_its_token_expires_is_not_counted_as_expired() {
    let mut server = Server::new(&config());
    let (id, _) = server.get("/long-poll/a?hold=5", &token("u", 10, "a", "a"));
    server.pass(5_020);
    assert!(server.take(id).ends_with("\"messages\":[]}"));
    assert_eq!(server.engine.stats().expired, 0);
    assert_eq!(server.engine.stats().holds_expired, 1);
}

#[test]
fn streams_say_that_their_token_has_expired() {
    for (target, expected) in [
        ("/sse/a", "event: expired\ndata: "),
        ("/ndjson/a", "\"retry\":0,\"expired\":true}\n"),
        ("/frame/a", "\"retry\":0,\"expired\":true})</script>\n"),
    ] {
        let mut server = Server::new(&config());
        let (id, _) = server.get(target, &token("u", 10, "a", "a"));
        server.pass(8_900);
        assert!(!server.take(id).contains("expired"));
        server.pass(1_100);
        let rest = server.take(id);
        assert!(rest.contains(expected), "{rest}");
        assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
        let stats = server.engine.stats();
        assert_eq!((stats.expired, stats.recycled), (1, 0), "{target}");
    }
}

#[test]
fn connections_with_one_exp_end_at_different_times_before_it() {
    const STREAMS: usize = 1_000;
    let mut server = Server::new(&config());
    let token = token("u", 40, "a", "a");
    for _ in 0..STREAMS {
        server.get("/ndjson/a", &token);
    }
    let mut ended = Vec::new();
    for _ in 0..40 {
        server.pass(1_000);
        ended.push(server.engine.stats().expired as usize);
    }
    // A tenth of 40 s, so in the last 4 s, about as many in each.
    assert_eq!(ended[34], 0);
    for second in 36..40 {
        let number = ended[second] - ended[second - 1];
        assert!(number.abs_diff(STREAMS / 4) < STREAMS / 12, "{ended:?}");
    }
    assert_eq!(ended[39], STREAMS);
}

#[test]
fn expired_token_is_refused_from_its_millisecond_on() {
    let mut server = Server::new(&config());
    let token = token("u", 10, "a", "a");
    server.pass(9_999);
    assert_eq!(status(&server.get("/poll/a", &token).1), "200");
    server.pass(1);
    let (_, response) = server.get("/poll/a", &token);
    assert_eq!(status(&response), "401");
    assert!(response.contains("expired 0 s ago"), "{response}");
    assert!(!response.contains(&token) && !response.contains(&START_S.to_string()));
}

/// The caller reads no more requests in a tick once enough is spent.
#[test]
fn checks_of_signatures_count_as_work_of_the_turn() {
    let mut server = Server::new(&config());
    let good = token("u", 60, "a", "a");
    let forged = format!("{}{}", &good[..good.len() - 2], "AA");
    assert_eq!(status(&server.get("/poll/a", &good).1), "200");
    let before = server.engine.spent_bytes();
    server.get("/poll/a", &good);
    let known = server.engine.spent_bytes() - before;
    server.get("/poll/a", &forged);
    let checked = server.engine.spent_bytes() - before - known;
    assert!(known < 1_000 && checked > 50_000, "{known}, {checked}");
    server.pass(1);
    assert_eq!(server.engine.spent_bytes(), 0);
}

#[test]
fn pipeline_of_forged_tokens_is_served_over_several_turns() {
    let secret = |number| format!("secret {number} of a test, 32 bytes or more");
    let keys = (0..40).flat_map(|number| Key::parse(secret(number).as_bytes()).unwrap().0);
    let mut config = config();
    config.tokens.keys.extend(keys);
    let mut server = Server::new(&config);
    let good = token("u", 60, "a", "a");
    let forged = format!("{}{}", &good[..good.len() - 2], "AA");
    let request = request("GET", "/poll/a", Some(&format!("Bearer {forged}")));
    // 41 signatures for each.
    let (id, first) = server.ask(Public, &request.repeat(6));
    assert_eq!(first.matches("401 Unauthorized").count(), 2, "{first}");
    let mut rest = String::new();
    while let Some(id) = server.engine.next_deferred() {
        rest += &server.resume(id);
    }
    assert_eq!(rest.matches("401 Unauthorized").count(), 4, "{rest}");
    assert_eq!(server.take(id), "");
}

#[test]
fn upload_is_judged_again_when_its_body_is_whole() {
    let mut other_key = config();
    other_key.tokens = other_rules();
    for (ms, changed, blocked, expected) in [
        (0, None, false, "200"),
        (5_000, None, false, "401"),
        (0, Some(other_key), false, "401"),
        (0, None, true, "401"),
    ] {
        let mut server = Server::new(&config());
        let token = token("u", 5, "x", "a");
        let head = format!(
            "POST /publish/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 2\r\n\r\n1"
        );
        let (id, response) = server.ask(Public, &head);
        assert_eq!(response, "");
        server.pass(ms);
        if let Some(config) = changed {
            server.engine.reconfigure(&config);
        }
        if blocked {
            server.control("DELETE", "/connections?sub=u&block=9");
        }
        let next = request("GET", "/healthz", None);
        let response = server.ask_again(id, format!("2{next}"));
        assert_eq!(status(&response), expected);
        assert!(response.contains("\r\n\r\nok\n"), "{response}");
        let published = u64::from(expected == "200");
        assert_eq!(server.engine.hub().counts().published, published);
    }
}
