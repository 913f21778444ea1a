//! A node of a cluster, as publishers and readers see it.

use super::redis::{EPOCH, Redis};
use super::support::{Server, config, frame, get, post, socket, status, statuses};
use crate::config::{Config, Create, Policy};
use crate::engine::{Access, State};
use crate::log::Placed;
use crate::log::cluster::{Lane, Settings};
use crate::message::{ChannelName, Data, Draft, Epoch};

fn node(name: &str, seed: u64) -> Server {
    node_with(&config(), name, seed)
}

pub(super) fn node_with(config: &Config, name: &str, seed: u64) -> Server {
    Server::of_cluster(config, settings(name), seed)
}

/// The settings of a node that need not wait for others when it starts.
pub(super) fn settings(name: &str) -> Settings {
    Settings {
        name: name.into(),
        newcomer_ms: 0,
        ..Settings::default()
    }
}

/// A server of the log, and a node that is ready.
pub(super) fn ready() -> (Redis, Server) {
    let mut redis = Redis::default();
    let mut one = node("one", 1);
    redis.connect(&mut one);
    redis.pass(&mut one, 5_000);
    assert_eq!(status(&poll(&mut one, "/readyz")), "200");
    (redis, one)
}

/// The same, and another node.
pub(super) fn pair() -> (Redis, Server, Server) {
    let (mut redis, mut one) = ready();
    let mut two = node("two", 2);
    redis.connect(&mut two);
    // A node is ready when the others know of it.
    for _ in 0..50 {
        redis.pass(&mut one, 100);
        redis.pass(&mut two, 100);
    }
    assert_eq!(status(&poll(&mut two, "/readyz")), "200");
    (redis, one, two)
}

/// Asks, which is answered when the log has answered.
pub(super) fn ask_log(redis: &mut Redis, server: &mut Server, request: &str) -> String {
    let (id, answer) = server.ask(Access::Trusted, request);
    assert_eq!(answer, "", "it waits");
    assert!(matches!(
        server.engine.state(id),
        Some(State::Publishing | State::Body)
    ));
    redis.serve(server);
    server.take(id)
}

pub(super) fn poll(server: &mut Server, target: &str) -> String {
    server.ask(Access::Trusted, &get(target)).1
}

/// The value of a text member of JSON, the last of this name.
pub(super) fn member(answer: &str, name: &str) -> String {
    let at = answer.rfind(&format!("\"{name}\":\"")).expect(answer) + name.len() + 4;
    answer[at..].split('"').next().unwrap().to_owned()
}

