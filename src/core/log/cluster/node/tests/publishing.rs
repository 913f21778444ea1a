//! What becomes of publishes where entries are missing, or where a key turns out to be lost.

use super::*;
use crate::message::IdempotencyKey;

fn draft(text: &str) -> Draft<'_> {
    Draft::new(channel("a"), text.into())
}

fn keyed(text: &str) -> Draft<'_> {
    Draft {
        key: IdempotencyKey::parse(text.as_bytes()).ok(),
        ..draft(text)
    }
}

/// Results of publishes, in their order.
fn results(effects: &[Effect]) -> Vec<(Ticket, Outcome)> {
    let one = |effect: &Effect| match effect {
        Effect::Done { ticket, outcome } => Some((*ticket, outcome.clone())),
        _ => None,
    };
    effects.iter().filter_map(one).collect()
}

/// The connection of the publish lane is made anew; the log goes on in this term.
pub(super) fn reconnect(script: &mut Script, term: u64) {
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    assert!(matches!(script.command(), Some(Command::Open { .. })));
    script.opened(term, script.next.saturating_sub(1), Openness::GoesOn);
}

/// The next command for what is published; what the node says of itself is appended before.
fn next_publish(script: &mut Script) -> Option<Command> {
    loop {
        match script.command()? {
            Command::Append {
                bytes,
                is_publish: false,
                ..
            } => {
                let id = script.read(&bytes);
                script.node.answered_of(false, Reply::Appended(id));
            }
            command => return Some(command),
        }
    }
}

#[test]
fn publish_in_a_hole_is_published_and_not_sent_again() {
    let mut script = Script::new(Settings::default());
    let ticket = script.node.publish(&[draft("missed")]).unwrap();
    assert!(matches!(script.command(), Some(Command::Append { .. })));
    let missed = id(100, script.next);
    script.node.answered(Reply::Appended(missed));
    assert_eq!(script.effects(), [], "it is not read yet");
    script.next += 2;
    let end = script.message("a", "after");
    let effects = script.effects();
    let lost = Effect::LoseAll { id: missed.next() };
    assert_eq!(effects[0], lost);
    let outcome = Outcome::Published {
        id: missed,
        part: 0,
    };
    assert_eq!(results(&effects), [(ticket, outcome)]);
    script.begins(200, end, &[OWN], false);
    script.other(settled(&[end]));
    reconnect(&mut script, 200);
    script.serve();
    assert_eq!(script.node.counts().resent, 0);
}

#[test]
fn undecided_publish_that_may_be_in_a_hole_is_not_sent_again() {
    let mut script = Script::new(Settings::default());
    let ticket = script.node.publish(&[draft("undecided")]).unwrap();
    let with_key = script.node.publish(&[keyed("decided")]).unwrap();
    assert!(matches!(script.command(), Some(Command::Append { .. })));
    assert!(matches!(script.command(), Some(Command::Once { .. })));
    script.node.broken(Lane::Publish);
    script.next += 2;
    let end = script.message("a", "after");
    assert_eq!(results(&script.effects()), []);
    script.begins(200, end, &[OWN], true);
    script.other(settled(&[end]));
    reconnect(&mut script, 200);
    // The server knows whether it has the key.
    assert!(matches!(
        next_publish(&mut script),
        Some(Command::Once { .. })
    ));
    let first = id(100, end.number - 1);
    script.node.answered(Reply::Earlier {
        id: first,
        last: script.node.read_to,
    });
    script.serve();
    script.beat(id(200, script.next - 1));
    let [
        (one, Outcome::Unknown { .. }),
        (other, Outcome::Earlier { id }),
    ] = results(&script.effects())[..]
    else {
        panic!("{:?}", script.node);
    };
    assert_eq!((one, other, id), (ticket, with_key, first));
    assert_eq!(script.node.counts().resent, 1);
    assert_eq!(script.node.counts().unknown, 1);
}

