//! Publishing: ids, batches, retries.

use super::*;

#[test]
fn ids_against_the_order_of_publishing_are_found() {
    let mut run = Run::new(0);
    run.publish(publish(1, 2, 1, 10 * SECOND));
    run.publish(publish(1, 1, 1, 10_500_000));
    run.streams(9_000).gets(10_510, 1).gets(10_510, 2);
    run.breaks(Kind::OutOfOrder);
}

#[test]
fn one_id_for_two_messages_is_found() {
    let mut run = Run::new(1);
    let mut other = publish(1, 1, 1, 10 * SECOND);
    other.number = 7;
    run.publish(other);
    run.streams(9_000).gets(10_010, 1);
    assert!(run.kinds().contains(&Kind::OneIdForTwo));
}

#[test]
fn retry_with_a_key_must_be_one_message() {
    let mut run = Run::new(2);
    run.logs.publishes[0].keyed = true;
    run.logs.publishes[0].again = Some(id(1, 1));
    run.streams(9_000).gets(10_010, 1).gets(11_010, 2);
    run.is_right();

    run.logs.publishes[0].again = Some(id(1, 3));
    let kinds = run.kinds();
    assert!(kinds.contains(&Kind::PublishedTwice), "{kinds:?}");
}

/// A server that was killed at 13 s, and a message that was under way then.
fn killed(outcome: Outcome) -> Run {
    let mut run = Run::new(3);
    run.logs.keeps_history = true;
    run.logs.outages.push(span(13_000, 13_500));
    let mut lost = publish(1, 4, 1, 13 * SECOND);
    lost.outcome = outcome;
    run.publish(lost);
    run.publish(publish(1, 1_000, 1, 13_800_000));
    run.streams(9_000);
    for seq in 1..=3 {
        run.gets((9 + seq) * 1_000 + 10, seq);
    }
    run.gets(13_810, 1_000);
    run
}

#[test]
fn unanswered_message_may_go_with_a_server_that_is_killed() {
    killed(Outcome::Unknown).is_right();
    let answered = killed(Outcome::Accepted(id(1, 4)));
    assert!(answered.kinds().contains(&Kind::Lost));
}

#[test]
fn saved_history_that_begins_anew_is_found() {
    let mut run = Run::new(2);
    run.publish(publish(2, 1, 1, 20 * SECOND));
    run.streams(9_000).gets(10_010, 1).gets(11_010, 2);
    assert!(!run.kinds().contains(&Kind::Lost));
    run.logs.keeps_history = true;
    assert!(run.kinds().contains(&Kind::Lost));
}

#[test]
fn retry_after_the_key_expired_may_be_two_messages() {
    let mut run = Run::new(6);
    run.logs.publishes[0].keyed = true;
    run.logs.publishes[0].again = Some(id(1, 7));
    run.streams(9_000);
    for seq in 1..=6 {
        run.gets((9 + seq) * 1_000 + 10, seq);
    }
    let again = Receipt {
        number: 1_001,
        ..receipt(1, 7, 1)
    };
    run.at(16_010, Event::Message(again));
    run.is_right();
}

#[test]
fn missing_part_of_an_unacknowledged_batch_is_lost() {
    let mut run = Run::new(0);
    for seq in 1..=3 {
        let mut of_batch = publish(1, seq, 1, 10 * SECOND);
        (of_batch.batch, of_batch.outcome) = (5, Outcome::Unknown);
        run.publish(of_batch);
    }
    run.publish(publish(1, 4, 1, 11 * SECOND));
    run.streams(9_000)
        .gets(10_010, 1)
        .gets(10_010, 2)
        .gets(10_010, 3)
        .gets(11_010, 4);
    run.is_right();
    run.logs.clients[0].remove(4);
    run.breaks(Kind::Lost);
}

#[test]
fn batch_without_consecutive_ids_is_torn() {
    let mut run = Run::new(0);
    for (seq, number) in [(1, 1_001), (3, 1_003)] {
        let mut of_batch = publish(1, seq, 1, 10 * SECOND);
        (of_batch.batch, of_batch.number) = (5, number);
        run.publish(of_batch);
    }
    run.streams(9_000).gets(10_010, 1).gets(10_010, 3);
    run.breaks(Kind::TornBatch);
}
