//! A thawed hub beside the one that was frozen, and damaged states.

mod check;

use proptest::prelude::*;

use super::super::model::{CHANNELS, Op, Pair, history, name, op, policies};
use super::super::*;
use crate::config::Policy;
use crate::frozen::ThawError;
use crate::frozen::damage::{damage, damaged, state_of, values};
use crate::log::Log;
use crate::message::{Data, Draft, EventName, IdempotencyKey};
use check::check;

/// Everything that a caller can learn of a hub, and in which order it would serve readers.
fn portrait(hub: &Hub) -> String {
    let name = |&index: &u32| hub.channels[index as usize].name();
    let followers = |list: &crate::base::list::List| {
        let members = list.iter(&hub.subscriptions);
        let followers = members.map(|at| hub.subscriptions[at as usize].follower);
        followers.collect::<Vec<_>>()
    };
    let mut channels: Vec<String> = hub
        .channels
        .iter()
        .map(|(index, channel)| {
            let entries = channel.ring().map(|ring| &ring.entries);
            let entries = entries.into_iter().flatten();
            let entries: Vec<_> = entries
                .map(|e| {
                    (
                        e.seq,
                        e.pending,
                        e.is_end(),
                        &hub.messages[e.key() as usize],
                    )
                })
                .map(|(seq, pending, is_end, stored)| {
                    (seq, pending, is_end, stored.at(), stored.subscribers())
                })
                .collect();
            format!(
                "{} {:?} {entries:?} {:?} {:?} {:?} {} {} {} {:?} {:?} {:?}",
                channel.name(),
                channel.evicted_up_to(),
                followers(&channel.waiting),
                followers(&channel.ready),
                channel.reader_counts(),
                channel.running,
                channel.woken,
                channel.has_ended(),
                channel.publish_interval(),
                hub.rules(index as u32),
                hub.ages.deadline(index as u32),
            )
        })
        .collect();
    channels.sort();
    let run: Vec<_> = hub.run.iter().map(name).collect();
    let idle: Vec<_> = hub.idle.iter().map(|(i, at)| (name(i), at)).collect();
    let times = (hub.next_history_expiry(), hub.next_idle_expiry());
    let bytes = (hub.meter().used(), hub.meter().limit(), hub.channel_bytes());
    format!(
        "{:?} {channels:#?} {run:?} {idle:?} {times:?} {bytes:?} {:?} {:?} {:?}",
        hub.head(),
        hub.readers(),
        hub.counts(),
        hub.fan_out_ms(),
    )
}