#[test]
fn publish_that_is_sent_again_with_its_key_stays_before_those_after_it() {
    let mut script = Script::new(Settings::default());
    let first = script.node.publish(&[keyed("first")]).unwrap();
    let second = script.node.publish(&[draft("second")]).unwrap();
    assert!(matches!(script.command(), Some(Command::Once { .. })));
    assert!(matches!(script.command(), Some(Command::Append { .. })));
    script.node.broken(Lane::Publish);
    // They were in the log of a server that is no more, which had them from here on.
    let lost = id(100, script.next);
    let end = id(100, script.next - 1);
    script.begins(200, end, &[OWN], false);
    script.other(settled(&[end]));
    reconnect(&mut script, 200);
    let again = next_publish(&mut script);
    assert!(matches!(again, Some(Command::Once { replaces: None, .. })));
    let second_one = next_publish(&mut script);
    assert_eq!(second_one, None, "the server may not take the first one");
    // The server has forgotten the log and not its keys.
    script.node.answered_of(
        true,
        Reply::Earlier {
            id: lost,
            last: lost.max(script.node.read_to),
        },
    );
    let Some(Command::Once {
        replaces, bytes, ..
    }) = next_publish(&mut script)
    else {
        panic!("it is sent again, in the place of the lost one");
    };
    assert_eq!(replaces, Some(lost));
    assert_eq!(next_publish(&mut script), None);
    let appended = Reply::Appended(id(script.term, script.next));
    script.node.answered_of(true, appended);
    script.read(&bytes);
    script.serve();
    script.beat(id(200, script.next - 1));
    let results = results(&script.effects());
    let tickets: Vec<Ticket> = results.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(tickets, [first, second]);
    let ids: Vec<EntryId> = results
        .iter()
        .filter_map(|(_, outcome)| match outcome {
            Outcome::Published { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert!(ids.len() == 2 && ids[0] < ids[1], "{ids:?}");
}

#[test]
fn undecided_publish_is_sent_again_only_after_a_fence() {
    let mut script = Script::new(Settings::default());
    let ticket = script
        .node
        .publish(&[Draft::new(channel("a"), "1".into())])
        .unwrap();
    let Some(Command::Append { bytes, .. }) = script.command() else {
        panic!("it publishes");
    };
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    let Some(Command::Open {
        mode: OpenMode::Fence,
        ..
    }) = script.command()
    else {
        panic!("it fences");
    };
    assert_eq!(script.command(), None);
    let end = id(100, script.next - 1);
    script.begins(200, end, &[OWN], true);
    script.other(settled(&[end]));
    script.opened(200, end.number, Openness::New);
    let again = script.serve();
    assert!(again.contains(&bytes), "the same entry");
    assert_eq!(script.node.counts().resent, 1);
    script.beat(id(200, script.next - 1));
    let done = |effect: &Effect| matches!(effect, Effect::Done { ticket: done, outcome: Outcome::Published { .. } } if *done == ticket);
    let effects = script.effects();
    assert_eq!(
        effects.iter().filter(|effect| done(effect)).count(),
        1,
        "{effects:?}"
    );
}

#[test]
fn shorter_patience_holds_for_those_that_wait() {
    let mut script = Script::new(Settings {
        patience_ms: 30_000,
        ..Settings::default()
    });
    let draft = || Draft::new(channel("a"), "1".into());
    script.node.broken(Lane::Publish);
    script.node.publish(&[draft()]).unwrap();
    script.node.set_times(1_000, 10_000);
    script.node.publish(&[draft()]).unwrap();
    script.pass(999);
    assert_eq!(script.effects(), []);
    script.pass(1);
    assert_eq!(script.effects().len(), 2);
}

#[test]
fn publisher_has_its_result_after_the_patience() {
    let mut script = Script::new(Settings::default());
    let draft = || Draft::new(channel("a"), "1".into());
    let sent = script.node.publish(&[draft()]).unwrap();
    assert!(script.command().is_some());
    script.node.broken(Lane::Publish);
    let kept = script.node.publish(&[draft()]).unwrap();
    script.pass(4_999);
    assert_eq!(script.effects(), []);
    script.pass(1);
    let effects = script.effects();
    let [
        Effect::Done {
            ticket: first,
            outcome: Outcome::Unknown { .. },
        },
        Effect::Done {
            ticket: second,
            outcome: Outcome::NotPublished(Reason::Silent { .. }),
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!((*first, *second), (sent, kept));
    script.pass(1);
    let refused = script.node.publish(&[draft()]);
    assert!(
        matches!(refused, Err(Refusal::Silent { silent_ms: 5_000.. })),
        "{refused:?}"
    );
}

#[test]
fn publishes_of_a_tick_are_one_entry_and_batches_stay_whole() {
    let mut script = Script::new(Settings::default());
    let draft = |text: &str| Draft::new(channel("a"), text.into());
    let last = Draft {
        kind: crate::message::DraftKind::Last,
        ..draft("2")
    };
    let first = script.node.publish(&[draft("1"), last]).unwrap();
    let second = script.node.publish(&[draft("3")]).unwrap();
    assert_eq!(script.serve().len(), 1);
    let effects = script.effects();
    let [Effect::Apply { id, drafts, .. }, one, two] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(drafts.to_vec().len(), 3);
    let done = |ticket, part| Effect::Done {
        ticket,
        outcome: Outcome::Published { id: *id, part },
    };
    assert_eq!((one, two), (&done(first, 0), &done(second, 3)));
}

#[test]
fn results_are_among_the_effects_in_their_place() {
    let mut script = Script::new(Settings::default());
    let draft = Draft::new(channel("a"), "1".into());
    let ticket = script.node.publish(&[draft]).unwrap();
    script.serve();
    script.message("b", "2");
    script.node.leave();
    script.pass(5_000);
    assert!(!script.node.has_left(), "a result waits");
    let effects = script.effects();
    let [Effect::Apply { .. }, done, Effect::Apply { .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert!(matches!(done, Effect::Done { ticket: done, .. } if *done == ticket));
    script.pass(1);
    assert!(script.node.has_left());
}

#[test]
fn publish_that_replicas_may_lack_is_not_done_by_being_read() {
    let mut script = Script::new(Settings {
        awaits_replicas: true,
        ..Settings::default()
    });
    let draft = || Draft::new(channel("a"), "1".into());
    let results = |effects: &[Effect]| -> Vec<(Ticket, bool)> {
        let one = |effect: &Effect| match effect {
            Effect::Done { ticket, outcome } => {
                Some((*ticket, matches!(outcome, Outcome::Published { .. })))
            }
            _ => None,
        };
        effects.iter().filter_map(one).collect()
    };
    let publish = |script: &mut Script| {
        let ticket = script.node.publish(&[draft()]).unwrap();
        loop {
            match script.command() {
                Some(Command::Append {
                    bytes,
                    is_publish: true,
                    ..
                }) => return (ticket, script.read(&bytes)),
                Some(Command::Append { bytes, .. }) => {
                    let id = script.read(&bytes);
                    script.node.answered_of(false, Reply::Appended(id));
                }
                other => panic!("{other:?}"),
            }
        }
    };
    // The reply is held for long, and others are not.
    let (first, _) = publish(&mut script);
    for _ in 0..4 {
        script.pass(1_100);
        while let Some(Command::Append { bytes, .. }) = script.command() {
            let id = script.read(&bytes);
            script.node.answered_of(false, Reply::Appended(id));
        }
    }
    let (second, _) = publish(&mut script);
    script.pass(600);
    assert!(
        !script.node.takes_reset(),
        "a reply that is held is no silence"
    );
    // The first publisher has waited for long enough, the second one waits.
    assert_eq!(results(&script.effects()), [(first, false)]);
    // A broken connection is no reply.
    script.node.broken(Lane::Publish);
    script.node.connected(Lane::Publish);
    script.command();
    script.opened(100, script.next - 1, Openness::GoesOn);
    assert_eq!(results(&script.effects()), []);
    // What has replicas now has them for all that was before.
    let (third, id) = publish(&mut script);
    assert_eq!(results(&script.effects()), []);
    script.node.answered_of(true, Reply::Appended(id));
    assert_eq!(results(&script.effects()), [(second, true), (third, true)]);
}
