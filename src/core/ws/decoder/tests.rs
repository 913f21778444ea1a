//! Frames in, against a reader that waits for all bytes and goes through them one by one.

use proptest::prelude::*;

use super::*;

const MAX_BYTES: usize = 70_000;

/// An owned copy of what was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Closed(u16),
}

/// Decodes pieces; ends at a close frame or an error.
fn decode<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Seen>, bool) {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let (taken, event) = match decoder.decode(piece, MAX_BYTES) {
                Ok(step) => step,
                Err(error) => {
                    assert!(error.reason().len() <= super::super::MAX_REASON_BYTES);
                    seen.push(Seen::Closed(error.code().number()));
                    return (seen, false);
                }
            };
            piece = &piece[taken..];
            match event {
                None => assert!(piece.is_empty(), "bytes were left without an event"),
                Some(Event::Text(text)) => seen.push(Seen::Text(text.into())),
                Some(Event::Binary(bytes)) => seen.push(Seen::Binary(bytes.into())),
                Some(Event::Ping(bytes)) => seen.push(Seen::Ping(bytes.into())),
                Some(Event::Pong) => seen.push(Seen::Pong),
                Some(Event::Close(code)) => {
                    seen.push(Seen::Close(code));
                    return (seen, false);
                }
            }
        }
    }
    (seen, decoder.is_at_boundary())
}

/// The same, naively: a frame is looked at only when all of it is there. A fault of a frame that is
/// there in part may therefore be found later, so the bytes are followed by zeros.
fn naive(bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut message: Option<(bool, Vec<u8>)> = None;
    let mut at = 0;
    let protocol = Seen::Closed(1002);
    while at + 2 <= bytes.len() {
        let (first, second) = (bytes[at], bytes[at + 1]);
        let (fin, opcode, short) = (first >= 0x80, first & 0xF, second & 0x7F);
        let is_control = opcode >= 8;
        let is_wrong = first & 0x70 != 0
            || second < 0x80
            || !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10)
            || (is_control && (!fin || short > 125))
            || (opcode == 0 && message.is_none())
            || (matches!(opcode, 1 | 2) && message.is_some());
        if is_wrong {
            seen.push(protocol);
            return seen;
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let start = at + 2 + extended + 4;
        if bytes.len() < start {
            return seen;
        }
        let number = bytes[at + 2..at + 2 + extended].iter();
        let number = number.fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let length = if extended == 0 {
            u128::from(short)
        } else {
            number
        };
        let is_shortest = match extended {
            2 => length >= 126,
            8 => (65_536..1 << 63).contains(&length),
            _ => true,
        };
        if !is_shortest {
            seen.push(protocol);
            return seen;
        }
        let before = message.as_ref().map_or(0, |(_, bytes)| bytes.len()) as u128;
        if !is_control && before + length > MAX_BYTES as u128 {
            seen.push(Seen::Closed(1009));
            return seen;
        }
        let end = start + length as usize;
        if bytes.len() < end {
            return seen;
        }
        let mask = &bytes[start - 4..start];
        let payload = (0..).zip(&bytes[start..end]).map(|(n, b)| b ^ mask[n % 4]);
        let payload: Vec<u8> = payload.collect();
        at = end;
        match opcode {
            9 => seen.push(Seen::Ping(payload)),
            10 => seen.push(Seen::Pong),
            8 => {
                let code = payload
                    .get(..2)
                    .map(|two| u16::from(two[0]) << 8 | u16::from(two[1]));
                let reserved = [1004, 1005, 1006];
                seen.push(match code {
                    None if payload.is_empty() => Seen::Close(None),
                    None => protocol,
                    Some(code) if code < 1000 || reserved.contains(&code) => protocol,
                    Some(code) if code > 4999 || (1015..3000).contains(&code) => protocol,
                    Some(_) if String::from_utf8(payload[2..].into()).is_err() => {
                        Seen::Closed(1007)
                    }
                    Some(code) => Seen::Close(Some(code)),
                });
                return seen;
            }
            _ => {
                let (is_text, mut whole) = message.take().unwrap_or((opcode == 1, Vec::new()));
                whole.extend(payload);
                match (fin, is_text) {
                    (false, _) => message = Some((is_text, whole)),
                    (true, false) => seen.push(Seen::Binary(whole)),
                    (true, true) => match String::from_utf8(whole) {
                        Ok(text) => seen.push(Seen::Text(text)),
                        Err(_) => {
                            seen.push(Seen::Closed(1007));
                            return seen;
                        }
                    },
                }
            }
        }
    }
    seen
}

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8], mask: [u8; 4], form: u8) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = vec![first];
    // Form 0 is the shortest; the others may be too long.
    match (form, length) {
        (0, 0..=125) => bytes.push(0x80 | length as u8),
        (0 | 1, 0..=65_535) => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    let start = bytes.len();
    bytes.extend(payload);
    unmask(&mut bytes[start..], mask, 0);
    bytes
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-zé€𐍈]{0,9}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..9),
        1 => (120..130_usize).prop_map(|length| vec![b'x'; length]),
        1 => (65_530..65_540_usize).prop_map(|length| vec![b'y'; length]),
        2 => (any::<u16>(), "[aé]{0,4}").prop_map(|(code, reason)| {
            [&code.to_be_bytes()[..], reason.as_bytes()].concat()
        }),
        1 => prop_oneof![Just(1000_u16), Just(1001), Just(3000), Just(4999)]
            .prop_map(|code| code.to_be_bytes().to_vec()),
    ]
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        20 => prop_oneof![Just(0x81_u8), Just(0x82), Just(0x89), Just(0x8A)],
        6 => prop_oneof![Just(0x01_u8), Just(0x02), Just(0x00), Just(0x80)],
        2 => Just(0x88_u8),
        1 => any::<u8>(),
    ];
    let form = prop_oneof![20 => Just(0_u8), 1 => Just(1_u8), 1 => Just(2_u8)];
    let frame_of = |(first, payload, mask, form): (u8, Vec<u8>, [u8; 4], u8)| {
        frame(first, &payload, mask, form)
    };
    (first, payload(), any::<[u8; 4]>(), form).prop_map(frame_of)
}