/// The ids in an answer.
pub(super) fn ids(answer: &str) -> Vec<String> {
    let ids = answer.split("\"id\":\"").skip(1);
    ids.map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn publisher_is_answered_when_the_log_says_so_and_readers_with_it() {
    let (mut redis, mut server) = ready();
    assert_eq!(Epoch::from_seed(super::redis::TERM).as_str(), EPOCH);
    let (reader, _) = server.ask(Access::Trusted, &get("/long-poll/news"));
    let (id, answer) = server.ask(Access::Trusted, &post("/publish/news", "", "x"));
    assert_eq!(answer, "");
    redis.execute(&mut server);
    assert_eq!(server.take(id), "", "it is not applied yet");
    assert!(server.engine.has_waiting_publishers());
    redis.serve(&mut server);
    let answer = server.take(id);
    assert_eq!(status(&answer), "200");
    assert!(
        answer.ends_with("\"channel\":\"news\",\"subscribers\":1}"),
        "{answer}"
    );
    let published = member(&answer, "id");
    assert!(
        published.starts_with(EPOCH) && !published.contains('.'),
        "{published}"
    );
    let received = server.take(reader);
    assert_eq!(ids(&received), [&published[..]]);
    assert_eq!(member(&received, "cursor"), published);
    assert!(!server.engine.has_waiting_publishers());

    // Readers that come later get the message from history.
    assert_eq!(ids(&poll(&mut server, "/poll/news")), [&published[..]]);
    let since = format!("/poll/news?since={published}");
    assert!(ids(&poll(&mut server, &since)).is_empty());
}

#[test]
fn publishes_of_a_tick_are_parts_of_one_entry() {
    let (mut redis, mut server) = ready();
    let entries = redis.log.len();
    let requests = [post("/publish/a", "", "1"), post("/publish/b", "", "2")].concat();
    let (first, _) = server.ask(Access::Trusted, &requests);
    let (second, _) = server.ask(Access::Trusted, &post("/publish/a", "", "3"));
    redis.serve(&mut server);
    let (first, second) = (ids(&server.take(first)), ids(&server.take(second)));
    assert_eq!(first.len(), 2);
    assert_eq!(first[1], format!("{}.1", first[0]));
    assert_eq!(second, [format!("{}.2", first[0])]);
    assert_eq!(redis.log.len(), entries + 1);
    assert_eq!(ids(&poll(&mut server, "/poll/a,b")).len(), 3);
    let since = format!("/poll/a,b?since={}", first[1]);
    assert_eq!(ids(&poll(&mut server, &since)), second);
}

#[test]
fn requests_of_a_pipeline_are_answered_in_their_order() {
    let (mut redis, mut server) = ready();
    let health = get("/healthz");
    let requests = [
        post("/publish/a", "", "1"),
        post("/publish/a,b", "", ""),
        post("/publish/a", "", "2"),
        health,
    ];
    let (id, answer) = server.ask(Access::Trusted, &requests.concat());
    assert_eq!(answer, "");
    redis.serve(&mut server);
    let answers = server.take(id);
    assert_eq!(statuses(&answers), ["200", "400", "200"]);
    assert_eq!(server.engine.next_deferred(), Some(id));
    assert!(server.resume(id).ends_with("ok\n"));
}

#[test]
fn batch_is_answered_in_order_with_ends() {
    let (mut redis, mut server) = ready();
    let body = "{\"channel\":\"a\",\"data\":1,\"end\":true}\n{\"channel\":\"b\",\"data\":2}";
    let answer = ask_log(&mut redis, &mut server, &post("/publish", "", body));
    assert!(answer.contains("{\"published\":[{\"id\":"), "{answer}");
    let ids = ids(&answer);
    // The end has a place of its own.
    assert_eq!(ids[1], format!("{}.2", ids[0]));
    let received = poll(&mut server, "/poll/a");
    assert!(received.contains("\"end\":true"), "{received}");
    assert_eq!(member(&received, "cursor"), format!("{}.1", ids[0]));
}

#[test]
fn channel_ends_once() {
    let (mut redis, mut server) = ready();
    let end = post("/publish/a?end=1", "", "");
    let first = ids(&ask_log(&mut redis, &mut server, &end));
    let again = ids(&ask_log(&mut redis, &mut server, &end));
    assert_ne!(again, first, "it goes through the log");
    let received = poll(&mut server, &format!("/poll/a?since={EPOCH}-0"));
    assert_eq!(received.matches("\"end\":true").count(), 1, "{received}");
    let message = ids(&ask_log(
        &mut redis,
        &mut server,
        &post("/publish/a?end=1", "", "x"),
    ));
    assert_ne!(message, first);
    assert!(poll(&mut server, "/poll/a").contains("\"end\":true"));
}

#[test]
fn channel_that_another_node_has_opened_again_is_ended_by_a_node_that_lags() {
    let (mut redis, mut one, mut two) = pair();
    let end = post("/publish/a?end=1", "", "");
    ask_log(&mut redis, &mut one, &end);
    redis.serve(&mut two);
    ask_log(&mut redis, &mut one, &post("/publish/a", "", "x"));
    // For this node the channel has ended still.
    let ended = ids(&ask_log(&mut redis, &mut two, &end));
    redis.serve(&mut one);
    for server in [&mut one, &mut two] {
        let received = poll(server, "/poll/a");
        assert!(received.contains("\"end\":true"), "{received}");
        assert_eq!(member(&received, "cursor"), ended[0]);
    }
}

#[test]
fn key_is_one_message_over_all_nodes() {
    let (mut redis, mut one, mut two) = pair();
    let keyed = post("/publish/a", "Idempotency-Key: k\r\n", "x");
    let first = ids(&ask_log(&mut redis, &mut one, &keyed));
    let (_, again) = one.ask(Access::Trusted, &keyed);
    assert_eq!(ids(&again), first, "it is in history");
    // The other node has not read it: the log knows the key.
    assert_eq!(ids(&ask_log(&mut redis, &mut two, &keyed)), first);
    assert_eq!(ids(&poll(&mut two, "/poll/a")), first);
}

#[test]
fn deletion_holds_for_all_nodes() {
    let (mut redis, mut one, mut two) = pair();
    let first = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "x")));
    redis.serve(&mut two);
    assert_eq!(ids(&poll(&mut two, "/poll/a")), first);
    let delete = "DELETE /channels/a HTTP/1.1\r\nHost: h\r\n\r\n";
    let answer = ask_log(&mut redis, &mut one, delete);
    assert_eq!(status(&answer), "204");
    redis.serve(&mut two);
    for server in [&mut one, &mut two] {
        assert!(ids(&poll(server, "/poll/a")).is_empty());
        let answer = poll(server, &format!("/poll/a?since={}", first[0]));
        assert!(
            !answer.contains("gap"),
            "it has all that was deleted: {answer}"
        );
        let answer = poll(server, &format!("/poll/a?since={EPOCH}-0"));
        assert!(answer.contains("\"gap\":true"), "{answer}");
    }
}