/// While a configuration is approached step by step, a channel's turn depends on its slot, and a
/// new channel of a thawed hub may get another one.
fn keeps_configuration(op: &Op) -> bool {
    !matches!(op, Op::Reconfigure(..) | Op::HandOver(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn thawed_hub_is_as_the_one_before(
        history in history(),
        policies in policies(),
        before in proptest::collection::vec(op(), 1..60),
        after in proptest::collection::vec(op().prop_filter("it stays", keeps_configuration), 1..60),
    ) {
        let mut one = Pair::new(history, policies.clone());
        let mut other = Pair::new(history, policies);
        for op in before {
            other.apply(op.clone());
            one.apply(op);
        }
        other.hub.continue_reconfigure(1_000);
        one.hub.continue_reconfigure(1_000);
        for op in after {
            other.hand_over();
            check(&other.hub);
            prop_assert_eq!(portrait(&one.hub), portrait(&other.hub));
            prop_assert_eq!(&one.hub.names.evicted_up_to, &other.hub.names.evicted_up_to);
            other.apply(op.clone());
            one.apply(op);
        }
        other.check();
    }
}

/// A hub with some of everything, and its log and readers.
fn rich() -> Pair {
    let policy = |pattern: &str| Policy::of(pattern.parse().unwrap());
    let policies = vec![
        Policy {
            latest: true,
            ..policy("a")
        },
        Policy {
            history_age: Some(std::time::Duration::from_millis(100)),
            ..policy("b")
        },
    ];
    let history = crate::config::History::default();
    let mut pair = Pair::new(history, policies);
    for (place, channel) in [0, 1, 1, 2, 3, 3, 2].into_iter().enumerate() {
        pair.apply(Op::Follow(vec![channel, 3], place as u64, place % 2 == 0));
        pair.apply(Op::Publish(channel, place));
        pair.apply(Op::Pass(50));
    }
    for op in [
        Op::Serve(2, true),
        Op::Serve(1, false),
        Op::End(2, Some(3)),
        Op::Leave(2),
        Op::Forget(1),
        Op::Publish(1, 7),
        Op::Forget(0),
    ] {
        pair.apply(op);
    }
    let contents = [
        (
            Data::json("{\"a\":[1,\"ü\"]}").unwrap(),
            Some("event"),
            Some("key"),
        ),
        (Data::Binary((*b"\0\xff").into()), None, Some("other")),
        (Data::Text("text".into()), Some("event"), None),
    ];
    for (data, event, key) in contents {
        let draft = Draft {
            event: event.and_then(|event| EventName::parse(event.as_bytes()).unwrap()),
            key: key.map(|key| IdempotencyKey::parse(key.as_bytes()).unwrap()),
            ..Draft::new(name("d"), data)
        };
        pair.log.publish(&mut pair.hub, draft).unwrap();
    }
    let names = [name("unused"), name("idle")];
    for channel in pair.hub.open_all(names.iter()).unwrap() {
        pair.hub.enqueue_idle(channel);
    }
    pair
}

#[test]
fn contents_and_keys_come_back() {
    let mut pair = rich();
    let contents = |hub: &Hub| {
        let contents = hub.messages.iter().map(|(key, _)| hub.content(key as u32));
        let mut contents: Vec<_> = contents.map(|content| format!("{content:?}")).collect();
        contents.sort();
        contents
    };
    let before = contents(&pair.hub);
    pair.hand_over();
    assert_eq!(contents(&pair.hub), before);
    let draft = Draft {
        key: Some(IdempotencyKey::parse(b"key").unwrap()),
        ..Draft::new(name("d"), Data::from("again"))
    };
    let first = pair.hub.published_before(&draft).unwrap();
    assert_eq!(first.id.seq.0, pair.hub.head().0 - 2);
}

#[test]
fn channels_and_readers_beyond_the_limits_are_refused() {
    let pair = rich();
    let state = pair.freeze();
    let config = Config {
        max_channels: 3,
        ..pair.config.clone()
    };
    let refused = Pair::thaw(&config, &state).map(|_| ());
    let Err(ThawError::Exceeds(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("--max-channels must be 4 at least"), "{why}");
    let mut state = crate::frozen::Thawer::new(&state[..]);
    let refused = Hub::thaw(&pair.config, 5, &mut state).map(|_| ());
    let Err(ThawError::Exceeds(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("--max-connections must be"), "{why}");
}

/// Readers with their followers.
type Readers = Vec<(u32, Reader)>;

#[test]
fn other_limits_hold_as_after_a_reload() {
    let pair = rich();
    let used = pair.hub.meter().used();
    let state = pair.freeze();
    let with = |max_total_bytes: usize| {
        let mut config = pair.config.clone();
        config.history.max_total_bytes = max_total_bytes;
        Pair::thaw(&config, &state).unwrap().0
    };
    let hub = with(pair.config.history.max_total_bytes);
    assert!(!hub.is_reconfiguring());
    let limit = 2 * pair.config.history.max_total_bytes;
    assert_eq!(with(limit).meter().limit(), limit, "raised at once");
    let mut hub = with(used / 2);
    assert_eq!(hub.meter().limit(), used, "lowered step by step");
    assert!(hub.is_reconfiguring());
    for _ in 0..100 {
        hub.continue_reconfigure(1);
        check(&hub);
    }
    assert!(hub.meter().limit() < used && hub.meter().used() < used);
}

#[test]
fn readers_of_others_are_refused() {
    let pair = rich();
    let mut bytes = crate::frozen::Freezer::new(Vec::new());
    pair.hub.freeze(&mut bytes).unwrap();
    let bytes = bytes.into_inner();
    let thaw = || Hub::thaw(&pair.config, 8, &mut crate::frozen::Thawer::new(&bytes[..])).unwrap();
    let frozen: Vec<FrozenReader> = pair.readers.iter().map(|(r, ..)| r.freeze()).collect();
    let adopt = |change: &dyn Fn(&mut Readers)| {
        let readers = frozen.iter().map(|one| one.thaw().unwrap());
        let mut readers: Readers = (0..).zip(readers).collect();
        change(&mut readers);
        thaw().adopt_readers(
            readers
                .iter_mut()
                .map(|(follower, reader)| (*follower, reader)),
        )
    };
    assert!(adopt(&|_| {}).is_ok());
    assert!(adopt(&|readers| readers.truncate(1)).is_err());
    assert!(adopt(&|readers| readers[0].0 = 99).is_err());
    assert!(adopt(&|readers| readers[0].1.cursor = Seq(1 << 40)).is_err());
    let queued = frozen
        .iter()
        .position(|one| one.thaw().unwrap().is_queued());
    let queued = queued.expect("one is queued");
    assert!(
        adopt(&|readers| readers[queued].1.place = super::super::readers::Place::Nowhere).is_err()
    );
    let blocked = frozen
        .iter()
        .position(|one| !one.thaw().unwrap().is_queued());
    let blocked = blocked.expect("one is blocked");
    assert!(
        adopt(&|readers| readers[blocked].1.place = super::super::readers::Place::Queued).is_err()
    );
}

/// Uses a hub until nothing is left in it.
fn exercise(hub: &mut Hub, readers: &mut [Reader], log: &mut Log) {
    for ending in CHANNELS {
        hub.set_now(hub.now().after_ms(50));
        for channel in CHANNELS {
            let _ = log.publish(hub, Draft::new(name(channel), Data::from("x")));
        }
        let _ = log.publish(hub, Draft::end(name(ending)));
        check(hub);
        for _ in 0..8 {
            serve(hub, readers);
        }
        hub.continue_reconfigure(3);
        hub.expire_history(3);
        hub.forget_idle(3);
        if let Some(channel) = hub.find(ending) {
            hub.delete_history(channel);
        }
        check(hub);
    }
    for reader in readers {
        hub.unfollow(reader);
    }
    while let Some(channel) = hub.next_turn() {
        hub.end_turn(channel);
    }
    hub.continue_reconfigure(100_000);
    for _ in 0..4 {
        hub.set_now(hub.now().after_ms(1 << 40));
        hub.expire_history(100_000);
        hub.forget_idle(100_000);
        check(hub);
    }
    assert_eq!((hub.message_count(), hub.channel_count()), (0, 0));
}

fn serve(hub: &mut Hub, readers: &mut [Reader]) {
    let Some(channel) = hub.next_turn() else {
        return;
    };
    if let Some(follower) = hub.first_ready(channel) {
        let reader = &mut readers[follower as usize];
        hub.dequeue(reader);
        let take = Take {
            messages: 2,
            bytes: 1_000,
        };
        let mut items = Vec::new();
        hub.pending_items(reader, take, &mut items);
        reader.cursor = items.last().map_or(hub.head(), Item::seq);
        hub.stop_ignoring_losses(reader, &items);
        hub.is_done(reader);
        hub.enqueue(reader);
    }
    hub.end_turn(channel);
}

/// A state is refused, or gives a hub that works.
fn try_out(config: &Config, state: &[u8]) {
    if let Ok((mut hub, mut readers, mut log)) = Pair::thaw(config, state) {
        check(&hub);
        exercise(&mut hub, &mut readers, &mut log);
    }
}

/// The place of the floors of names, which are much, and of one kind.
const FLOORS: usize = 2;

#[test]
fn state_with_any_other_byte_is_refused_or_gives_a_hub_that_works() {
    let pair = rich();
    let state = pair.freeze();
    let values = values(&state);
    for (place, value) in values.iter().enumerate().filter(|&(at, _)| at != FLOORS) {
        for (at, &byte) in value.iter().enumerate() {
            for new in [byte.wrapping_sub(1), byte.wrapping_add(1), 0, 3, 100, 255] {
                let mut values = values.clone();
                values[place][at] = new;
                try_out(&pair.config, &state_of(&values));
            }
        }
    }
}

#[test]
fn damaged_state_is_refused_or_gives_a_hub_that_works() {
    let pair = rich();
    let state = pair.freeze();
    let config = ProptestConfig::with_cases(1_000);
    let damages = proptest::collection::vec(damage(), 1..4);
    proptest!(config, |(damages in damages, max_channels in 4..20usize)| {
        let config = Config {
            max_channels,
            ..pair.config.clone()
        };
        try_out(&config, &damaged(&state, FLOORS, damages));
    });
}

#[test]
fn undamaged_state_works() {
    let pair = rich();
    assert!(Pair::thaw(&pair.config, &pair.freeze()).is_ok());
    try_out(&pair.config, &pair.freeze());
}
