use proptest::prelude::*;

use super::*;
use crate::message::{Data, Draft, DraftKind, EventName, IdempotencyKey};

fn written(entry: &Entry<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    entry.write(&mut out);
    out
}

fn name() -> impl Strategy<Value = ChannelName<'static>> {
    "[a-zü:]{1,9}(/[a-z]{1,5}){0,2}".prop_map(|name| ChannelName::parse(name.into_bytes()).unwrap())
}

pub(in crate::log::cluster) fn draft() -> impl Strategy<Value = Draft<'static>> {
    let data = prop_oneof![
        ".{0,30}".prop_map(|text| Data::Text(text.into())),
        any::<Vec<u8>>().prop_map(Data::from),
        any::<i64>().prop_map(|number| Data::json(format!("[{number},null]")).unwrap()),
    ];
    let event = proptest::option::of("[a-z]{1,9}x");
    let key = proptest::option::of(".{1,20}");
    (name(), data, event, key, 0..3).prop_map(|(channel, data, event, key, kind)| {
        let key = key.map(|key| IdempotencyKey::parse(key.as_bytes()).unwrap());
        let event = event.and_then(|name| EventName::parse(name.as_bytes()).unwrap());
        let draft = Draft::new(channel.clone(), data);
        match kind {
            0 => Draft {
                event,
                key,
                ..draft
            },
            1 => Draft {
                event,
                key,
                kind: DraftKind::Last,
                ..draft
            },
            _ => Draft {
                key,
                ..Draft::end(channel)
            },
        }
    })
}

fn id() -> impl Strategy<Value = EntryId> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, number)| EntryId::new(term, number >> 20))
}

fn chain() -> impl Strategy<Value = Vec<EntryId>> {
    let terms = proptest::collection::btree_map(any::<u64>(), any::<u64>(), 0..=MAX_CHAIN);
    terms.prop_map(|terms| terms.into_iter().map(|(t, n)| EntryId::new(t, n)).collect())
}

fn members() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(any::<u64>(), 0..5)
}

/// The bytes of an entry, of any kind.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let messages = proptest::collection::vec(draft(), 1..4)
        .prop_map(|drafts| Body::Messages(Messages::of(&drafts)));
    let term = (members(), chain(), id(), 0..3).prop_map(|(members, chain, end, how)| {
        let (run, is_same, is_rolled) = ("0123abc", how == 1, how == 2);
        Body::Term(Term {
            members,
            chain,
            end,
            run,
            is_same,
            is_rolled,
        })
    });
    let beat = (id(), any::<bool>(), any::<u64>(), chain()).prop_map(|parts| {
        let (applied, is_leaving, digest, chain) = parts;
        let (connections, name) = (digest >> 40, "näme");
        Body::Beat(Beat {
            applied,
            is_leaving,
            connections,
            digest,
            chain,
            name,
        })
    });
    let answer = (any::<bool>(), members(), chain()).prop_map(|(remembers, members, chain)| {
        Body::Answer(Answer {
            remembers,
            departed: members.clone(),
            members,
            chain,
        })
    });
    let settled = (any::<bool>(), chain())
        .prop_map(|(loses_all, chain)| Body::Settled(Settled { loses_all, chain }));
    let lost = proptest::collection::vec(name(), 0..4).prop_map(Body::Lost);
    let retold = proptest::collection::vec((id(), any::<bool>()), 0..4).prop_map(|ids| {
        let record = |(id, is_blank): (EntryId, bool)| match is_blank {
            true => Record::Blank {
                first: id,
                last: id.number + 3,
            },
            false => Record::Entry {
                id,
                bytes: b"entry",
            },
        };
        Body::Retold(ids.into_iter().map(record).collect())
    });
    let checkpoint = (id(), any::<u64>(), chain()).prop_map(|(up_to, salt, ids)| {
        let mut floors = vec![EntryId::ZERO; BUCKETS];
        floors[..ids.len()].copy_from_slice(&ids);
        Body::Checkpoint(Checkpoint {
            up_to,
            salt,
            floors: floors.into(),
        })
    });
    let delete = name().prop_map(Body::Delete);
    let counts = proptest::collection::vec((any::<u64>(), any::<u32>()), 0..4);
    let readers = (any::<u8>(), any::<bool>(), any::<bool>(), counts).prop_map(|parts| {
        let (round, ends_round, asks, counts) = parts;
        Body::Readers(Readers {
            round,
            ends_round,
            asks,
            counts,
        })
    });
    let kick = (any::<bool>(), proptest::option::of(name()), any::<u64>());
    let kicks = proptest::collection::vec(kick, 1..4).prop_map(|kicks| {
        let kick = |(ends, channel, until_ms)| Kick {
            subject: "ünn".into(),
            ends,
            channel,
            until_ms,
        };
        Body::Kick(kicks.into_iter().map(kick).collect())
    });
    let body = prop_oneof![
        1 => readers, 1 => kicks,
        4 => messages, 1 => term, 1 => beat, 1 => answer, 1 => settled,
        1 => lost, 1 => retold, 1 => checkpoint, 1 => delete,
    ];
    (any::<u64>(), any::<u32>(), any::<u64>(), body).prop_map(|(node, nonce, at_ms, body)| {
        let head = Head {
            node,
            nonce: nonce.into(),
            at_ms,
        };
        let entry = Entry { head, body };
        let bytes = written(&entry);
        assert_eq!(Entry::read(&bytes), Ok(entry));
        bytes
    })
}