proptest! {
    #[test]
    fn frames_are_read_as_the_naive_reader_reads_them(
        frames in proptest::collection::vec(any_frame(), 0..8),
        cuts in proptest::collection::vec(1..20_usize, 0..30),
    ) {
        let bytes = frames.concat();
        let expected = naive(&bytes);
        prop_assert_eq!(&decode([&bytes[..]]).0, &expected);
        let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        prop_assert_eq!(decode(pieces).0, expected);
    }

    #[test]
    fn any_bytes_are_read_as_the_naive_reader_reads_them(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let expected = naive(&bytes);
        prop_assert_eq!(&decode([&bytes[..]]).0, &expected);
        prop_assert_eq!(decode(bytes.chunks(1)).0, expected);
    }
}

#[test]
fn every_split_point() {
    let frames = [
        frame(0x01, "Gr".as_bytes(), [1, 2, 3, 4], 0),
        frame(0x89, b"ping", [9; 4], 0),
        frame(0x80, "üße".as_bytes(), [5, 6, 7, 8], 0),
        frame(0x82, &[b'b'; 200], [0, 1, 0, 1], 0),
        frame(0x8A, b"", [0; 4], 0),
        frame(0x81, b"", [3; 4], 0),
        frame(0x88, &[0x03, 0xE8, b'x'], [7; 4], 0),
    ];
    let bytes = frames.concat();
    let expected = [
        Seen::Ping(b"ping".to_vec()),
        Seen::Text("Grüße".into()),
        Seen::Binary(vec![b'b'; 200]),
        Seen::Pong,
        Seen::Text("".into()),
        Seen::Close(Some(1000)),
    ];
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(decode([first, second]).0, expected, "cut at {cut}");
    }
    for length in 1..20 {
        assert_eq!(
            decode(bytes.chunks(length)).0,
            expected,
            "pieces of {length}"
        );
    }
}

#[test]
fn state_between_messages_is_known() {
    let bytes = [
        frame(0x01, b"a", [1; 4], 0),
        frame(0x89, b"", [1; 4], 0),
        frame(0x80, b"b", [1; 4], 0),
    ]
    .concat();
    for cut in 1..bytes.len() {
        assert!(!decode([&bytes[..cut]]).1, "cut at {cut}");
    }
    assert_eq!(
        decode([&bytes[..]]),
        (vec![Seen::Ping(vec![]), Seen::Text("ab".into())], true)
    );
}

#[test]
fn announced_length_allocates_nothing() {
    let mut decoder = Decoder::default();
    let header = [0x82, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0, 1, 2, 3];
    let (taken, event) = decoder.decode(&header, MAX_BYTES).unwrap();
    assert_eq!((taken, event), (header.len(), None));
    assert!(decoder.allocated_bytes() < 100);
}

#[test]
fn largest_message_is_of_the_allowed_size() {
    for (length, is_allowed) in [(MAX_BYTES, true), (MAX_BYTES + 1, false)] {
        let whole = frame(0x82, &vec![0; length], [1; 4], 0);
        let half = vec![0; length / 2];
        let parts = [
            frame(0x02, &half, [1; 4], 0),
            frame(0x80, &vec![0; length - half.len()], [1; 4], 0),
        ]
        .concat();
        for bytes in [whole, parts] {
            let expected = match is_allowed {
                true => Seen::Binary(vec![0; length]),
                false => Seen::Closed(1009),
            };
            assert_eq!(decode([&bytes[..]]).0, [expected], "{length}");
        }
    }
}
