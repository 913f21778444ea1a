//! The corpus over real sockets: the exact responses, and whether the connection is closed.

use std::io::Write;
use std::net::Shutdown;

use super::{Case, Expected, MAX_BODY_BYTES, MAX_HEAD_BYTES, cases, each};
use crate::DEADLINE;
use crate::client::{Client, Head, request};
use crate::server::Server;

/// How the bytes of a request leave.
#[derive(Clone, Copy, Debug)]
enum Sending {
    Whole,
    /// Each byte in a write of its own.
    ByteByByte,
}

fn server() -> Server {
    Server::with(|config| {
        config.max_head_bytes = MAX_HEAD_BYTES;
        config.max_body_bytes = MAX_BODY_BYTES;
        // Byte by byte takes its time on a busy machine.
        config.head_timeout = 10 * DEADLINE;
        config.body_timeout = 10 * DEADLINE;
    })
}

impl Sending {
    fn send(self, client: &mut Client, bytes: &[u8]) {
        match self {
            Sending::Whole => client.send(bytes),
            Sending::ByteByByte => {
                client.socket.set_nodelay(true).unwrap();
                for byte in bytes {
                    if client.socket.write_all(&[*byte]).is_err() {
                        // Refused, and closed while the rest was still being sent.
                        return;
                    }
                }
            }
        }
    }

    /// Whether the server may have closed before all was sent, which resets the connection.
    fn may_be_reset(self) -> bool {
        matches!(self, Sending::ByteByByte)
    }
}

/// Tries one case on a connection of its own.
fn check(server: &Server, case: &Case, sending: Sending) {
    // Messages that the previous case has left.
    let mut client = server.client();
    client.ask("DELETE", "/channels/c", "");
    assert!(matches!(client.head().status, 204 | 404));
    let mut client = server.client();
    let mut bytes = case.bytes.clone();
    if !case.is_silent() {
        // It is served where the connection survives, and nowhere else.
        bytes.extend(request("GET", "/readyz", "", "").bytes());
    }
    sending.send(&mut client, &bytes);
    let closes = check_answers(&mut client, case, sending);
    if !closes && !case.is_silent() {
        assert_eq!(client.answer().text(), "ready\n", "{}", case.name);
    }
    if !closes {
        client.socket.shutdown(Shutdown::Write).unwrap();
    }
    let rest = match client.rest() {
        Err(error) if closes && sending.may_be_reset() && is_reset(&error) => Vec::new(),
        rest => rest.unwrap_or_else(|error| panic!("{}: no clean end: {error}", case.name)),
    };
    assert!(
        rest.is_empty(),
        "{}: {:?}",
        case.name,
        String::from_utf8_lossy(&rest)
    );
    check_messages(server, case);
}

fn is_reset(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionReset
}

/// Reads the responses, and returns whether the last of them closes the connection.
fn check_answers(client: &mut Client, case: &Case, sending: Sending) -> bool {
    for expected in &case.answers {
        let head = loop {
            let head = client.try_head();
            let missing = || panic!("{}: no {}", case.name, expected.answer.name);
            let head = head.unwrap_or_else(missing);
            if head.status != 100 {
                break head;
            }
        };
        let mut expected = expected.clone();
        let is_early = expected.may_be_early && head.field("Connection") == Some("close");
        if is_early && matches!(sending, Sending::ByteByByte) {
            expected.connection = Some("close".to_owned());
        }
        check_answer(client, &head, &expected, &case.name);
        if expected.closes() {
            return true;
        }
    }
    false
}

fn check_answer(client: &mut Client, head: &Head, expected: &Expected, name: &str) {
    let length = head
        .field("Content-Length")
        .map(|length| length.parse().unwrap());
    let body = match (expected.head_only, length) {
        (false, Some(length)) => client.take(length).expect("a whole body"),
        _ => Vec::new(),
    };
    let body = String::from_utf8(body).expect("a body of UTF-8");
    let definition = &expected.answer;
    let at = format!("{name}: {head:?} {body}");
    assert_eq!(head.status, definition.status, "{at}");
    check_fields(head, expected, &at);
    if expected.head_only {
        return;
    }
    match (&definition.body, &definition.problem) {
        (Some(wanted), _) => assert!(is_like(&body, wanted), "{at}, and not {wanted}"),
        (None, Some(detail)) => assert_eq!(body, problem(head, detail), "{name}"),
        (None, None) => assert_eq!(body, "", "{name}"),
    }
}

/// A whole problem document.
fn problem(head: &Head, detail: &str) -> String {
    let (title, status) = (&head.reason, head.status);
    format!("{{\"title\":\"{title}\",\"status\":{status},\"detail\":\"{detail}\"}}")
}

/// The fields are those that are expected, and no others.
fn check_fields(head: &Head, expected: &Expected, at: &str) {
    let definition = &expected.answer;
    let has_body = definition.body.is_some() || definition.problem.is_some();
    let kind = ("Content-Type", "application/problem+json");
    let fields = definition
        .fields
        .iter()
        .map(|(name, value)| (&**name, &**value));
    let mut wanted: Vec<(&str, &str)> = fields
        .chain([("Date", "*"), ("Cache-Control", "no-store, no-transform")])
        .chain(has_body.then_some(("Content-Length", "*")))
        .chain(definition.problem.is_some().then_some(kind))
        .collect();
    // A response that keeps the connection announces one second less than the default idle timeout.
    wanted.extend(match expected.connection.as_deref() {
        Some("close") => vec![("Connection", "close")],
        _ => vec![("Connection", "keep-alive"), ("Keep-Alive", "timeout=74")],
    });
    let mut found: Vec<(&str, &str)> = head.fields().collect();
    wanted.sort_unstable();
    found.sort_unstable();
    assert_eq!(wanted.len(), found.len(), "{at}");
    for (wanted, found) in wanted.iter().zip(&found) {
        assert!(
            wanted.0 == found.0 && is_like(found.1, wanted.1),
            "{at}: not {wanted:?}"
        );
    }
}

/// Whether text is as a pattern in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((first, pattern)) = pattern.split_once('*') else {
        return text == pattern;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = pattern.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

/// The channel holds the messages of the case.
fn check_messages(server: &Server, case: &Case) {
    let batch = server.get("/poll/c").batch();
    let wanted: Vec<_> = case
        .messages
        .iter()
        .map(|text| String::from_utf8_lossy(text))
        .collect();
    assert_eq!(batch.data(), wanted, "{}", case.name);
}

#[test]
fn whole_request_gets_the_expected_answer() {
    let server = server();
    each(&cases(), |case| check(&server, case, Sending::Whole));
}

#[test]
fn request_in_single_bytes_gets_the_expected_answer() {
    let server = server();
    let mut cases = cases();
    // The parser itself has longer ones byte by byte.
    cases.retain(|case| case.bytes.len() < 4_000);
    each(&cases, |case| check(&server, case, Sending::ByteByByte));
}

#[test]
fn star_of_a_pattern_matches_any_text() {
    for (text, pattern) in [
        ("", ""),
        ("a", "a"),
        ("a", "*"),
        ("abc", "a*c"),
        ("acc", "a*c"),
        ("abcbc", "a*b*"),
    ] {
        assert!(is_like(text, pattern), "{text} {pattern}");
    }
    for (text, pattern) in [
        ("a", ""),
        ("", "a"),
        ("ab", "a"),
        ("ab", "b"),
        ("abc", "a*b"),
    ] {
        assert!(!is_like(text, pattern), "{text} {pattern}");
    }
}
