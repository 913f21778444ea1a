//! The effects of the scripts in a server, also after it was flushed, restarted or replaced.

use encke_core::log::cluster::{KeyHash, Openness};

use super::*;

pub(super) fn once(term: u64, key: u8, replaces: Option<EntryId>) -> Command {
    Command::Once {
        term,
        keep_from: EntryId::ZERO,
        key: KeyHash([key; 16]),
        age_ms: 60_000,
        replaces,
        known: None,
        bytes: b"once".to_vec(),
    }
}

pub(super) fn earlier(id: EntryId, last: EntryId) -> Reply {
    Reply::Earlier { id, last }
}

#[test]
fn log_is_opened_once_and_then_looked_at() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));

    let due = lanes.open(OpenMode::Peek, EntryId::ZERO);
    assert_eq!((due.term, due.how, due.salt), (0, Openness::IsDue, None));

    let first = lanes.open(OpenMode::Look, EntryId::ZERO);
    assert_eq!((first.last, first.how), (EntryId::ZERO, Openness::New));
    assert_eq!(first.salt, Some(Salt(1, 2)));
    let term = first.term;
    assert!(term > 1_600_000_000_000, "the time in ms: {term}");

    for mode in [OpenMode::Peek, OpenMode::Look] {
        let again = lanes.open(mode, EntryId::new(term, 0));
        let last = EntryId::new(term, 0);
        assert_eq!((again.term, again.last), (term, last));
        assert_eq!(again.how, Openness::GoesOn);
    }
    // A fence by a node that knows an earlier term has nothing to do.
    let fenced = lanes.open(OpenMode::Fence, EntryId::new(term - 1, 5));
    assert_eq!((fenced.term, fenced.how), (term, Openness::GoesOn));
}

#[test]
fn fence_makes_commands_of_the_term_before_stale() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    let id = EntryId::new(term, 1);
    assert_eq!(lanes.reply_to(append(term, "a")), Reply::Appended(id));

    let fenced = lanes.open(OpenMode::Fence, id);
    assert_eq!((fenced.last, fenced.how), (id, Openness::New));
    assert!(fenced.term > term);
    assert_eq!(lanes.reply_to(append(term, "b")), Reply::Stale);
    assert_eq!(lanes.reply_to(once(term, 1, None)), Reply::Stale);
    let next = EntryId::new(fenced.term, 1);
    // The stale command has left no key behind.
    assert_eq!(
        lanes.reply_to(once(fenced.term, 1, None)),
        Reply::Appended(next)
    );
}

#[test]
fn key_has_one_entry_unless_that_is_lost() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    let [first, second, third] = [1, 2, 3].map(|number| EntryId::new(term, number));
    assert_eq!(lanes.reply_to(once(term, 1, None)), Reply::Appended(first));
    assert_eq!(lanes.reply_to(once(term, 1, None)), earlier(first, first));
    assert_eq!(lanes.reply_to(once(term, 2, None)), Reply::Appended(second));
    let replaced = lanes.reply_to(once(term, 1, Some(first)));
    assert_eq!(replaced, Reply::Appended(third));
    assert_eq!(
        lanes.reply_to(once(term, 1, Some(first))),
        earlier(third, third)
    );
    // A key that this node knows, and the server does not, is learnt and not appended.
    let mut again = once(term, 3, None);
    if let Command::Once { known, .. } = &mut again {
        *known = Some(second);
    }
    for command in [again, once(term, 3, None)] {
        assert_eq!(lanes.reply_to(command), earlier(second, third));
    }
}

#[test]
fn older_log_of_a_server_that_runs_on_is_emptied_for_a_new_term() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    for mode in [OpenMode::Look, OpenMode::Fence, OpenMode::Doubt] {
        let term = lanes.open(OpenMode::Fence, EntryId::new(1 << 41, 0)).term;
        let copy = "COPY {encke}:log {encke}:old REPLACE";
        server.tell(copy).expect("OK");
        for _ in 0..3 {
            lanes.reply_to(append(term, "read"));
        }
        let back = "COPY {encke}:old {encke}:log REPLACE";
        server.tell(back).expect("OK");
        let misplaced = EntryId::new(term, 1);
        assert_eq!(
            lanes.reply_to(append(term, "other")),
            Reply::Appended(misplaced)
        );
        // One that has read no more than the log has finds nothing.
        let how = lanes.open(OpenMode::Look, misplaced).how;
        assert_eq!(how, Openness::GoesOn);
        let opened = lanes.open(mode, EntryId::new(term, 3));
        assert_eq!((opened.last, opened.how), (misplaced, Openness::New));
        let entries = server.ask("XRANGE {encke}:log - +").expect("it answers");
        assert!(
            entries.starts_with("*1\r\n")
                && entries.contains("0-0 ")
                && entries.contains(" rolled"),
            "{entries}"
        );
    }
}

#[test]
fn flushed_log_is_gone_and_opened_above_what_was_known() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    let id = EntryId::new(term, 1);
    assert_eq!(lanes.reply_to(append(term, "a")), Reply::Appended(id));

    server.tell("FLUSHALL").expect("OK");
    assert_eq!(lanes.reply_to(append(term, "b")), Reply::Gone);
    assert_eq!(lanes.reply_to(once(term, 1, None)), Reply::Gone);
    // A term from the future is known: the next one is above it.
    let future = EntryId::new(term + 1_000_000_000, 7);
    let opened = lanes.open(OpenMode::Look, future);
    assert_eq!((opened.last, opened.how), (EntryId::ZERO, Openness::New));
    assert_eq!(opened.term, future.term + 1);
}

#[test]
fn log_of_a_server_that_was_restarted_is_opened_anew() {
    let Some(mut server) = redis(&["--appendonly", "yes", "--appendfsync", "always"]) else {
        return;
    };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    let id = EntryId::new(term, 1);
    assert_eq!(lanes.reply_to(append(term, "a")), Reply::Appended(id));

    server.kill().expect("it is ours");
    server.start_again().expect("it starts");
    // The lane sees it when it sends.
    lanes.send(append(term, "b"));
    assert_eq!(lanes.until_broken(Lane::Publish), Cause::Closed);
    lanes.until_connected(Lane::Publish);
    let due = lanes.open(OpenMode::Peek, id);
    assert_eq!((due.term, due.last, due.how), (term, id, Openness::IsDue));
    let opened = lanes.open(OpenMode::Look, id);
    assert_eq!((opened.last, opened.how), (id, Openness::New));
    assert!(opened.term > term);
    assert_eq!(opened.salt, Some(Salt(1, 2)));
}

#[test]
fn log_of_another_format_is_refused() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    server.tell("HSET {encke}:meta v 9").expect("OK");
    let Reply::Refused(words) = lanes.reply_to(open(OpenMode::Look, EntryId::ZERO)) else {
        panic!("it is refused");
    };
    assert!(
        words.starts_with("ENCKEFORMAT the log has format 9"),
        "{words}"
    );
}
