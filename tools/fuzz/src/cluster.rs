//! Entries of a cluster's log: any bytes are read without harm, and what is read is written as it was.
//!
//! The bytes are read as an entry, and as a log: pieces, each with a byte that says how its id follows
//! the one before, and a length of two bytes. A node reads that log, and what it asks for is granted.

use encke_core::base::time::Time;
use encke_core::log::cluster::entry::Entry;
use encke_core::log::cluster::{Command, Lane, Node, Opened, Openness, Reply, Salt, Settings};
use encke_core::message::{ChannelName, Draft, EntryId};

/// Commands that are granted after each entry.
const MAX_COMMANDS: usize = 20;

/// Reads bytes as an entry, and as a log.
pub fn cluster(bytes: &[u8]) {
    comes_back(bytes);
    let settings = Settings {
        ring_bytes: 4_096,
        log_bytes: 10_000,
        ..Settings::default()
    };
    let mut node = Node::new(settings, [1, 2, 3]);
    let (mut now, mut id) = (0, EntryId::new(1, 0));
    node.tick(Time(now), now);
    node.connected(Lane::Publish);
    node.connected(Lane::Follow);
    let mut rest = bytes;
    while let Some(([how, low, high], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (entry, after) = after.split_at(length.min(after.len()));
        rest = after;
        id = match how % 8 {
            0 => EntryId::new(id.term + 1, 0),
            1 => EntryId::new(id.term + 1, 3),
            2 => EntryId::new(id.term, id.number + 2),
            _ => id.next(),
        };
        comes_back(entry);
        node.read(id, entry);
        now += u64::from(*how) * 20;
        node.tick(Time(now), now);
        if how % 16 == 15 {
            let channel = ChannelName::parse(&b"a"[..]).expect("a channel");
            let _ = node.publish(&[Draft::new(channel, "text".into())]);
        }
        grant(&mut node, id);
        let mut last = EntryId::ZERO;
        while let Some(effect) = node.next_effect() {
            if let encke_core::log::cluster::Effect::Apply { id, .. } = effect {
                assert!(id > last, "ids rise");
                last = id;
            }
        }
    }
}

/// Grants what the node asks for.
fn grant(node: &mut Node, id: EntryId) {
    for _ in 0..MAX_COMMANDS {
        let Some(command) = node.next_command() else {
            return;
        };
        node.answered(match command {
            Command::Open { .. } => Reply::Opened(Opened {
                term: id.term,
                last: id,
                how: Openness::GoesOn,
                salt: Some(Salt(4, 5)),
                time_ms: id.term,
            }),
            Command::Append { .. } | Command::Once { .. } => Reply::Appended(id.next()),
        });
    }
}

/// An entry is written as the bytes that it was read from.
fn comes_back(bytes: &[u8]) {
    if let Ok(entry) = Entry::read(bytes) {
        let mut written = Vec::new();
        entry.write(&mut written);
        assert_eq!(written, bytes, "{entry:?}");
    }
}
