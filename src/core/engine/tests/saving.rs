//! A log that is saved, as publishers see it.

mod lines;

use super::support::{Server, config, frame, get, post, socket, status, statuses};
use crate::engine::{Access, State};
use crate::hub::Refusal;
use crate::log::{Health, Mark};
use crate::message::{ChannelName, Data, Draft};

const PUBLISH: &str = "POST /publish/news HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";

/// A publish of a text with a key.
fn keyed(text: &str, key: &str) -> String {
    let key = format!("Idempotency-Key: {key}\r\n");
    post("/publish/news", &key, text)
}

fn server() -> Server {
    Server::with_history(&config())
}

/// Takes what was appended, which must be something.
fn take(server: &mut Server) -> Mark {
    server
        .engine
        .take_unsaved()
        .expect("something was appended")
        .up_to
}

#[test]
fn publisher_is_answered_when_saved_and_readers_before() {
    let mut server = server();
    let (reader, _) = server.ask(Access::Trusted, &get("/long-poll/news"));
    let (id, answer) = server.ask(Access::Trusted, PUBLISH);
    assert_eq!(answer, "");
    assert_eq!(server.engine.state(id), Some(State::Publishing));
    server.pass(0);
    assert!(server.take(reader).contains("\"data\":\"x\""));

    let mark = take(&mut server);
    assert_eq!(server.engine.take_unsaved(), None);
    assert!(!server.engine.is_saved(mark) && server.engine.has_waiting_publishers());
    server.saved(mark);
    assert!(server.take(id).contains("\"subscribers\":1}"));
    assert_eq!(server.engine.state(id), Some(State::Idle));
    assert_eq!(server.engine.unsaved_bytes(), 0);
}

#[test]
fn publishes_of_a_pipeline_wait_together_and_the_rest_behind_them() {
    let mut server = server();
    let refused = &post("/publish/a,b", "", "")[..];
    let health = &get("/healthz")[..];
    let requests = [PUBLISH, refused, PUBLISH, health, PUBLISH].concat();
    let (id, answer) = server.ask(Access::Trusted, &requests);
    assert_eq!(answer, "");
    // The request for another thing waits, and what follows it.
    assert_eq!(server.engine.newest().0, 2);
    assert!(!server.engine.wants_input(id));
    let mark = take(&mut server);
    server.saved(mark);
    let answers = server.take(id);
    assert_eq!(statuses(&answers), ["200", "400", "200"]);

    assert_eq!(server.engine.next_deferred(), Some(id));
    assert!(server.resume(id).ends_with("ok\n"));
    assert_eq!(server.engine.newest().0, 3);
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(status(&server.take(id)), "200");
    assert!(server.engine.wants_input(id));
}

#[test]
fn no_response_is_left_for_another_connection() {
    let mut server = server();
    let (first, _) = server.ask(Access::Trusted, PUBLISH);
    let mark = take(&mut server);
    // The next in the queue is of the same connection, and not saved.
    assert_eq!(server.ask_again(first, PUBLISH), "");
    server.saved(mark);
    assert_eq!(status(&server.take(first)), "200");
    let other = server.control("GET", "/healthz");
    assert_eq!(other.matches("HTTP/1.1").count(), 1);
    assert_eq!(server.engine.state(first), Some(State::Publishing));
}

#[test]
fn publisher_that_waits_too_long_is_told_to_repeat() {
    let mut server = server();
    let (id, _) = server.ask(Access::Trusted, &keyed("one", "k"));
    server.pass(4_999);
    assert_eq!(server.take(id), "");
    server.pass(1);
    let answer = server.take(id);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("Retry-After: 1\r\n") && answer.contains("Idempotency-Key"));
    assert_eq!(server.engine.stats().late_answers, 1);

    // The retry waits for the record of the first, and gets its id.
    assert_eq!(server.ask_again(id, keyed("two", "k")), "");
    let mark = take(&mut server);
    server.saved(mark);
    assert!(server.take(id).contains("-1\",\"channel\":\"news\""));
    // From here on it is answered at once.
    assert!(
        server
            .ask_again(id, keyed("three", "k"))
            .contains("-1\",\"channel\":\"news\"")
    );
}