#[test]
fn lines_wait_for_their_results() {
    let (mut redis, mut server) = ready();
    let chunked = "POST /publish/a?lines=1&ack=1 HTTP/1.1\r\nHost: h\r\n\
         Idempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (id, head) = server.ask(Access::Trusted, chunked);
    assert_eq!(status(&head), "200");
    assert_eq!(server.ask_again(id, "4\r\n1\n2\n\r\n"), "");
    assert!(
        !server.engine.wants_input(id),
        "the next lines wait for these"
    );
    // They are kept until then.
    assert_eq!(server.ask_again(id, "2\r\n3\n\r\n0\r\n\r\n"), "");
    redis.serve(&mut server);
    let acknowledged = server.take(id);
    assert_eq!(ids(&acknowledged).len(), 2, "{acknowledged}");
    while let Some(id) = server.engine.next_deferred() {
        server.resume(id);
    }
    redis.serve(&mut server);
    while let Some(id) = server.engine.next_deferred() {
        let rest = server.resume(id);
        assert!(rest.contains("{\"published\":3,\"last\":"), "{rest}");
    }
    let published = ids(&poll(&mut server, "/poll/a"));
    assert_eq!(published.len(), 3);
    assert_eq!(published[..2], ids(&acknowledged));

    // All again, without acknowledgements and with an end: the messages are those of before.
    let again = post(
        "/publish/a?lines=1&end=1",
        "Idempotency-Key: k\r\n",
        "1\n2\n3\n4",
    );
    let (id, answer) = server.ask(Access::Trusted, &again);
    assert_eq!(answer, "");
    for _ in 0..3 {
        redis.serve(&mut server);
        while let Some(id) = server.engine.next_deferred() {
            server.resume_only(id);
        }
    }
    let answer = server.take(id);
    assert!(answer.contains("{\"published\":4,\"last\":"), "{answer}");
    let all = poll(&mut server, "/poll/a");
    assert_eq!(ids(&all)[..3], published);
    assert_eq!(ids(&all)[3], member(&answer, "last"));
    assert!(all.contains("\"end\":true"));
    assert_eq!(server.engine.stats().lines, 7);
}

#[test]
fn bad_line_is_told_behind_the_results_of_those_before() {
    let (mut redis, mut server) = ready();
    let lines = "{\"channel\":\"a\",\"data\":1}\nno\n{\"channel\":\"a\",\"data\":3}\n";
    let answer = ask_log(
        &mut redis,
        &mut server,
        &post("/publish?lines=1", "", lines),
    );
    assert_eq!(status(&answer), "400");
    assert!(
        answer.contains("line 2") && answer.ends_with("\"published\":1}"),
        "{answer}"
    );
    assert_eq!(ids(&poll(&mut server, "/poll/a")).len(), 1);
}

#[test]
fn commands_of_a_socket_are_answered_in_their_order() {
    let (mut redis, mut server) = ready();
    let id = socket(&mut server, "/ws/a");
    let publish = "{\"publish\":\"a\",\"data\":1,\"ref\":1}";
    assert_eq!(server.ask_again(id, frame(publish)), "");
    // A refusal waits behind it.
    assert_eq!(
        server.ask_again(id, frame("{\"publish\":\"a,b\",\"ref\":2}")),
        ""
    );
    redis.serve(&mut server);
    let answers = server.take(id);
    let at = |text: &str| answers.find(text).expect(&answers);
    assert!(at("\"subscribers\":1},\"ref\":1}") < at("\"ref\":2}"));
    assert!(
        answers.contains("\"data\":1}"),
        "it is sent its own message"
    );
}

