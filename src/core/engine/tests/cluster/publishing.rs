//! Answers to the publishers of a node, for each way to publish.

use super::{ask_log, ids, member, pair, poll, ready};
use crate::engine::Access;
use crate::engine::tests::redis::EPOCH;
use crate::engine::tests::support::{frame, get, post, socket, status, statuses};
use crate::log::Placed;
use crate::log::cluster::Lane;
use crate::message::{ChannelName, Data, Draft, Epoch};

#[test]
fn publisher_is_answered_when_the_log_says_so_and_readers_with_it() {
    let (mut redis, mut server) = ready();
    assert_eq!(
        Epoch::from_seed(crate::engine::tests::redis::TERM).as_str(),
        EPOCH
    );
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
