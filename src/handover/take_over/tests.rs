use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};

use super::*;

fn hello() -> Hello {
    Hello {
        version: "0.0.9".into(),
        formats: vec![7, FORMATS[0], 9],
        timeout_ms: 20_000,
        opened: Vec::new(),
        data_dir: None,
        cluster: None,
    }
}

/// The end of the old process.
struct Old(Channel);

impl Old {
    fn say(&self, message: Message, descriptors: &[BorrowedFd<'_>]) {
        let until = Instant::now() + Duration::from_secs(20);
        Waiting::until(until, |waiting| self.0.send(&message, descriptors, waiting)).unwrap();
    }

    fn hear(&self) -> Message {
        let until = Instant::now() + Duration::from_secs(20);
        Waiting::until(until, |waiting| self.0.receive(waiting))
            .unwrap()
            .0
    }
}

/// A new process that was sent a hello with these descriptors.
fn heard(message: Message, descriptors: &[BorrowedFd<'_>]) -> Result<(Old, TakeOver), Fault> {
    let (old, socket) = Channel::pair().unwrap();
    let old = Old(old);
    old.say(message, &[]);
    if !descriptors.is_empty() {
        let count = descriptors.len();
        old.say(Message::Descriptors { count }, descriptors);
    }
    let channel = Channel::of(socket).unwrap();
    let until = Instant::now() + Duration::from_millis(100);
    let heard = Waiting::until(until, |waiting| TakeOver::hear(channel, waiting));
    Ok((old, heard?.0))
}

fn taking_over() -> (Old, TakeOver) {
    let null = File::open("/dev/null").unwrap();
    heard(Message::Hello(hello()), &[null.as_fd()]).unwrap()
}

fn memory(text: &str) -> File {
    let mut file = memory::create().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    memory::seal(&file).unwrap();
    file
}

#[test]
fn take_over_has_its_order_of_messages() {
    let (old, take_over) = taking_over();
    let format = take_over.format().unwrap();
    assert_eq!(format, FORMATS[0]);
    old.say(
        Message::State {
            bytes: 5,
            descriptors: 1,
        },
        &[memory("state").as_fd()],
    );
    let state = take_over.ready(format).unwrap();
    assert_eq!(state.descriptors, 1);
    assert_eq!(std::io::read_to_string(state.memory).unwrap(), "state");
    let Message::Ready(ready) = old.hear() else {
        panic!("it is ready");
    };
    assert_eq!(ready.format, format);
    let null = File::open("/dev/null").unwrap();
    old.say(Message::Descriptors { count: 1 }, &[null.as_fd()]);
    let mut taken = 0;
    take_over
        .descriptors(1, |_| {
            taken += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(taken, 1);
    old.say(Message::Go(Go { reload: true }), &[]);
    assert!(take_over.taken().unwrap().reload);
    assert_eq!(old.hear(), Message::Taken);
}

#[test]
fn sockets_are_matched_by_what_they_listen_on() {
    let null = File::open("/dev/null").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = Listening::Here {
        key: "127.0.0.1:7711".into(),
        file: None,
    };
    let inherited = |is_control| Listening::Inherited { is_control };
    let mut hello = hello();
    hello.opened = vec![inherited(true), here.clone(), inherited(false)];
    let all = [
        &null.as_fd(),
        &listener.as_fd(),
        &listener.as_fd(),
        &listener.as_fd(),
    ];
    let (_old, mut take_over) = heard(Message::Hello(hello.clone()), &all.map(|fd| *fd)).unwrap();
    let [listen, control] = take_over.inherited();
    assert_eq!((listen.len(), control.len()), (1, 1));
    assert_eq!(take_over.opened().len(), 1);
    assert_eq!(take_over.opened()[0].0, here);

    // A socket that does not listen.
    let wrong = [null.as_fd(); 4];
    assert!(heard(Message::Hello(hello), &wrong).is_err());
}

#[test]
fn incomplete_hello_is_refused() {
    let null = File::open("/dev/null").unwrap();
    let hello = || Message::Hello(hello());
    assert!(matches!(heard(hello(), &[]), Err(Fault::TimedOut)));
    let two = [null.as_fd(); 2];
    assert!(matches!(heard(hello(), &two), Err(Fault::Unreadable(_))));
    let other = heard(Message::Taken, &[null.as_fd()]);
    assert!(matches!(other, Err(Fault::Unexpected { .. })));
}

#[test]
fn refusal_of_unknown_formats_names_those_of_both() {
    let null = File::open("/dev/null").unwrap();
    let hello = Hello {
        formats: vec![7, 9],
        ..hello()
    };
    let (old, take_over) = heard(Message::Hello(hello), &[null.as_fd()]).unwrap();
    let error = take_over.format().unwrap_err().to_string();
    assert!(error.contains("encke 0.0.9 writes [7, 9]"), "{error}");
    assert!(error.contains("restart it instead"), "{error}");
    take_over.refuse(&error);
    assert_eq!(old.hear(), Message::Refused { reason: error });
}

#[test]
fn unsealed_or_incomplete_state_is_refused() {
    let unsealed = memory::create().unwrap();
    let good = memory("state");
    let (state, go) = (
        |bytes| Message::State {
            bytes,
            descriptors: 0,
        },
        Message::Go(Go::default()),
    );
    for (message, descriptors) in [
        (state(0), vec![unsealed.as_fd()]),
        (state(4), vec![good.as_fd()]),
        (state(5), vec![]),
        (state(5), vec![good.as_fd(); 2]),
        (go, vec![]),
        (Message::Taken, vec![]),
    ] {
        let (old, take_over) = taking_over();
        old.say(message.clone(), &descriptors);
        assert!(take_over.ready(FORMATS[0]).is_err(), "{message:?}");
    }
    let (old, take_over) = taking_over();
    drop(old);
    assert!(take_over.ready(FORMATS[0]).is_err());
}

#[test]
fn process_does_not_serve_without_go() {
    for message in [Message::Taken, Message::Descriptors { count: 0 }] {
        let (old, take_over) = taking_over();
        old.say(message, &[]);
        assert!(take_over.taken().is_err());
    }
    let (old, take_over) = taking_over();
    drop(old);
    assert!(take_over.taken().is_err());
}

/// If `Go` comes at the deadline, both processes agree whether it was in time.
#[test]
fn go_at_the_deadline_is_received_or_cannot_be_sent() {
    let go = || Message::Go(Go { reload: true });
    // `Go` is in the queue when this side gives up.
    let (old, take_over) = taking_over();
    old.say(Message::Descriptors { count: 0 }, &[]);
    old.say(go(), &[]);
    assert!(take_over.taken().unwrap().reload);

    // This side has given up.
    let (old, mut take_over) = taking_over();
    take_over.until = Instant::now();
    assert!(take_over.taken().is_err());
    let said = Waiting::until(Instant::now(), |waiting| old.0.send(&go(), &[], waiting));
    assert!(matches!(said, Err(Fault::Ended)), "{said:?}");
}