#[test]
fn raw_socket_is_closed_if_its_message_is_not_taken() {
    let (mut redis, mut server) = ready();
    let id = socket(&mut server, "/ws/a?raw=1&publish=1");
    assert_eq!(server.ask_again(id, frame("one")), "");
    redis.serve(&mut server);
    assert!(server.take(id).ends_with("one"));
    assert_eq!(server.ask_again(id, frame("two")), "");
    let mut received = String::new();
    for _ in 0..80 {
        server.pass(100);
        server.apply_log(100);
        received += &server.take(id);
    }
    assert!(
        received.contains("the engine has not answered"),
        "{received}"
    );
    assert_eq!(server.engine.state(id), None);
}

#[test]
fn producers_get_their_receipts_in_order() {
    let (mut redis, mut server) = ready();
    let draft = |key: &str| Draft {
        key: crate::message::IdempotencyKey::parse(key.as_bytes()).ok(),
        ..Draft::new(ChannelName::parse(&b"a"[..]).unwrap(), Data::from("x"))
    };
    let mut tickets = Vec::new();
    for key in ["1", "2"] {
        let Ok(Placed::Later { ticket, .. }) = server.engine.send(&draft(key)) else {
            panic!("it is handed over");
        };
        tickets.push(ticket);
    }
    // A publisher's ticket between theirs is nothing to them.
    let (publisher, _) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    assert_eq!(server.engine.next_receipt(), None);
    redis.serve(&mut server);
    let mut receipts = Vec::new();
    while let Some((ticket, result)) = server.engine.next_receipt() {
        receipts.push((ticket, result.unwrap().id.to_string()));
    }
    let published = ids(&poll(&mut server, "/poll/a"));
    assert_eq!(published.len(), 3);
    let told: Vec<_> = receipts.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(told, tickets);
    assert!(receipts.iter().all(|(_, id)| published.contains(id)));
    assert_eq!(status(&server.take(publisher)), "200");
    assert!(matches!(
        server.engine.send(&draft("1")),
        Ok(Placed::Now(_))
    ));
}

#[test]
fn node_that_has_not_read_the_log_is_not_ready_and_publishes_nothing() {
    let mut redis = Redis::default();
    let mut server = node("one", 1);
    for _ in 0..2 {
        let (_, answer) = server.ask(Access::Trusted, &get("/readyz"));
        assert_eq!(status(&answer), "503");
        assert!(answer.contains("has not read the log"), "{answer}");
        let (_, answer) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
        assert_eq!(status(&answer), "503");
        assert!(answer.contains("Retry-After: "));
        // Nor can it judge a cursor, or give one.
        for target in [
            "/poll/a?since=0000000a-7",
            "/long-poll/a",
            "/ndjson/a",
            "/cursor",
        ] {
            let (_, answer) = server.ask(Access::Trusted, &get(target));
            assert_eq!(status(&answer), "503", "{target}: {answer}");
            assert!(answer.contains("has not read the log"), "{answer}");
        }
        // An EventSource, which a 503 would stop for good, comes back with the id that it has.
        let (_, answer) = server.ask(Access::Trusted, &get("/sse/a"));
        assert_eq!(status(&answer), "200");
        assert!(
            answer.contains("\nretry: ") && !answer.contains("id:"),
            "{answer}"
        );
        server.pass(5_000);
        server.apply_log(10);
    }
    redis.connect(&mut server);
    redis.pass(&mut server, 5_000);
    assert_eq!(status(&poll(&mut server, "/readyz")), "200");
}