#[test]
fn failing_log_refuses_and_is_not_ready() {
    let mut server = server();
    let (waiting, _) = server.ask(Access::Trusted, PUBLISH);
    server.engine.set_log_health(Health::Fails);
    assert_eq!(status(&server.ask(Access::Trusted, PUBLISH).1), "503");
    assert_eq!(status(&server.control("GET", "/readyz")), "503");
    assert_eq!(status(&server.control("OPTIONS", "/readyz")), "503");
    assert_eq!(status(&server.control("DELETE", "/channels/news")), "503");
    assert_eq!(status(&server.control("GET", "/healthz")), "200");
    assert_eq!(status(&server.control("GET", "/poll/news")), "200");
    assert_eq!(server.engine.newest().0, 1);

    server.engine.set_log_health(Health::Works);
    assert_eq!(status(&server.control("GET", "/readyz")), "200");
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(status(&server.take(waiting)), "200");
}

#[test]
fn deletion_is_answered_when_saved() {
    let mut server = server();
    server.ask(Access::Trusted, PUBLISH);
    let mark = take(&mut server);
    server.saved(mark);
    let request = "DELETE /channels/news HTTP/1.1\r\nHost: h\r\n\r\n";
    let (id, answer) = server.ask(Access::Trusted, request);
    assert_eq!(answer, "");
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(status(&server.take(id)), "204");
}

#[test]
fn drain_waits_for_publishers() {
    let mut server = server();
    let (id, _) = server.ask(Access::Trusted, PUBLISH);
    server.engine.begin_drain();
    server.pass(0);
    let mark = take(&mut server);
    assert!(!server.engine.is_drained());
    server.saved(mark);
    let answer = server.take(id);
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert_eq!(server.engine.state(id), Some(State::Closing));
}

#[test]
fn drain_closes_behind_the_last_publisher_that_is_not_saved() {
    let mut server = server();
    // HTTP/1.0 is told so in words.
    let kept = PUBLISH.replace("1.1", "1.0\r\nConnection: keep-alive");
    let (id, _) = server.ask(Access::Trusted, &[PUBLISH, PUBLISH].concat());
    let (old, _) = server.ask(Access::Trusted, &kept);
    server.engine.begin_drain();
    server.engine.set_log_health(Health::Fails);
    server.pass(5_000);
    let answers = server.take(id);
    let (first, last) = answers.split_at(answers.rfind("HTTP/1.1").expect("an answer"));
    assert_eq!((status(first), status(last)), ("503", "503"));
    assert!(!first.contains("Connection: close"), "{first}");
    assert!(last.contains("Connection: close"), "{last}");
    let answer = server.take(old);
    assert!(!answer.contains("keep-alive"), "{answer}");
}

#[test]
fn producer_that_waits_for_the_log_is_not_refused() {
    let mut server = server();
    server.engine.set_log_health(Health::Fails);
    let mut draft = Draft::new(
        ChannelName::parse("news".as_bytes()).expect("a name"),
        Data::from("x"),
    );
    for _ in 0..3 {
        let (refusal, again) = server.engine.submit(draft).expect_err("nothing is taken");
        assert!(matches!(refusal, Refusal::LogFails));
        draft = again;
    }
    assert_eq!(server.engine.requests.log.refused().failing, 0);
    assert_eq!(status(&server.ask(Access::Trusted, PUBLISH).1), "503");
    assert_eq!(server.engine.requests.log.refused().failing, 1);
}

