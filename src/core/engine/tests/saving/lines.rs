//! Requests that publish by lines, and batches, while their log is saved.

use super::*;
use crate::engine::tests::support::{LAST_CHUNK, chunk, chunked};

#[test]
fn batch_without_room_for_its_response_is_refused() {
    let mut small = config();
    small.max_buffer_bytes = 4_000;
    small.max_body_bytes = 3_000;
    small.max_head_bytes = 1_000;
    let mut server = Server::with_history(&small);
    let lines = "{\"channel\":\"a\",\"data\":1}\n".repeat(40);
    let request = format!(
        "POST /publish HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{lines}",
        lines.len()
    );
    let (_, answer) = server.ask(Access::Trusted, &request);
    assert_eq!(status(&answer), "503");
    assert_eq!(server.engine.newest().0, 0);
}

/// The head of a request that publishes by lines, in chunks.
fn by_lines(query: &str) -> String {
    chunked(&format!("/publish/news?lines=1{query}"), "")
}

#[test]
fn lines_are_delivered_at_once_and_the_request_is_answered_when_saved() {
    let mut server = server();
    let (id, _) = server.ask(Access::Trusted, &by_lines("&end=1"));
    assert_eq!(server.ask_again(id, chunk("one\ntwo")), "");
    assert!(
        server
            .control("GET", "/poll/news")
            .contains("\"data\":\"one\"")
    );
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(server.take(id), "");
    assert_eq!(server.ask_again(id, LAST_CHUNK), "");
    assert_eq!(server.engine.state(id), Some(State::Publishing));
    let mark = take(&mut server);
    server.saved(mark);
    let answer = server.take(id);
    assert!(answer.contains("{\"published\":2,\"last\":"), "{answer}");
    assert_eq!(server.engine.state(id), Some(State::Idle));
    assert_eq!(server.engine.buffered_bytes(), 0);
}

#[test]
fn error_of_lines_counts_saved_lines() {
    let mut server = server();
    let batch = by_lines("").replace("/news?", "?");
    let (id, _) = server.ask(Access::Trusted, &batch);
    let lines = "{\"channel\":\"a\",\"data\":1}\nbad\n";
    assert_eq!(server.ask_again(id, chunk(lines)), "");
    assert_eq!(server.engine.state(id), Some(State::Publishing));
    // Nothing more is read from it.
    assert_eq!(server.ask_again(id, chunk(lines)), "");
    let mark = take(&mut server);
    server.saved(mark);
    let told = server.take(id);
    assert_eq!(status(&told), "400");
    assert!(told.contains("line 2") && told.contains("\"published\":1"));
    assert!(told.contains("Connection: close"), "{told}");
    assert_eq!(server.engine.state(id), Some(State::Closing));
    assert_eq!(server.engine.buffered_bytes(), 0);
    assert_eq!(server.engine.delivery.connections.line_requests.used(), 0);

    // One whose lines are all saved, or that has none, is refused at once.
    for first in ["{\"channel\":\"a\",\"data\":2}\n", ""] {
        let (id, _) = server.ask(Access::Trusted, &batch);
        if !first.is_empty() {
            assert_eq!(server.ask_again(id, chunk(first)), "");
            let mark = take(&mut server);
            server.saved(mark);
        }
        let told = server.ask_again(id, chunk("bad\n"));
        assert_eq!(status(&told), "400");
    }
}

#[test]
fn error_of_lines_that_are_not_saved_in_time_counts_none() {
    let mut server = server();
    let (id, _) = server.ask(Access::Trusted, &by_lines(""));
    assert_eq!(server.ask_again(id, chunk("one\n")), "");
    assert_eq!(server.ask_again(id, "no chunk\r\n"), "");
    assert_eq!(server.engine.state(id), Some(State::Publishing));
    server.pass(5_000);
    let told = server.take(id);
    assert_eq!(status(&told), "503");
    assert!(!told.contains("\"published\""), "{told}");
    assert_eq!(told.matches("HTTP/1.1").count(), 1, "{told}");
    assert_eq!(server.engine.state(id), Some(State::Closing));
    assert_eq!(server.engine.delivery.connections.line_requests.used(), 0);
}

#[test]
fn error_of_lines_at_a_deadline_waits_for_the_log() {
    let mut server = server();
    let (id, _) = server.ask(Access::Trusted, &by_lines(""));
    assert_eq!(server.ask_again(id, chunk("one\n")), "");
    server.pass(30_000);
    assert_eq!(server.take(id), "");
    let mark = take(&mut server);
    server.saved(mark);
    let told = server.take(id);
    assert_eq!(status(&told), "408");
    assert!(told.contains("\"published\":1"), "{told}");
}

#[test]
fn acknowledgements_wait_for_the_log_in_their_order() {
    let mut server = server();
    let (id, head) = server.ask(Access::Trusted, &by_lines("&ack=1"));
    assert_eq!(status(&head), "200");
    assert_eq!(server.ask_again(id, chunk("one\n")), "");
    let first = take(&mut server);
    assert_eq!(server.ask_again(id, chunk("two\nthree\n")), "");
    let second = take(&mut server);
    server.saved(first);
    let acknowledged = server.take(id);
    assert_eq!(acknowledged.matches("\"id\"").count(), 1, "{acknowledged}");
    // Nothing is published by the end of the request, and its summary waits all the same.
    assert_eq!(server.ask_again(id, LAST_CHUNK), "");
    assert_eq!(server.engine.state(id), Some(State::Publishing));
    server.saved(second);
    let acknowledged = server.take(id);
    assert_eq!(acknowledged.matches("\"id\"").count(), 2, "{acknowledged}");
    assert!(acknowledged.contains("{\"published\":3,\"last\":"));
    assert!(acknowledged.ends_with("0\r\n\r\n"));
    assert_eq!(server.engine.state(id), Some(State::Closing));
    assert_eq!(server.engine.buffered_bytes(), 0);
}

