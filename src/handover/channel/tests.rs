use std::fs::File;

use super::*;
use crate::handover::message::{Go, Hello, Ready};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(20);

fn pair() -> (Channel, Channel) {
    let (one, other) = Channel::pair().unwrap();
    (one, Channel::of(other).unwrap())
}

fn in_time<T>(call: impl FnOnce(&mut Waiting<'_>) -> T) -> T {
    Waiting::until(Instant::now() + LONG, call)
}

fn at_once<T>(call: impl FnOnce(&mut Waiting<'_>) -> T) -> T {
    Waiting::until(Instant::now(), call)
}

fn say(channel: &Channel, message: &Message) -> Result<(), Fault> {
    in_time(|waiting| channel.send(message, &[], waiting))
}

fn hear(channel: &Channel) -> Result<Message, Fault> {
    Ok(in_time(|waiting| channel.receive(waiting))?.0)
}

/// Sends bytes that need not be a message.
fn send_bytes(channel: &Channel, bytes: &[u8]) {
    rustix::net::send(&channel.socket, bytes, SendFlags::NOSIGNAL).unwrap();
}

fn all_messages() -> Vec<Message> {
    vec![
        Message::Hello(Hello {
            version: "0.1.0".into(),
            formats: vec![1, 2],
            timeout_ms: 10_000,
            opened: Vec::new(),
            data_dir: Some(vec![b'/', 0xff]),
            cluster: None,
        }),
        Message::Ready(Ready {
            version: "0.2.0".into(),
            format: 1,
        }),
        Message::Refused {
            reason: "\"no\"\n".into(),
        },
        Message::State {
            bytes: u64::MAX,
            descriptors: 9,
        },
        Message::Descriptors { count: 253 },
        Message::Taken,
        Message::Go(Go { reload: true }),
    ]
}

#[test]
fn messages_are_received_as_sent() {
    let (one, other) = pair();
    for message in all_messages() {
        say(&one, &message).unwrap();
        assert_eq!(hear(&other).unwrap(), message);
        say(&other, &message).unwrap();
        assert_eq!(hear(&one).unwrap(), message);
    }
}

#[test]
fn cut_or_changed_message_is_an_error() {
    let (one, other) = pair();
    for message in all_messages() {
        let text = serde_json::to_vec(&message).unwrap();
        for end in 1..text.len() {
            send_bytes(&one, &text[..end]);
            let heard = hear(&other);
            assert!(matches!(heard, Err(Fault::Unreadable(_))), "{heard:?}");
        }
        let name = message.name().as_bytes();
        let at = text.windows(name.len()).position(|part| part == name);
        let mut wrong = text.clone();
        wrong[at.unwrap()] ^= 1;
        send_bytes(&one, &wrong);
        assert!(matches!(hear(&other), Err(Fault::Unreadable(_))));
    }
    let longest = MAX_MESSAGE_BYTES;
    for bytes in [
        &[0xff; 10][..],
        &vec![b' '; longest],
        &vec![b' '; longest + 1],
    ] {
        send_bytes(&one, bytes);
        assert!(matches!(hear(&other), Err(Fault::Unreadable(_))));
    }
    let reason = "x".repeat(longest);
    let unsayable = say(&one, &Message::Refused { reason });
    assert!(matches!(unsayable, Err(Fault::System(_))));
}

/// A later version may add fields.
#[test]
fn unknown_fields_are_ignored() {
    let (one, other) = pair();
    send_bytes(&one, br#"{"go": {"reload": false, "mood": "good"}}"#);
    assert_eq!(hear(&other).unwrap(), Message::Go(Go { reload: false }));
}

#[test]
fn descriptors_arrive_in_their_order() {
    let (one, other) = pair();
    let ends: Vec<OwnedFd> = (0..600)
        .map(|_| File::open("/dev/null").unwrap().into())
        .collect();
    let files: Vec<File> = (0..3)
        .map(|_| {
            rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC)
                .unwrap()
                .into()
        })
        .collect();
    for (file, bytes) in files.iter().zip(1..) {
        file.set_len(bytes).unwrap();
    }
    let all = || {
        files
            .iter()
            .map(AsFd::as_fd)
            .chain(ends.iter().map(AsFd::as_fd))
    };
    let mut taken: Vec<File> = Vec::new();
    thread::scope(|scope| {
        let sent = scope.spawn(|| in_time(|waiting| one.send_descriptors(all(), waiting)));
        in_time(|waiting| {
            other.receive_descriptors(603, waiting, |fd| {
                taken.push(fd.into());
                Ok(())
            })
        })
        .unwrap();
        sent.join().unwrap().unwrap();
    });
    assert_eq!(taken.len(), 603);
    let lengths = taken[..3].iter().map(|file| file.metadata().unwrap().len());
    assert_eq!(lengths.collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn unexpected_descriptors_are_refused() {
    let null = File::open("/dev/null").unwrap();
    let take = |expected: usize, say: &dyn Fn(&Channel)| {
        let (one, other) = pair();
        say(&one);
        drop(one);
        in_time(|waiting| other.receive_descriptors(expected, waiting, |_| Ok(())))
    };
    let with = |count: usize, descriptors: usize| {
        let descriptors = vec![null.as_fd(); descriptors];
        move |channel: &Channel| {
            let message = Message::Descriptors { count };
            in_time(|waiting| channel.send(&message, &descriptors, waiting)).unwrap();
        }
    };
    assert!(take(2, &with(2, 2)).is_ok());
    for (count, descriptors) in [(2, 1), (2, 0), (0, 0), (3, 3)] {
        let taken = take(2, &with(count, descriptors));
        assert!(
            matches!(taken, Err(Fault::Unreadable(_))),
            "{count} {descriptors}"
        );
    }
    assert!(matches!(take(2, &with(1, 1)), Err(Fault::Ended)));
    let taken = take(1, &|channel| say(channel, &Message::Taken).unwrap());
    assert!(matches!(taken, Err(Fault::Unexpected { .. })));
    let (one, other) = pair();
    with(1, 1)(&one);
    let refuse = |_| Err(Fault::GivenUp);
    let taken = in_time(|waiting| other.receive_descriptors(1, waiting, refuse));
    assert!(matches!(taken, Err(Fault::GivenUp)));
}

#[test]
fn end_of_the_other_process_is_noticed() {
    let (one, other) = pair();
    drop(other);
    assert!(matches!(hear(&one), Err(Fault::Ended)));
    assert!(matches!(say(&one, &Message::Taken), Err(Fault::Ended)));

    let (one, other) = pair();
    let again = other.try_clone().unwrap();
    again.close();
    assert!(matches!(hear(&one), Err(Fault::Ended)));
    assert!(matches!(hear(&other), Err(Fault::Ended)));
}

/// Also if it has not read what was sent to it.
#[test]
fn last_message_of_an_ended_process_is_received() {
    let (one, other) = pair();
    say(&one, &Message::Taken).unwrap();
    let refused = Message::Refused {
        reason: "full".into(),
    };
    say(&other, &refused).unwrap();
    drop(other);
    assert_eq!(hear(&one).unwrap(), refused);
    assert!(matches!(hear(&one), Err(Fault::Ended)));
}

#[test]
fn wait_ends_at_its_deadline_and_when_meanwhile_stops_it() {
    let (one, _other) = pair();
    let heard = at_once(|waiting| one.receive(waiting));
    assert!(matches!(heard, Err(Fault::TimedOut)));
    let mut waits = 0;
    let mut waiting = Waiting {
        until: Instant::now() + LONG,
        meanwhile: &mut || {
            waits += 1;
            waits < 3
        },
    };
    assert!(matches!(one.receive(&mut waiting), Err(Fault::GivenUp)));
    assert_eq!(waits, 3);
    // The other end does not read.
    let full = loop {
        if let Err(fault) = at_once(|waiting| one.send(&Message::Taken, &[], waiting)) {
            break fault;
        }
    };
    assert!(matches!(full, Fault::TimedOut));
}

#[test]
fn socket_of_another_type_is_refused() {
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(Channel::of(stream.into()).is_err());
    assert!(Channel::of(File::open("/dev/null").unwrap().into()).is_err());
}
