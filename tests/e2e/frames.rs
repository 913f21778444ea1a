//! The frames in `tests/corpus/frames.ws`, and all that each must be answered.
//!
//! Owns the format of that file.

use std::fs;
use std::path::Path;

use encke_test_client::websocket::HANDSHAKE;

use crate::server::Server;

/// What a client sends on a socket of its own, and what comes back.
#[derive(Default)]
struct Case {
    title: String,
    query: String,
    sent: Vec<u8>,
    expected: Vec<u8>,
    is_closed: bool,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/frames.ws");
    let text = fs::read_to_string(path).expect("the file is there");
    let (mut query, mut cases) = (String::new(), Vec::<Case>::new());
    for line in text.lines() {
        let (sign, rest) = line.split_at(line.len().min(1));
        match sign {
            "" | "#" => {}
            "[" => query = rest.trim_end_matches(']').to_owned(),
            ":" => cases.push(Case {
                title: format!("[{query}]{rest}"),
                query: query.clone(),
                ..Case::default()
            }),
            ">" => cases.last_mut().expect("a title").sent.extend(bytes(rest)),
            "<" if rest == " closed" => cases.last_mut().expect("a title").is_closed = true,
            "<" => {
                let case = cases.last_mut().expect("a title");
                case.expected.extend(bytes(rest));
            }
            _ => panic!("{line}"),
        }
    }
    cases
}

/// The bytes of a line: pairs of digits, then perhaps a text in quotes, whose own are single ones.
fn bytes(line: &str) -> Vec<u8> {
    let (digits, text) = match line.split_once('"') {
        Some((digits, text)) => (digits, text.strip_suffix('"').expect("a closing quote")),
        None => (line, ""),
    };
    let digits = digits.split_whitespace();
    let byte = |pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{line}"));
    let mut bytes: Vec<u8> = digits.map(byte).collect();
    bytes.extend(text.replace('\'', "\"").bytes());
    bytes
}

/// Sends a case in pieces of so many bytes.
fn check(case: &Case, pieces: usize) {
    let server = Server::with(|config| {
        config.max_body_bytes = 100;
        config.page = false;
    });
    let mut client = server.client();
    client.ask("GET", &format!("/ws/c?{}", case.query), HANDSHAKE);
    assert_eq!(client.head().status, 101, "{}", case.title);
    for piece in case.sent.chunks(pieces) {
        client.send(piece);
    }
    let received = client.take(case.expected.len()).unwrap_or_default();
    let is_same = |(&got, &wanted): (&u8, &u8)| {
        got == wanted || (wanted == b'*' && got.is_ascii_alphanumeric())
    };
    assert!(
        received.len() == case.expected.len() && received.iter().zip(&case.expected).all(is_same),
        "{}: {} and not {}",
        case.title,
        received.escape_ascii(),
        case.expected.escape_ascii()
    );
    if case.is_closed {
        client.expect_end();
    }
}

#[test]
fn frames_sent_whole_get_the_expected_ones() {
    for case in cases() {
        check(&case, usize::MAX);
    }
}

#[test]
fn frames_sent_in_single_bytes_get_the_expected_ones() {
    for case in cases() {
        check(&case, 1);
    }
}