/// Nodes of other versions read these bytes.
#[test]
fn entries_have_these_bytes() {
    let head = Head {
        node: 1,
        nonce: 2,
        at_ms: 300,
    };
    let channel = || ChannelName::parse(&b"news"[..]).unwrap();
    let start = |tag: u8| [&[tag], &b"\x01\0\0\0\0\0\0\0\x02\xac\x02"[..]].concat();
    let json = Draft::new(channel(), Data::json("[1]").unwrap());
    let last = Draft {
        kind: DraftKind::Last,
        ..Draft::new(channel(), Data::from("t"))
    };
    let id = EntryId::new(7, 129);
    for (body, tag, rest) in [
        (
            Body::Messages(Messages::of(&[json, last])),
            0x91,
            &b"\x09\x00\x04news[1]\x07\x41\x04newst"[..],
        ),
        (
            Body::Term(Term {
                members: vec![3],
                chain: vec![id],
                end: id,
                run: "f0",
                is_same: true,
                is_rolled: false,
            }),
            0x92,
            b"\x01\x03\0\0\0\0\0\0\0\x01\x07\x81\x017-129 f0 same",
        ),
        (
            Body::Beat(Beat {
                applied: id,
                is_leaving: true,
                connections: 5,
                digest: 6,
                chain: vec![],
                name: "n",
            }),
            0x13,
            b"\x07\x81\x01\x01\x05\x06\0\0\0\0\0\0\0\x00n",
        ),
        (
            Body::Answer(Answer {
                remembers: true,
                members: vec![],
                departed: vec![2],
                chain: vec![id],
            }),
            0x94,
            b"\x01\x00\x01\x02\0\0\0\0\0\0\0\x01\x07\x81\x01",
        ),
        (
            Body::Retold(vec![
                Record::Entry { id, bytes: b"xy" },
                Record::Blank {
                    first: id.next(),
                    last: 200,
                },
            ]),
            0x95,
            b"\x00\x07\x81\x01\x02xy\x01\x07\x82\x01\xc8\x01",
        ),
        (
            Body::Settled(Settled {
                loses_all: false,
                chain: vec![id],
            }),
            0x96,
            b"\x00\x01\x07\x81\x01",
        ),
        (Body::Lost(vec![channel()]), 0x97, b"\x04news"),
        (Body::Delete(channel()), 0x98, b"news"),
        (
            Body::Readers(Readers {
                round: 3,
                ends_round: true,
                asks: false,
                counts: vec![(5, 200)],
            }),
            0x1a,
            b"\x03\x01\x00\x05\0\0\0\0\0\0\0\xc8\x01",
        ),
        (
            Body::Kick(vec![
                Kick {
                    subject: "ann".into(),
                    ends: true,
                    channel: Some(channel()),
                    until_ms: 0,
                },
                Kick {
                    subject: "bob".into(),
                    ends: false,
                    channel: None,
                    until_ms: 300,
                },
            ]),
            0x1b,
            b"\x03\x03ann\x04news\x00\x00\x03bob\xac\x02",
        ),
    ] {
        let bytes = [&start(tag)[..], rest].concat();
        let entry = Entry { head, body };
        assert_eq!(
            written(&entry).escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
        assert_eq!(Entry::read(&bytes), Ok(entry));
    }
}

#[test]
fn unknown_kinds_are_skipped_unless_they_are_marked() {
    for (tag, expected) in [
        (0x1f, Unreadable::Skip),
        (0x23, Unreadable::Skip),
        (0x9f, Unreadable::Halt),
        (0xa1, Unreadable::Halt),
        (0x91, Unreadable::Damaged),
        (0x11, Unreadable::Skip),
    ] {
        assert_eq!(Entry::read(&[tag, 1, 2]), Err(expected), "{tag:x}");
    }
    assert_eq!(Entry::read(&[]), Err(Unreadable::Foreign));
}

proptest! {
    #[test]
    fn changed_or_cut_bytes_are_refused_or_written_as_they_are(
        bytes in bytes(),
        place: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let mut changed = bytes.clone();
        let place = place.index(bytes.len());
        changed[place] = byte;
        for bytes in [&changed[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(entry) = Entry::read(bytes) {
                prop_assert_eq!(written(&entry), bytes);
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_written_as_they_are(tag in 0x10..0x1c_u8, bytes: Vec<u8>) {
        for tag in [tag, tag | MANDATORY] {
            let bytes = [&[tag], &bytes[..]].concat();
            if let Ok(entry) = Entry::read(&bytes) {
                prop_assert_eq!(written(&entry), bytes);
            }
        }
    }
}
