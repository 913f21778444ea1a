//! Requests to receive: targets, parameters, cursors and names of channels.
//!
//! The input's first line is a target; a second, if there is one, is a `Last-Event-ID`. The
//! request goes to a server that has seven messages. A slow reading of the contract says what it
//! asks for, and the oracle whether it gets that. The parts are also tried by themselves.

use encke_core::engine::State;
use encke_core::http1::{self, Framing, Outcome, Scan};
use encke_core::message::{ChannelName, Cursor, Draft, Seq};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use crate::judged::judge;
use crate::server::{Answer, Server};
use crate::wanted::{MESSAGES, Wanted, decoded, is_name, read_cursor, wanted};

/// Reads bytes as a target, and as its parts.
pub fn params(bytes: &[u8]) {
    decoding(bytes);
    let mut server = Server::new();
    for name in MESSAGES {
        let name = ChannelName::parse(name.as_bytes()).expect("a name");
        let draft = Draft::new(name, "x".into());
        server.engine.submit(draft).expect("there is room");
    }
    cursor(bytes, &server);
    name(bytes, &mut server);
    target(bytes, &mut server);
}

fn decoding(bytes: &[u8]) {
    assert_eq!(
        http1::decode(bytes).map(|bytes| bytes.into_owned()),
        decoded(bytes)
    );
    let encoded = percent_encode(bytes, NON_ALPHANUMERIC).to_string();
    let back = http1::decode(encoded.as_bytes()).expect("encoded in order");
    assert_eq!(&*back, bytes);
    let pairs: Vec<_> = http1::parameters(bytes).collect();
    let joined: Vec<Vec<u8>> = pairs
        .iter()
        .map(|(name, value)| [*name, b"=", *value].concat())
        .collect();
    let joined = joined.join(&b'&');
    let again: Vec<_> = http1::parameters(&joined).collect();
    assert_eq!(pairs, again);
    assert!(
        pairs
            .iter()
            .all(|(name, _)| !name.contains(&b'=') && !name.contains(&b'&'))
    );
}

fn cursor(bytes: &[u8], server: &Server) {
    let epoch = server.engine.hub().epoch();
    // What comes after a hyphen is tried under the server's own epoch too.
    let own = [epoch.as_str().as_bytes(), b"-", bytes].concat();
    for text in [bytes, &own] {
        let slow = read_cursor(text).map(|(given, seq)| match given == epoch.as_str() {
            true => Cursor::Known(Seq(seq)),
            false => Cursor::Foreign,
        });
        assert_eq!(Cursor::parse(text, server.engine.hub().numbering()), slow);
        if let Some(Cursor::Known(seq)) = slow
            && !seq.is_place()
        {
            let id = server.engine.hub().id(seq);
            let mut written = Vec::new();
            id.write(&mut written);
            assert_eq!(written, text);
            assert_eq!(id.to_string().as_bytes(), text);
        }
    }
}

/// A name that may be is published to, and comes back as it is.
fn name(bytes: &[u8], server: &mut Server) {
    assert_eq!(ChannelName::parse(bytes).is_ok(), is_name(bytes));
    let encoded = percent_encode(bytes, NON_ALPHANUMERIC);
    let request =
        format!("PUT /publish/{encoded} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    let answer = server.ask(request.as_bytes());
    match std::str::from_utf8(bytes) {
        Ok(name) if is_name(bytes) => {
            assert_eq!(answer.status, 200);
            let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!(said["channel"], name);
            assert!(server.engine.hub().find(name).is_some());
        }
        _ if encoded.to_string().len() > 16_000 => assert!(answer.status >= 400),
        // Without a name it is another endpoint, or another channel is named.
        _ => assert_eq!(answer.status, 400, "{bytes:?}"),
    }
}

fn target(bytes: &[u8], server: &mut Server) {
    let mut lines = bytes.splitn(2, |&byte| byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let id = lines.next().unwrap_or_default();
    let field = match id {
        [] => Vec::new(),
        id => [b"Last-Event-ID: ", id, b"\r\n"].concat(),
    };
    let request = [
        b"GET ",
        target,
        b" HTTP/1.1\r\nHost: h\r\n",
        &field,
        b"\r\n",
    ]
    .concat();
    let outcome = http1::parse(&request, &mut Scan::default(), 16 << 10);
    let Ok(Outcome::Complete { head, length }) = outcome else {
        assert!(server.ask(&request).status >= 400 || outcome.is_ok());
        return;
    };
    if length < request.len() || head.framing != Framing::None {
        // The second line held a head's end, or announced a body: neither is compared.
        server.ask(&request);
        return;
    }
    let answer = server.ask(&request);
    let path = head.path;
    for way in ["poll", "long-poll", "sse", "ndjson", "frame"] {
        let Some(names) = path.strip_prefix(format!("/{way}/").as_bytes()) else {
            continue;
        };
        let id = head.last_event_id.filter(|id| !id.is_empty());
        match wanted(way, names, head.query, id, server) {
            Some(wanted) => compare(&wanted, &answer, server),
            None => refused(way, head.query, &answer),
        }
        return;
    }
    assert!(
        matches!(answer.status, 200 | 400 | 404 | 405),
        "{}",
        answer.status
    );
}

fn refused(way: &str, query: &[u8], answer: &Answer) {
    let is_script = way.ends_with("poll") && query.windows(9).any(|nine| nine == b"callback=");
    let is_jsonp = is_script && answer.status == 200 && answer.body.starts_with(b"/**/");
    assert!(is_jsonp || answer.status == 400, "{way}: {}", answer.status);
    if is_jsonp {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            text.contains("({\"error\":{"),
            "malformed, and served: {text}"
        );
    }
}

fn compare(wanted: &Wanted<'_>, answer: &Answer, server: &Server) {
    if !wanted.way.ends_with("poll") {
        assert_eq!((answer.status, answer.state), (200, State::Streaming));
        let is_known = |name: &String| server.engine.hub().find(name).is_some();
        assert!(wanted.names.iter().all(is_known));
        return;
    }
    let from = wanted.after.unwrap_or(0);
    let is_owed = |(seq, name): (u64, &str)| seq > from && wanted.names.iter().any(|n| n == name);
    let is_owed = (1..).zip(MESSAGES).any(is_owed);
    let is_answered = is_owed || wanted.after.is_none() || wanted.at_once;
    assert_eq!(answer.state == State::Held, !is_answered);
    // An early head is all that there may be of a request that is held.
    assert!(
        is_answered && answer.status == 200 || !is_answered && matches!(answer.status, 0 | 200)
    );
    judge(wanted, answer, server);
}
