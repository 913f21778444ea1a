//! The driver against a server of the standard library, on real sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as Stream};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A session that writes down what it is told, and echoes what `on_bytes` is to do.
#[derive(Default)]
struct Notes {
    told: Vec<String>,
    bytes: usize,
    pauses: bool,
    closes: bool,
}

impl Session for Notes {
    fn on_connect(&mut self, _: &mut Driver, key: u32) -> io::Result<()> {
        self.told.push(format!("connect {key}"));
        Ok(())
    }

    fn on_sent(&mut self, _: &mut Driver, key: u32) -> io::Result<()> {
        self.told.push(format!("sent {key}"));
        Ok(())
    }

    fn on_bytes(&mut self, driver: &mut Driver, key: u32, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len();
        if bytes.len() < 100 {
            let text = String::from_utf8_lossy(bytes);
            self.told.push(format!("bytes {key} {text}"));
        }
        if self.pauses {
            driver.pause(key);
        }
        if self.closes {
            driver.close(key);
        }
        Ok(())
    }

    fn on_end(&mut self, _: &mut Driver, key: u32, end: End) -> io::Result<()> {
        self.told.push(format!("{end:?} {key}"));
        Ok(())
    }

    fn on_due(&mut self, _: &mut Driver, due: Due) -> io::Result<()> {
        self.told.push(format!("due {} {}", due.key, due.tag));
        Ok(())
    }

    fn on_readable(&mut self, _: &mut Driver, number: u8) -> io::Result<()> {
        self.told.push(format!("readable {number}"));
        Ok(())
    }
}

impl Notes {
    fn run_until(&mut self, driver: &mut Driver, mut is_so: impl FnMut(&Notes) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(std::time::Instant::now() < deadline, "{:?}", self.told);
            driver.turn(self, Some(Duration::from_millis(100))).unwrap();
        }
    }

    fn has(&self, what: &str) -> bool {
        self.told.iter().any(|told| told == what)
    }
}

fn listen() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// A connection with this key, and its other end.
fn connected(driver: &mut Driver, notes: &mut Notes, key: u32) -> Stream {
    let (listener, to) = listen();
    driver
        .connect(key, None, to, SocketOptions::default())
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    notes.run_until(driver, |notes| notes.has(&format!("connect {key}")));
    stream
}

#[test]
fn bytes_sent_before_the_connection_arrive_and_are_answered() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let (listener, to) = listen();
    driver
        .connect(3, None, to, SocketOptions::default())
        .unwrap();
    driver.send(3, b"hello").unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    notes.run_until(&mut driver, |notes| notes.has("connect 3"));
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    stream.write_all(b"bye").unwrap();
    drop(stream);
    notes.run_until(&mut driver, |notes| notes.has("Closed 3"));
    assert_eq!(
        notes.told,
        ["connect 3", "sent 3", "bytes 3 bye", "Closed 3"]
    );
    assert!(!driver.is_open(3));
}

#[test]
fn a_refused_connection_is_told() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let (listener, to) = listen();
    drop(listener);
    if driver
        .connect(0, None, to, SocketOptions::default())
        .is_ok()
    {
        notes.run_until(&mut driver, |notes| notes.has("Refused 0"));
    }
    assert!(!driver.is_open(0));
}

#[test]
fn what_does_not_fit_into_the_socket_follows() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let mut stream = connected(&mut driver, &mut notes, 0);
    let sent = vec![b'x'; 64 << 20];
    let taken = driver.send(0, &sent).unwrap();
    assert_eq!(driver.unsent(0), sent.len() - taken);
    assert!(taken < sent.len());
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; 64 << 20];
        stream.read_exact(&mut received).unwrap();
        received
    });
    let deadline = std::time::Instant::now() + PATIENCE;
    while driver.unsent(0) > 0 {
        assert!(std::time::Instant::now() < deadline);
        driver
            .turn(&mut notes, Some(Duration::from_millis(100)))
            .unwrap();
    }
    assert!(reader.join().unwrap() == sent);
    assert!(notes.has("sent 0") && driver.sent() == sent.len() as u64);
}

