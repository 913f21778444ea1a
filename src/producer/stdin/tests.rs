use std::io::{self, BufReader, Cursor, Read};

use proptest::prelude::*;

use super::*;
use encke_core::message::EventName;

/// Reads in pieces of at most `step` bytes, now and then interrupted.
struct Pieces {
    bytes: Cursor<Vec<u8>>,
    step: usize,
    calls: usize,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(ErrorKind::Interrupted.into());
        }
        let step = self.step.min(out.len());
        self.bytes.read(&mut out[..step])
    }
}

fn pieces(bytes: &[u8], step: usize) -> impl BufRead {
    BufReader::new(Pieces {
        bytes: Cursor::new(bytes.to_vec()),
        step,
        calls: 0,
    })
}

fn cut(mut input: impl BufRead, max: usize) -> Vec<Option<Vec<u8>>> {
    let mut cutter = Cutter::default();
    let mut lines = Vec::new();
    while let Some(cut) = cutter.next(&mut input, max).unwrap() {
        lines.push(match cut {
            Cut::Whole(bytes) => Some(bytes.to_vec()),
            Cut::TooLong => None,
        });
    }
    assert_eq!(cutter.part.number, lines.len() as u64);
    lines
}

/// All at once and in memory.
fn cut_naively(bytes: &[u8], max: usize) -> Vec<Option<Vec<u8>>> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|&byte| byte == b'\n').map(Vec::from).collect();
    let last = lines.pop().unwrap_or_default();
    for line in &mut lines {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if !last.is_empty() {
        lines.push(last);
    }
    let within = |line: Vec<u8>| Some(line).filter(|line| line.len() <= max);
    lines.into_iter().map(within).collect()
}

proptest! {
    #[test]
    fn lines_are_cut_as_a_naive_twin_cuts_them(
        bytes in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..60),
        step in 1..9_usize,
        max in 0..7_usize,
    ) {
        prop_assert_eq!(cut(pieces(&bytes, step), max), cut_naively(&bytes, max));
    }
}

proptest! {
    /// Wherever the input pauses, and however often the rest is handed over.
    #[test]
    fn lines_go_on_where_they_were_paused(
        bytes in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..60),
        pauses in prop::collection::vec(0..60_usize, 0..4),
        max in 0..7_usize,
    ) {
        let mut whole = Vec::new();
        let lines = Lines::to_channel("a/b").unwrap();
        feed(&bytes[..], &lines, || max, |draft| { whole.push(draft); Ok(()) });

        let mut pauses: Vec<usize> = pauses.into_iter().map(|at| at.min(bytes.len())).collect();
        pauses.sort_unstable();
        let mut published = Vec::new();
        let mut part = Part::default();
        let mut at = 0;
        for pause in pauses.into_iter().map(Some).chain([None]) {
            let end = pause.unwrap_or(bytes.len());
            let blocks = pause.map_or(Ok(0), |_| Err(ErrorKind::WouldBlock));
            let mut input = BufReader::new((&bytes[at..end]).chain(Blocks(blocks)));
            at = end;
            let mut feeder = Feeder::new(part.clone());
            let stop = feeder.run(&mut input, &lines, || max, &mut |draft| {
                published.push(draft);
                Ok(())
            });
            prop_assert_eq!(matches!(stop, Stop::Paused(_)), pause.is_some());
            part = feeder.part().clone();
        }
        prop_assert_eq!(published, whole);
    }
}

/// An input that ends, or blocks for ever.
struct Blocks(Result<usize, ErrorKind>);

impl Read for Blocks {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(self.0?)
    }
}

#[test]
fn endless_line_is_not_kept() {
    let mut cutter = Cutter::default();
    let mut input = BufReader::new(io::repeat(b'x').take(1 << 20));
    assert_eq!(cutter.next(&mut input, 10).unwrap(), Some(Cut::TooLong));
    assert!(
        cutter.part.kept.capacity() < 64,
        "{}",
        cutter.part.kept.capacity()
    );
    assert_eq!(cutter.next(&mut input, 10).unwrap(), None);
}

/// Feeds an input, and returns the published messages. The server is closed for the `closes`-th
/// message.
fn fed(input: impl BufRead, lines: &Lines, max: usize, closes: usize) -> Vec<Draft<'static>> {
    let mut published = Vec::new();
    feed(
        input,
        lines,
        || max,
        |line| {
            match (&*line.channel, published.len() + 1 == closes) {
                ("refused", _) => return Err(PublishError::TooManyChannels),
                (_, true) => return Err(PublishError::Closed),
                _ => published.push(line),
            }
            Ok(())
        },
    );
    published
}