#[test]
fn node_that_is_never_idle_is_ready_when_it_has_applied_what_was_there() {
    let (mut redis, mut one) = ready();
    for _ in 0..50 {
        ask_log(&mut redis, &mut one, &post("/publish/a", "", "old"));
    }
    let mut two = node("two", 2);
    redis.connect(&mut two);
    let mut was_ready = false;
    for _ in 0..100 {
        redis.pass(&mut one, 100);
        two.pass(100);
        redis.execute(&mut two);
        let node = two.engine.cluster().unwrap();
        let after = node.follows_after().unwrap();
        for (id, bytes) in redis.log.iter().filter(|entry| entry.0 > after) {
            node.read(*id, &bytes[..]);
        }
        // More comes than is applied.
        for _ in 0..9 {
            ask_log(&mut redis, &mut one, &post("/publish/a", "", "new"));
        }
        two.apply_log(8);
        assert!(two.engine.has_work());
        let is_ready = status(&poll(&mut two, "/readyz")) == "200";
        let old = ids(&poll(&mut two, "/poll/a")).len();
        assert!(!is_ready || old >= 50, "{old} are applied");
        was_ready |= is_ready;
    }
    assert!(was_ready);
}

#[test]
fn reader_from_a_later_term_waits_until_its_node_has_come_to_it() {
    let (mut redis, mut server) = ready();
    // Another node, which follows a term that was opened just now.
    let later = format!(
        "{}-3",
        Epoch::from_seed(u64::from_str_radix(EPOCH, 36).unwrap() + 9).as_str()
    );
    let target = format!("/poll/a?since={later}");
    let answer = poll(&mut server, &target);
    assert_eq!(status(&answer), "503", "{answer}");
    // The beat that was sent after it asked has come back: there is no such term.
    redis.pass(&mut server, 3_000);
    let answer = poll(&mut server, &target);
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("\"gap\":true"), "{answer}");
}

#[test]
fn command_with_a_cursor_of_a_later_term_is_refused_and_not_told_a_gap() {
    let (mut redis, mut server) = ready();
    let id = socket(&mut server, "/ws/a");
    server.take(id);
    let later = Epoch::from_seed(u64::from_str_radix(EPOCH, 36).unwrap() + 9);
    let command = format!(
        "{{\"channels\":[\"b\"],\"since\":\"{}-3\"}}",
        later.as_str()
    );
    let answer = server.ask_again(id, frame(&command));
    assert!(answer.contains("\"status\":503"), "{answer}");
    assert!(!answer.contains("\"gap\""), "{answer}");
    // The beat that was sent after it asked has come back: there is no such term.
    redis.pass(&mut server, 3_000);
    server.take(id);
    let answer = server.ask_again(id, frame(&command));
    assert!(answer.contains("\"gap\":true"), "{answer}");
}

#[test]
fn refusal_that_is_told_to_a_producer_is_not_one_of_a_publisher() {
    let (_, mut server) = ready();
    let node = server.engine.cluster().unwrap();
    node.broken(Lane::Publish);
    let draft = Draft::new(ChannelName::parse(&b"a"[..]).unwrap(), Data::from("x"));
    assert!(server.engine.send(&draft).is_ok());
    for _ in 0..80 {
        server.pass(100);
        server.apply_log(100);
    }
    let receipt = server.engine.next_receipt().map(|(_, result)| result);
    assert!(matches!(receipt, Some(Err(_))), "{receipt:?}");
    let metrics = poll(&mut server, "/metrics");
    let refused = "encke_publishes_unsaved_total{reason=\"failing\"} 0";
    assert!(metrics.contains(refused), "{metrics}");
}

#[test]
fn publisher_is_held_while_the_engine_is_away_and_then_told_so() {
    let (mut redis, mut server) = ready();
    let broken = |server: &mut Server| {
        let node = server.engine.cluster().unwrap();
        node.broken(Lane::Publish);
        node.broken(Lane::Follow);
    };
    broken(&mut server);
    let (not_sent, _) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    let wait = |server: &mut Server, ms: u64| {
        for _ in 0..ms / 100 {
            server.pass(100);
            server.apply_log(100);
        }
    };
    wait(&mut server, 4_000);
    assert_eq!(server.take(not_sent), "");
    wait(&mut server, 3_000);
    let answer = server.take(not_sent);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("; nothing was published"), "{answer}");
    wait(&mut server, 5_000);
    let answer = poll(&mut server, "/readyz");
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("has not heard the engine for "), "{answer}");
    // Later ones are refused at once.
    let (_, answer) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    assert_eq!(status(&answer), "503");

    redis.connect(&mut server);
    redis.pass(&mut server, 3_000);
    assert_eq!(status(&poll(&mut server, "/readyz")), "200");
    // One that was sent and not answered may have been accepted.
    let (sent, _) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    let node = server.engine.cluster().unwrap();
    assert!(node.next_command().is_some());
    broken(&mut server);
    wait(&mut server, 8_000);
    let answer = server.take(sent);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("may have been accepted") && answer.contains("Idempotency-Key"));
    assert!(!server.engine.has_waiting_publishers());
}