#[test]
fn a_paused_connection_is_not_read_and_loses_nothing() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let mut stream = connected(&mut driver, &mut notes, 0);
    driver.pause(0);
    stream.write_all(b"later").unwrap();
    drop(stream);
    notes.run_until(&mut driver, |notes| notes.has("HalfClosed 0"));
    assert_eq!(driver.take(0, 2).unwrap(), 2);
    driver.resume(0);
    notes.run_until(&mut driver, |notes| notes.has("Closed 0"));
    let expected = ["connect 0", "HalfClosed 0", "bytes 0 ter", "Closed 0"];
    assert_eq!(notes.told, expected);
}

#[test]
fn a_session_may_pause_while_it_is_told_bytes() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let mut stream = connected(&mut driver, &mut notes, 0);
    notes.pauses = true;
    driver.limit_reads(0, Some(3));
    stream.write_all(b"abcdef").unwrap();
    notes.run_until(&mut driver, |notes| notes.has("bytes 0 abc"));
    driver.turn(&mut notes, Some(Duration::ZERO)).unwrap();
    assert_eq!(notes.bytes, 3);
    driver.resume(0);
    notes.run_until(&mut driver, |notes| notes.has("bytes 0 def"));
}

#[test]
fn limited_reads_and_the_budget_of_a_turn_lose_nothing() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let mut stream = connected(&mut driver, &mut notes, 0);
    driver.limit_reads(0, Some(1));
    stream.write_all(&[b'x'; 100]).unwrap();
    notes.run_until(&mut driver, |notes| notes.bytes == 100);
    assert_eq!(notes.told.len(), 101);
}

#[test]
fn a_key_can_be_used_again_at_once() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let mut first = connected(&mut driver, &mut notes, 0);
    let mut other = connected(&mut driver, &mut notes, 1);
    notes.closes = true;
    // Both events are in one turn; the first closes its connection, whose key then is another's.
    first.write_all(b"a").unwrap();
    other.write_all(b"b").unwrap();
    notes.run_until(&mut driver, |notes| notes.bytes == 2);
    notes.closes = false;
    notes.told.clear();
    let mut second = connected(&mut driver, &mut notes, 0);
    drop(first);
    second.write_all(b"c").unwrap();
    notes.run_until(&mut driver, |notes| notes.bytes == 3);
    assert_eq!(notes.told, ["connect 0", "bytes 0 c"]);
}

#[test]
fn a_reset_reaches_the_server() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let mut stream = connected(&mut driver, &mut notes, 0);
    driver.reset(0);
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_half_closed_connection_can_be_read() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let mut stream = connected(&mut driver, &mut notes, 0);
    driver.finish_sending(0).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    stream.write_all(b"rest").unwrap();
    notes.run_until(&mut driver, |notes| notes.has("bytes 0 rest"));
}

#[test]
fn deadlines_pass_in_order_and_not_early() {
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let last = now_ns() + 2_000_000;
    driver.set_deadline(Due {
        at: last,
        key: 1,
        tag: 0,
    });
    driver.set_deadline(Due {
        at: 0,
        key: 2,
        tag: 7,
    });
    notes.run_until(&mut driver, |notes| notes.told.len() == 2);
    assert_eq!(notes.told, ["due 2 7", "due 1 0"]);
    assert!(now_ns() >= last);
}

#[test]
fn a_watched_descriptor_is_told() {
    use std::os::fd::AsRawFd;
    let (mut driver, mut notes) = (Driver::new().unwrap(), Notes::default());
    let (reader, mut writer) = io::pipe().unwrap();
    driver.watch(reader.as_raw_fd(), 9).unwrap();
    writer.write_all(b"x").unwrap();
    notes.run_until(&mut driver, |notes| notes.has("readable 9"));
}
