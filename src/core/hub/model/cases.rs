//! Single cases of what messages are charged, and of what replaces them.

use super::*;

#[test]
fn message_is_charged_the_same_to_channel_and_meter() {
    let mut log = Log::Memory(Memory::new(Epoch::from_seed(1)));
    let mut hub = Hub::new(&Config::default(), 1, log.epoch(), (1, 2));
    let draft = |key: &str| Draft {
        event: EventName::parse(b"event").unwrap(),
        key: Some(IdempotencyKey::parse(key.as_bytes()).unwrap()),
        ..Draft::new(name("a"), Data::from("text"))
    };
    let expected = "text".len()
        + "event".len()
        + (2 * "key1".len() + 48)
        + Stored::OVERHEAD_BYTES
        + Ring::ENTRY_BYTES;
    log.publish(&mut hub, draft("key1")).unwrap();
    let repeated = log.publish(&mut hub, draft("key1")).unwrap();
    assert_eq!(repeated.id.seq, Seq(1), "a repeated key is not charged");
    log.publish_all(&mut hub, vec![draft("key2"), draft("key3")])
        .unwrap();
    let channel = hub.find("a").unwrap();
    assert_eq!(hub.channel(channel).bytes(), 3 * expected);
    assert_eq!(hub.meter().used(), 3 * expected);
    hub.delete_history(channel);
    assert_eq!(hub.meter().used(), 0);
}

/// A hub whose channels `a` keep only their newest message.
fn latest() -> (Log, Hub) {
    let config = Config {
        policies: vec![Policy {
            latest: true,
            ..Policy::of("a".parse().unwrap())
        }],
        ..Config::default()
    };
    let log = Log::Memory(Memory::new(Epoch::from_seed(1)));
    let hub = Hub::new(&config, 2, log.epoch(), (1, 2));
    (log, hub)
}

#[test]
fn newer_message_replaces_one_that_is_pending() {
    let (mut log, mut hub) = latest();
    let mut publish = |hub: &mut Hub, channel| {
        let draft = Draft::new(name(channel), Data::from("x"));
        log.publish(hub, draft).unwrap().id.seq
    };
    let channels = hub.open_all([name("a"), name("b")].iter()).unwrap();
    let mut reader = Reader::default();
    hub.follow(&mut reader, 0, &channels, 0, false);
    hub.enqueue(&mut reader);

    publish(&mut hub, "a");
    let other = publish(&mut hub, "b");
    let newest = publish(&mut hub, "a");
    let channel = hub.channel(channels[0]);
    assert_eq!((channel.len(), channel.evicted_up_to()), (1, Seq::ZERO));
    assert_eq!(hub.counts().replaced, 1);
    let take = Take {
        messages: 9,
        bytes: 9,
    };
    let items = |hub: &Hub, reader: &Reader| {
        let mut items = Vec::new();
        hub.pending_items(reader, take, &mut items);
        let seqs: Vec<Seq> = items.iter().map(Item::seq).collect();
        (seqs, items.contains(&Item::Gap(newest)))
    };
    hub.dequeue(&mut reader);
    assert_eq!(items(&hub, &reader), (vec![other, newest], false));

    // A lost newest message is a gap, until a newer one comes.
    reader.cursor = other;
    hub.delete_history(channels[0]);
    assert_eq!(items(&hub, &reader), (vec![newest], true));
    hub.enqueue(&mut reader);
    let newer = publish(&mut hub, "a");
    hub.dequeue(&mut reader);
    assert_eq!(items(&hub, &reader), (vec![newer], false));
}
