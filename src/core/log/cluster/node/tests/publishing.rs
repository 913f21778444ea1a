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