#[test]
fn readers_ahead_of_their_node_wait_until_it_has_come_to_them() {
    let (mut redis, mut one, mut two) = pair();
    let first = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "1")));
    let cursor = first[0].clone();

    let answer = poll(&mut two, &format!("/poll/a?since={cursor}"));
    assert!(
        ids(&answer).is_empty() && !answer.contains("gap"),
        "{answer}"
    );
    assert_eq!(member(&answer, "cursor"), cursor);
    assert!(answer.contains("\"retry\":100"), "{answer}");

    let hold = |two: &mut Server, target: &str| two.ask(Access::Trusted, &get(target)).0;
    let held = hold(&mut two, &format!("/long-poll/a?since={cursor}"));
    let short = hold(&mut two, &format!("/long-poll/a?since={cursor}&hold=1"));
    let stream = hold(&mut two, &format!("/sse/a?since={cursor}"));
    let socket = socket(&mut two, &format!("/ws/a?since={cursor}"));
    for id in [held, short, stream, socket] {
        let opening = two.take(id);
        assert!(!opening.contains("gap"), "{opening}");
    }
    two.pass(1_100);
    let ended = two.take(short);
    assert_eq!(
        member(&ended, "cursor"),
        cursor,
        "a hold that ends keeps its cursor"
    );

    // What they have already is not sent to them again.
    redis.tell(&mut two);
    two.pass(0);
    for id in [held, stream, socket] {
        assert_eq!(two.take(id), "");
    }
    let second = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "2")));
    redis.serve(&mut two);
    for id in [held, stream, socket] {
        let received = two.take(id);
        assert!(received.contains(&second[0]), "{received}");
        assert!(!received.contains(&format!("{cursor}\"")), "{received}");
    }
}

#[test]
fn reader_beyond_all_that_the_log_has_is_told_a_gap() {
    let (mut redis, mut server) = ready();
    let first = ids(&ask_log(
        &mut redis,
        &mut server,
        &post("/publish/a", "", "1"),
    ));
    let cursor = format!("{EPOCH}-1000");
    let since = |endpoint: &str| format!("/{endpoint}/a?since={cursor}");

    // Another node may have given it.
    let answer = poll(&mut server, &since("poll"));
    assert!(!answer.contains("gap"), "{answer}");
    assert_eq!(member(&answer, "cursor"), cursor);
    let (held, answer) = server.ask(Access::Trusted, &get(&since("long-poll")));
    assert_eq!(answer, "");
    let (stream, opening) = server.ask(Access::Trusted, &get(&since("sse")));
    assert!(!opening.contains("gap"), "{opening}");
    let socket = socket(&mut server, &since("ws"));
    server.take(socket);

    // A beat that was sent later has come back.
    redis.pass(&mut server, 2_000);
    let answer = server.take(held);
    assert!(answer.contains("\"gap\":true"), "{answer}");
    assert_eq!(ids(&answer), first);
    for (id, gap) in [(stream, "event: gap"), (socket, "\"gap\"")] {
        let told = server.take(id);
        assert!(told.contains(gap) && told.contains(&first[0]), "{told}");
        assert_eq!(server.engine.state(id), Some(State::Streaming));
    }
    let answer = poll(&mut server, &since("poll"));
    assert!(answer.contains("\"gap\":true"), "{answer}");
    assert_eq!(ids(&answer), first);
    // The next one may be right.
    assert!(!poll(&mut server, &since("poll")).contains("gap"));
}