#[test]
fn bad_line_is_told_behind_the_acknowledgements_that_wait() {
    let mut server = server();
    let request = by_lines("&ack=1").replace("/news?", "?");
    let (id, _) = server.ask(Access::Trusted, &request);
    let lines = "{\"channel\":\"a\",\"data\":1}\nbad\n";
    assert_eq!(server.ask_again(id, chunk(lines)), "");
    let mark = take(&mut server);
    server.saved(mark);
    let told = server.take(id);
    let (acknowledgement, error) = told.split_once("\"error\"").expect(&told);
    assert!(acknowledgement.contains("\"channel\":\"a\""), "{told}");
    assert!(
        error.contains("line 2") && error.contains("\"published\":1"),
        "{told}"
    );
    assert_eq!(server.engine.state(id), Some(State::Closing));
}

#[test]
fn acknowledgements_that_are_not_saved_in_time_end_the_request() {
    let mut server = server();
    let (id, _) = server.ask(Access::Trusted, &by_lines("&ack=1"));
    server.ask_again(id, chunk("one\n"));
    server.pass(1);
    server.ask_again(id, chunk("two\n"));
    server.pass(4_999);
    let told = server.take(id);
    assert_eq!(told.matches("\"error\"").count(), 1, "{told}");
    assert!(
        told.contains("\"status\":503") && told.contains("\"published\":0"),
        "{told}"
    );
    assert_eq!(server.engine.state(id), Some(State::Closing));
    server.pass(1);
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(server.take(id), "");
    assert!(!server.engine.has_waiting_publishers());
}

#[test]
fn acknowledgements_that_wait_hold_the_sender_back() {
    let mut server = server();
    let (id, _) = server.ask(Access::Trusted, &by_lines("&ack=1"));
    let mut sent = 0;
    while server.engine.wants_input(id) {
        sent += 1;
        server.ask_again(id, chunk("line\n"));
    }
    assert_eq!(server.engine.newest().0, sent);
    // What has arrived already waits.
    server.ask_again(id, chunk("line\n") + LAST_CHUNK);
    assert_eq!(server.engine.newest().0, sent);
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(server.take(id).matches("\"id\"").count() as u64, sent);
    assert_eq!(server.engine.next_deferred(), Some(id));
    server.resume(id);
    let mark = take(&mut server);
    server.saved(mark);
    assert!(
        server
            .take(id)
            .contains(&format!("{{\"published\":{}", sent + 1))
    );
}

/// The last line of a batch may name a channel that has ended, and is answered with its old end.
#[test]
fn batch_is_answered_when_its_newest_message_is_saved() {
    let mut server = server();
    let batch = |lines: &str| {
        format!(
            "POST /publish HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{lines}",
            lines.len()
        )
    };
    let (id, _) = server.ask(Access::Trusted, &batch("{\"channel\":\"b\",\"end\":true}"));
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(status(&server.take(id)), "200");
    let lines = "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"b\",\"end\":true}";
    assert_eq!(server.ask_again(id, batch(lines)), "");
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(status(&server.take(id)), "200");
}

/// The last line of a retry may be in history, and one before it not.
#[test]
fn retry_by_lines_is_answered_when_its_newest_message_is_saved() {
    let mut server = server();
    let request = |lines: &str, query: &str| {
        format!(
            "POST /publish?lines=1{query} HTTP/1.1\r\nHost: h\r\nIdempotency-Key: K\r\n\
             Content-Length: {}\r\n\r\n{lines}",
            lines.len()
        )
    };
    let lines = "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"b\",\"data\":2}\n";
    server.ask(Access::Trusted, &request(lines, ""));
    server.control("DELETE", "/channels/a");
    let mark = take(&mut server);
    server.saved(mark);
    let (plain, answer) = server.ask(Access::Trusted, &request(lines, ""));
    assert_eq!(answer, "");
    server.control("DELETE", "/channels/a");
    let (acknowledged, head) = server.ask(Access::Trusted, &request(lines, "&ack=1"));
    assert!(!head.contains("\"id\""), "{head}");
    let mark = take(&mut server);
    server.saved(mark);
    assert!(server.take(plain).contains("{\"published\":2,"));
    assert!(server.take(acknowledged).contains("{\"published\":2,"));
}

#[test]
fn key_of_lines_leaves_room_for_their_numbers() {
    let mut server = server();
    let request = |key: usize| {
        by_lines("").replace(
            "Transfer",
            &format!("Idempotency-Key: {}\r\nTransfer", "k".repeat(key)),
        )
    };
    let (_, refused) = server.ask(Access::Trusted, &request(235));
    assert_eq!(status(&refused), "400");
    assert!(refused.contains("at most 234 bytes"), "{refused}");
    let (id, _) = server.ask(Access::Trusted, &request(234));
    server.ask_again(id, chunk("one\n"));
    let records = server.engine.take_unsaved().expect("a line").records;
    assert!(records.windows(4).any(|part| part == b"kk/1"));
}