#[test]
fn client_that_leaves_half_is_answered_and_one_that_breaks_is_forgotten() {
    let mut server = server();
    let (half, _) = server.ask(Access::Trusted, PUBLISH);
    let (gone, _) = server.ask(Access::Trusted, PUBLISH);
    server.eof(half);
    server.engine.broken(gone);
    server.pass(0);
    let (other, _) = server.ask(Access::Trusted, &get("/long-poll/x"));
    assert_eq!(other.index, gone.index);
    let mark = take(&mut server);
    server.saved(mark);
    assert_eq!(status(&server.take(half)), "200");
    assert_eq!(server.take(other), "");
    server.pass(0);
    assert_eq!(server.engine.state(half), None);
    assert!(!server.engine.has_waiting_publishers());
}

#[test]
fn waiting_publishers_are_answered_when_saving_stops() {
    let mut server = server();
    let (id, _) = server.ask(Access::Trusted, PUBLISH);
    server.stop_saving();
    assert_eq!(status(&server.take(id)), "200");
    let answer = server.ask_again(id, PUBLISH);
    assert!(
        answer.contains("-2\",\"channel\":\"news\""),
        "numbers go on: {answer}"
    );
    assert_eq!(server.engine.take_unsaved(), None);
}

/// A crash may come between a message and the end that was published with it.
#[test]
fn retry_of_a_last_message_publishes_the_end_that_is_missing() {
    let mut server = server();
    let publish = |query: &str| {
        format!(
            "POST /publish/news{query} HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\n\
             Content-Length: 1\r\n\r\nx"
        )
    };
    let (id, _) = server.ask(Access::Trusted, &publish(""));
    let mark = take(&mut server);
    server.saved(mark);
    server.take(id);
    assert_eq!(server.ask_again(id, publish("?end=1")), "");
    let mark = take(&mut server);
    server.saved(mark);
    assert!(server.take(id).contains("-1\",\"channel\":\"news\""));
    assert!(
        server
            .control("GET", "/channels/news")
            .contains("\"ended\":true")
    );
    // Again it changes nothing.
    assert_eq!(status(&server.ask_again(id, publish("?end=1"))), "200");
    assert_eq!(server.engine.newest().0, 2);
}

#[test]
fn socket_that_ends_its_channel_is_answered_before_it_is_closed() {
    for end in [
        r#"{"publish":"a","data":1,"end":true,"ref":7}"#,
        r#"{"publish":"a","end":true,"ref":7}"#,
    ] {
        let mut server = server();
        let id = socket(&mut server, "/ws/a");
        assert_eq!(server.ask_again(id, frame(end)), "");
        server.pass(0);
        let received = server.take(id);
        assert!(!received.contains("\"end\""), "{received}");
        server.pass(100);
        assert_eq!(server.take(id), "");
        let mark = take(&mut server);
        server.saved(mark);
        let answer = server.take(id);
        assert!(answer.contains("\"ref\":7"), "{answer}");
        server.pass(16);
        server.pass(0);
        let last = server.take(id);
        assert!(last.contains("\"end\":true"), "{last}");
        assert_ne!(server.engine.state(id), Some(State::Streaming));
    }
}

#[test]
fn socket_without_room_for_its_commands_is_told_so() {
    let mut small = config();
    small.max_buffer_bytes = 8_000;
    small.max_head_bytes = 1_000;
    let mut server = Server::with_history(&small);
    let id = socket(&mut server, "/ws/a");
    server.ask_again(id, frame(r#"{"publish":"a","data":1}"#));
    // It waits for the publish, and everything behind it.
    server.ask_again(id, frame(r#"{"channels":["b"]}"#));
    let more: Vec<u8> = (0..400)
        .flat_map(|_| frame(r#"{"channels":["b"]}"#))
        .collect();
    let mut received = String::new();
    for part in more.chunks(900) {
        if server.engine.state(id) == Some(State::Streaming) {
            received += &server.ask_again(id, part);
        }
    }
    assert_eq!(server.engine.state(id), Some(State::Closing));
    // 1011, which is not UTF-8.
    let close = received.split("\u{fffd}").last();
    assert_eq!(close, Some("the memory for unfinished messages is spent"));
}