#[test]
fn stream_ahead_of_its_node_is_done_when_the_node_has_come_to_it() {
    let (mut redis, mut one, mut two) = pair();
    ask_log(&mut redis, &mut one, &post("/publish/a?end=1", "", "1"));
    redis.serve(&mut two);
    let more = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "2")));

    // The channel is open again, which this node does not know yet.
    let target = format!("/sse/a?since={}", more[0]);
    let (stream, opening) = two.ask(Access::Trusted, &get(&target));
    assert_eq!(status(&opening), "200");
    ask_log(&mut redis, &mut one, &post("/publish/a?end=1", "", ""));
    redis.serve(&mut two);
    assert!(two.take(stream).contains("event: end"));
}

#[test]
fn poll_ahead_of_its_node_is_answered_with_the_end_when_the_node_has_come_to_it() {
    let (mut redis, mut one, mut two) = pair();
    let body = "{\"channel\":\"a\",\"data\":1,\"end\":true}";
    ask_log(&mut redis, &mut one, &post("/publish", "", body));
    let cursor = member(&poll(&mut one, "/poll/a"), "cursor");
    let target = get(&format!("/long-poll/a?since={cursor}"));
    let (held, answer) = two.ask(Access::Trusted, &target);
    assert_eq!(answer, "");
    redis.serve(&mut two);
    let answer = two.take(held);
    assert!(answer.contains("\"end\":true"), "{answer}");
    assert_eq!(member(&answer, "cursor"), cursor);
}

#[test]
fn channel_that_another_node_has_made_is_not_denied_to_a_reader_from_there() {
    let (mut redis, mut one) = ready();
    let config = Config {
        policies: vec![Policy {
            create: Create::Publisher,
            ..Policy::of("**".parse().unwrap())
        }],
        ..config()
    };
    let mut two = node_with(&config, "two", 2);
    redis.connect(&mut two);
    for _ in 0..50 {
        redis.pass(&mut one, 100);
        redis.pass(&mut two, 100);
    }
    let first = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "1")));
    let since = |endpoint: &str| get(&format!("/{endpoint}/a?since={}", first[0]));
    let (held, answer) = two.ask(Access::Trusted, &since("long-poll"));
    assert_eq!(answer, "", "it waits");
    let (_, opening) = two.ask(Access::Trusted, &since("sse"));
    assert_eq!(status(&opening), "200");
    let denied = two.ask(Access::Trusted, &get("/long-poll/b")).1;
    assert_eq!(status(&denied), "404");
    redis.serve(&mut two);
    let second = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "2")));
    redis.serve(&mut two);
    assert!(two.take(held).contains(&second[0]));
}

#[test]
fn loss_is_told_once_and_to_all() {
    let (mut redis, mut one, mut two) = pair();
    ask_log(&mut redis, &mut one, &post("/publish/a", "", "1"));
    redis.serve(&mut two);
    let (stream, _) = two.ask(Access::Trusted, &get("/ndjson/a"));
    let before = member(&poll(&mut two, "/poll/a"), "cursor");

    ask_log(&mut redis, &mut one, &post("/publish/b", "", "2"));
    // It is gone before the other node has read it.
    let (lost, _) = redis.log.pop().unwrap();
    ask_log_after(&mut redis, &mut one, lost);
    let mut received = String::new();
    for _ in 0..20 {
        redis.serve(&mut two);
        two.pass(1);
        received += &two.take(stream);
    }
    assert_eq!(received.matches("\"gap\":true").count(), 1, "{received}");
    let answer = poll(&mut two, &format!("/poll/a?since={before}"));
    assert!(answer.contains("\"gap\":true"), "{answer}");
    let cursor = member(&answer, "cursor");
    let answer = poll(&mut two, &format!("/poll/a?since={cursor}"));
    assert!(!answer.contains("gap"), "{answer}");
}

/// Publishes with the number after one that is gone.
fn ask_log_after(redis: &mut Redis, server: &mut Server, lost: crate::message::EntryId) {
    let (_, answer) = server.ask(Access::Trusted, &post("/publish/b", "", "3"));
    assert_eq!(answer, "");
    let node = server.engine.cluster().unwrap();
    let command = node.next_command().expect("it is appended");
    redis.answer(command);
    let (id, _) = redis.log.last_mut().unwrap();
    *id = lost.next();
    let reply = crate::log::cluster::Reply::Appended(*id);
    server.engine.cluster().unwrap().answered(reply);
    redis.serve(server);
}

