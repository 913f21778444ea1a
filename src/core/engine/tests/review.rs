//! Parked connections after a change of rights.

use super::support::{Server, config, get, other_rules, status, token};
use crate::config::{Config, Policy, Subscribe};
use crate::engine::Access::{self, Guarded, Public, Trusted};

/// Streams of all kinds under `before`, and which of them have ended under `after`: anonymous on
/// `open/a`, by token on `open/a`, by token on `a`, by the publish key on `a`, trusted on `a`.
fn ended(before: &Config, after: &Config) -> [bool; 5] {
    let mut server = Server::new(before);
    let token = format!("Bearer {}", token("u", 600, "**", "x"));
    let streams = [
        (Public, "/sse/open/a", None),
        (Public, "/sse/open/a", Some(&*token)),
        (Public, "/sse/a", Some(&*token)),
        (Guarded, "/sse/a", Some("Bearer key")),
        (Trusted, "/sse/a", None),
    ];
    let ids = streams.map(|(access, target, credential): (Access, _, Option<&str>)| {
        let field = credential.map(|value| format!("Authorization: {value}\r\n"));
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\n{}\r\n",
            field.unwrap_or_default()
        );
        let (id, response) = server.ask(access, &request);
        assert_eq!(status(&response), "200", "{access:?} {target}");
        id
    });
    server.engine.reconfigure(after);
    // As many ticks as it takes for as many connections as there can be.
    for _ in 0..10 {
        server.pass(0);
    }
    server.pass(20);
    assert!(!server.engine.has_work());
    ids.map(|id| server.take(id).contains("event: expired"))
}

fn base() -> Config {
    Config {
        publish_key: Some("key".into()),
        policies: vec![policy("open/*", Subscribe::Anyone)],
        ..config()
    }
}

fn policy(pattern: &str, subscribe: Subscribe) -> Policy {
    Policy {
        subscribe: Some(subscribe),
        ..Policy::of(pattern.parse().unwrap())
    }
}

#[test]
fn only_connections_whose_right_is_gone_end() {
    let base = base();
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    let unchanged = with(&|config| {
        config.policies[0].history_messages = Some(5);
        config.heartbeat *= 2;
    });
    assert_eq!(ended(&base, &unchanged), [false; 5]);

    // The token was not looked at for this channel, so its client has to show it again.
    let closed = with(&|config| config.policies.clear());
    assert_eq!(ended(&base, &closed), [true, true, false, false, false]);

    let nobody = with(&|config| config.policies.push(policy("**", Subscribe::Nobody)));
    assert_eq!(ended(&base, &nobody), [false, false, true, false, false]);

    let open = with(&|config| config.anonymous = Some(vec!["**".parse().unwrap()]));
    assert_eq!(ended(&base, &open), [false; 5]);

    let other_key = with(&|config| config.tokens = other_rules());
    assert_eq!(ended(&base, &other_key), [false, false, true, false, false]);

    let more_keys = with(&|config| config.tokens.keys.extend(other_rules().keys));
    assert_eq!(ended(&base, &more_keys), [false; 5]);

    let audience = with(&|config| config.tokens.audience = Some("encke".into()));
    assert_eq!(ended(&base, &audience), [false, false, true, false, false]);

    let publish_key = with(&|config| config.publish_key = Some("new".into()));
    assert_eq!(
        ended(&base, &publish_key),
        [false, false, false, true, false]
    );
}

/// The reviews that wait are bounded, and none is forgotten.
#[test]
fn connections_whose_right_is_uncertain_after_many_changes_end() {
    let base = base();
    let mut other = base.clone();
    other.policies.push(policy("b", Subscribe::Nobody));
    let mut server = Server::new(&base);
    let token = token("u", 600, "**", "x");
    let (by_token, _) = server.get("/sse/a", &token);
    let (open, _) = server.get("/sse/open/a", &token);
    for config in std::iter::repeat_n([&other, &base], 50).flatten() {
        server.engine.reconfigure(config);
    }
    for _ in 0..1_000 {
        server.pass(0);
    }
    server.pass(20);
    assert!(!server.engine.has_work());
    assert!(server.take(by_token).contains("expired"));
    assert!(!server.take(open).contains("expired"));
}

#[test]
fn connection_that_is_accepted_after_a_change_is_not_ended_by_it() {
    let first = base();
    let mut closed = first.clone();
    closed.policies.clear();
    closed.publish_key = Some("new".into());
    let mut server = Server::new(&first);
    let token = token("u", 600, "**", "x");
    let (before, _) = server.get("/sse/open/a", &token);
    server.engine.reconfigure(&closed);
    let (after, response) = server.get("/sse/open/a", &token);
    assert_eq!(status(&response), "200");
    let request = "GET /sse/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer new\r\n\r\n";
    let (by_key, response) = server.ask(Guarded, request);
    assert_eq!(status(&response), "200");
    for _ in 0..10 {
        server.pass(0);
    }
    server.pass(20);
    assert!(!server.engine.has_work());
    let ended = [before, after, by_key].map(|id| server.take(id).contains("expired"));
    assert_eq!(ended, [true, false, false]);
    // A later change is one.
    server.engine.reconfigure(&first);
    server.engine.reconfigure(&closed);
    for _ in 0..20 {
        server.pass(0);
    }
    server.pass(20);
    let ended = [after, by_key].map(|id| server.take(id).contains("expired"));
    assert_eq!(ended, [true, true]);
}

#[test]
fn change_during_a_review_compares_with_the_rights_before_both() {
    let first = base();
    let mut closed = first.clone();
    closed.policies[0].subscribe = Some(Subscribe::Nobody);
    let mut server = Server::new(&first);
    let request = get("/sse/open/a");
    let (id, _) = server.ask(Public, &request);
    server.engine.reconfigure(&closed);
    server.engine.reconfigure(&first);
    for _ in 0..20 {
        server.pass(0);
    }
    assert!(!server.engine.has_work());
    // It has its right again before anybody looked.
    assert!(!server.take(id).contains("expired"));
    server.engine.reconfigure(&closed);
    for _ in 0..20 {
        server.pass(0);
    }
    server.pass(20);
    assert!(server.take(id).contains("expired"));
}