fn to_channel(data: &[Data]) -> Vec<Draft<'static>> {
    let draft = |data: &Data| Draft::new(name("a/b"), data.clone());
    data.iter().map(draft).collect()
}

fn name(name: &'static str) -> ChannelName<'static> {
    ChannelName::parse(name.as_bytes()).unwrap()
}

fn text(text: &str) -> Data {
    Data::Text(text.into())
}

#[test]
fn with_a_channel_each_line_is_a_message() {
    let lines = Lines::to_channel("a/b").unwrap();
    let published = fed(&b"one\r\n\n  two \ntoo long\n\xff\n{}"[..], &lines, 7, 0);
    let expected = [
        text("one"),
        text(""),
        text("  two "),
        Data::Binary([0xff].into()),
        text("{}"),
    ];
    assert_eq!(published, to_channel(&expected));
}

#[test]
fn ndjson_names_channel_and_event() {
    let input = br#"{"channel":"a","data":"x"}

        not json
        {"channel":"refused","data":0}
        {"channel":"b","event":"e","data":{"n":1}}"#;
    let published = fed(&input[..], &Lines::Ndjson, 100, 0);
    let json = Data::json(r#"{"n":1}"#).unwrap();
    let named = Draft {
        event: EventName::parse(b"e").unwrap(),
        ..Draft::new(name("b"), json)
    };
    assert_eq!(published, [Draft::new(name("a"), text("x")), named]);
}

#[test]
fn byte_order_mark_before_the_first_line_is_skipped() {
    let input = "\u{feff}{\"channel\":\"a\",\"data\":\"x\"}\n\u{feff}{}";
    let published = fed(input.as_bytes(), &Lines::Ndjson, 100, 0);
    assert_eq!(published, [Draft::new(name("a"), text("x"))]);
    let lines = Lines::to_channel("a/b").unwrap();
    let published = fed("\u{feff}x\n\u{feff}y".as_bytes(), &lines, 100, 0);
    assert_eq!(published, to_channel(&[text("x"), text("\u{feff}y")]));
}

#[test]
fn limit_that_changes_holds_for_the_next_line() {
    let limits = std::cell::Cell::new(3);
    let lines = Lines::to_channel("a/b").unwrap();
    let mut published = Vec::new();
    feed(
        &b"123\n1234\n12345\n123456\n"[..],
        &lines,
        || limits.replace(limits.get() + 1),
        |draft| {
            limits.set(5);
            published.push(draft);
            Ok(())
        },
    );
    assert_eq!(published, to_channel(&["123", "1234", "12345"].map(text)));
}

#[test]
fn closed_server_ends_the_feed() {
    let lines = Lines::to_channel("a/b").unwrap();
    let published = fed(&b"1\n2\n3\n4\n"[..], &lines, 10, 3);
    assert_eq!(published, to_channel(&[text("1"), text("2")]));
}

#[test]
fn failed_input_ends_the_feed() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }
    let input = BufReader::new((&b"1\n2"[..]).chain(Broken));
    let published = fed(input, &Lines::to_channel("a/b").unwrap(), 10, 0);
    assert_eq!(published, to_channel(&[text("1")]));
}

#[test]
fn channel_names_are_checked() {
    assert!(Lines::to_channel("a,b").is_err());
    assert!(Lines::to_channel("").is_err());
}

#[test]
fn skipped_lines_are_counted_in_one_warning_per_second() {
    let mut skipped = Skipped::default();
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(
        skipped.record(3, "bad".into(), at(0)).as_deref(),
        Some("line 3 of standard input was skipped: bad")
    );
    assert_eq!(skipped.record(4, "bad".into(), at(1)), None);
    assert_eq!(skipped.record(5, "bad".into(), at(999)), None);
    assert_eq!(
        skipped.record(9, "worse".into(), at(1_000)).as_deref(),
        Some(
            "line 9 of standard input was skipped, \
             the last of 3 skipped lines since the last warning: worse"
        )
    );
    assert_eq!(skipped.take_warning(), None);
    assert_eq!(skipped.record(10, "bad".into(), at(1_999)), None);
    assert_eq!(
        skipped.take_warning().as_deref(),
        Some("line 10 of standard input was skipped: bad")
    );
}