#[test]
fn log_is_applied_within_the_budget() {
    let (mut redis, mut one, mut two) = pair();
    let lines = "{\"channel\":\"a\",\"data\":1}\n".repeat(100);
    ask_log(&mut redis, &mut one, &post("/publish", "", &lines));
    let node = two.engine.cluster().unwrap();
    let after = node.follows_after().unwrap();
    for (id, bytes) in redis.log.iter().filter(|entry| entry.0 > after) {
        node.read(*id, &bytes[..]);
    }
    let mut calls = 0;
    loop {
        two.apply_log(30);
        calls += 1;
        if !two.engine.has_work() {
            break;
        }
        let applied = ids(&poll(&mut two, "/poll/a")).len();
        assert!(applied <= 30 * calls, "{applied}");
    }
    assert_eq!(ids(&poll(&mut two, "/poll/a")).len(), 100);
    assert!(calls > 3);
}

#[test]
fn heartbeat_of_server_sent_events_is_the_cursor() {
    let (mut redis, mut server) = ready();
    let (stream, opening) = server.ask(Access::Trusted, &get("/sse/a"));
    assert!(opening.contains(&format!("id: {EPOCH}-")), "{opening}");
    redis.pass(&mut server, 16_000);
    let received = server.take(stream);
    let cursor = member(&poll(&mut server, "/cursor"), "cursor");
    let (epoch, now) = cursor.split_once('-').unwrap();
    // Of the head then: beats have come since.
    let event = received.split("id: ").nth(1).expect(&received);
    let (id, rest) = event.split_once('\n').unwrap();
    let number = id.strip_prefix(&format!("{epoch}-")).unwrap();
    assert!(number.parse::<u64>().unwrap() <= now.parse::<u64>().unwrap());
    assert!(rest.starts_with('\n'), "nothing is dispatched: {received}");
    assert!(!received.contains("data:"), "{received}");
}

#[test]
fn nodes_are_listed_by_their_beats() {
    let (mut redis, mut one, mut two) = pair();
    two.ask(Access::Trusted, &get("/sse/a"));
    for _ in 0..15 {
        redis.pass(&mut two, 100);
        redis.pass(&mut one, 100);
    }
    let answer = poll(&mut one, "/nodes");
    assert!(answer.contains(&format!(
        "\"name\":\"one\",\"self\":true,\"term\":\"{EPOCH}\""
    )));
    let other = answer.split("\"name\":\"two\",\"self\":false").nth(1);
    assert!(
        other.expect(&answer).contains("\"connections\":1,"),
        "{answer}"
    );

    let mut single = Server::new(&config());
    assert_eq!(status(&poll(&mut single, "/nodes")), "404");
}

#[test]
fn metrics_of_a_node_move() {
    let (mut redis, mut server) = ready();
    let value = |server: &mut Server, name: &str| -> f64 {
        let page = poll(server, "/metrics");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("encke_{name} ")));
        line.expect(name).parse().unwrap()
    };
    assert_eq!(value(&mut server, "engine_up"), 1.0);
    assert_eq!(value(&mut server, "engine_nodes"), 1.0);
    assert_eq!(value(&mut server, "engine_terms_total"), 1.0);
    let applied = value(&mut server, "engine_applied");
    ask_log(&mut redis, &mut server, &post("/publish/a", "", "x"));
    assert!(value(&mut server, "engine_applied") > applied);
    assert_eq!(value(&mut server, "engine_messages_total"), 1.0);
    assert_eq!(value(&mut server, "engine_groups_total"), 1.0);
    assert_eq!(value(&mut server, "engine_publish_seconds_count"), 1.0);
    assert_eq!(value(&mut server, "engine_lag_entries"), 0.0);
    assert!(!poll(&mut Server::new(&config()), "/metrics").contains("engine_"));
}

#[test]
fn node_that_cannot_number_an_entry_says_so_and_answers_publishers() {
    let (mut redis, mut server) = ready();
    let term = redis.log[0].0.term;
    let id = crate::message::EntryId::new(term, crate::message::Place::MAX_ENTRY);
    // A foreign entry is skipped.
    redis.log.push((id, b"?".to_vec()));
    let (publisher, _) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    redis.serve(&mut server);
    assert_eq!(status(&server.take(publisher)), "200");
    assert_eq!(status(&poll(&mut server, "/readyz")), "503");
    let (_, refused) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    assert_eq!(status(&refused), "503");
}
