use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const MAX: usize = 64;

/// Decodes pieces, and returns the body, the number of bytes consumed, and whether it is complete.
fn decode_pieces(
    framing: Framing,
    pieces: &[&[u8]],
    max_body_bytes: usize,
) -> Result<(Vec<u8>, usize, bool), Error> {
    let mut decoder = Decoder::new(framing);
    let mut skipper = Decoder::new(framing);
    let (mut body, mut consumed) = (Vec::new(), 0);
    for piece in pieces {
        let progress = decoder.decode(piece, &mut body, max_body_bytes);
        assert_eq!(progress, skipper.discard(piece, max_body_bytes));
        let progress = progress?;
        assert_eq!(progress.done, decoder.is_done());
        assert!(progress.done || progress.consumed == piece.len());
        consumed += progress.consumed;
    }
    Ok((body, consumed, decoder.is_done()))
}

fn check(input: &[u8], expected: Result<(&[u8], usize), Error>) {
    let expected = expected.map(|(body, length)| (body.to_vec(), length, true));
    let whole = decode_pieces(Framing::Chunked, &[input], MAX);
    assert_eq!(whole, expected, "{:?}", input.escape_ascii().to_string());
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(decode_pieces(Framing::Chunked, &bytes, MAX), expected);
}

#[test]
fn chunked_bodies_are_decoded() {
    check(b"0\r\n\r\n", Ok((b"", 5)));
    check(b"5\r\nhello\r\n0\r\n\r\nGET", Ok((b"hello", 15)));
    check(b"1\r\na\r\n00002\r\nbc\r\n000\r\n\r\n", Ok((b"abc", 24)));
    check(
        b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        Ok((b"01234567890123456789", 35)),
    );
    check(b"2;a=b;c=\"d e\"\r\n\r\n\r\n0;x\r\n\r\n", Ok((b"\r\n", 26)));
    check(
        b"1 \t ;x\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\nxx",
        Ok((b"a", 28)),
    );
}

#[test]
fn malformed_chunks_are_refused() {
    for size in [
        "", " 1", "+1", "-1", "0x1", "x", "1 ", "1 2", "1_", ";a", "1:", "\t1", "\x001",
    ] {
        check(
            format!("{size}\r\na\r\n0\r\n\r\n").as_bytes(),
            Err(Error::ChunkSize),
        );
    }
    check(b"1\na\r\n0\r\n\r\n", Err(Error::BareLf));
    check(b"1;a\na\r\n0\r\n\r\n", Err(Error::BareLf));
    check(b"1\r\na\n0\r\n\r\n", Err(Error::BareLf));
    check(b"0\r\n\n", Err(Error::BareLf));
    check(b"0\r\na: b\n\r\n", Err(Error::BareLf));
    check(b"1\ra\r\n0\r\n\r\n", Err(Error::BareCr));
    check(b"1;x\rx\r\n", Err(Error::BareCr));
    check(b"1\r\na\r0\r\n\r\n", Err(Error::BareCr));
    check(b"0\r\n\ra", Err(Error::BareCr));
    check(b"0\r\na:\r\r\n", Err(Error::BareCr));
    check(b"1\r\nab\r\n0\r\n\r\n", Err(Error::ChunkEnd));
    check(b"1;\x00\r\n", Err(Error::ChunkExtensionByte));
    check(b"1;\x7f\r\n", Err(Error::ChunkExtensionByte));
    check(b"0\r\na: \x00\r\n\r\n", Err(Error::TrailerByte));
    check(b"0\r\n\x1b\r\n\r\n", Err(Error::TrailerByte));
    for line in [
        "a",
        ":",
        ": b",
        "a : b",
        "\ta: b",
        " b",
        "\u{e9}: b",
        "GET / HTTP/1.1",
    ] {
        let trailer = format!("0\r\na: b\r\n{line}\r\n\r\n");
        check(trailer.as_bytes(), Err(Error::TrailerName));
    }
}

#[test]
fn size_lines_are_limited() {
    let line = |length: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(length - 2));
    check(line(256).as_bytes(), Ok((b"a", 256 + 10)));
    check(line(257).as_bytes(), Err(Error::ChunkLineTooLong));
    check("0".repeat(257).as_bytes(), Err(Error::ChunkLineTooLong));
}

#[test]
fn small_chunks_are_accepted_and_endless_extensions_refused() {
    let decode = |chunk: &str| {
        let input = chunk.repeat(100_000) + "0\r\n\r\n";
        decode_pieces(Framing::Chunked, &[input.as_bytes()], 100_000)
    };
    assert_eq!(
        decode("1\r\na\r\n").map(|(body, ..)| body.len()),
        Ok(100_000)
    );
    assert_eq!(
        decode("01;q=1\r\na\r\n").map(|(body, ..)| body.len()),
        Ok(100_000)
    );
    let long = format!("1;{}\r\na\r\n", "x".repeat(100));
    assert_eq!(decode(&long), Err(Error::ChunkExtensionsTooLong));
}

#[test]
fn trailers_are_limited() {
    let trailers = |length: usize| format!("0\r\nx:{}\r\n\r\n", "x".repeat(length - 2));
    check(trailers(8 * 1024).as_bytes(), Ok((b"", 8 * 1024 + 7)));
    check(
        trailers(8 * 1024 + 1).as_bytes(),
        Err(Error::TrailersTooLong),
    );
    let many = format!("0\r\n{}\r\n", "a:b\r\n".repeat(2_731));
    check(many.as_bytes(), Err(Error::TrailersTooLong));
}

#[test]
fn body_over_the_limit_is_refused_as_soon_as_its_size_is_known() {
    let mut body = Vec::new();
    for length in [MAX as u64 + 1, u64::MAX] {
        let mut decoder = Decoder::new(Framing::Length(length));
        assert_eq!(
            decoder.decode(b"", &mut body, MAX),
            Err(Error::BodyTooLarge)
        );
    }
    check(b"41", Err(Error::BodyTooLarge));
    check(b"0041\r\n", Err(Error::BodyTooLarge));
    let mut decoder = Decoder::new(Framing::Chunked);
    let full = [b"40\r\n".as_slice(), &[b'x'; MAX], b"\r\n"].concat();
    let progress = decoder.decode(&full, &mut body, MAX);
    assert_eq!(
        progress,
        Ok(Progress {
            consumed: full.len(),
            done: false
        })
    );
    assert_eq!(
        decoder.decode(b"1", &mut body, MAX),
        Err(Error::BodyTooLarge)
    );
    assert_eq!(body.len(), MAX);
}

#[test]
fn sizes_do_not_overflow() {
    let decode = |size: &str| {
        decode_pieces(Framing::Chunked, &[size.as_bytes()], usize::MAX).map(|(_, n, _)| n)
    };
    assert_eq!(decode("ffffffffffffffff\r\n"), Ok(18));
    assert_eq!(decode("0ffffffffffffffff\r\n"), Ok(19));
    assert_eq!(decode("10000000000000000\r\n"), Err(Error::ChunkSize));
    assert_eq!(
        decode("1\r\na\r\nffffffffffffffff\r\n"),
        Err(Error::BodyTooLarge)
    );
}

#[test]
fn body_with_a_length_ends_at_its_length() {
    let decode = |framing, input: &[u8]| decode_pieces(framing, &[input], MAX);
    assert_eq!(decode(Framing::None, b"GET"), Ok((vec![], 0, true)));
    assert_eq!(decode(Framing::Length(0), b"GET"), Ok((vec![], 0, true)));
    assert_eq!(
        decode(Framing::Length(3), b"abcdef"),
        Ok((b"abc".to_vec(), 3, true))
    );
    assert_eq!(
        decode(Framing::Length(3), b"ab"),
        Ok((b"ab".to_vec(), 2, false))
    );
}

/// Cuts bytes into pieces at the given offsets, taken modulo the length.
fn cut<'b>(bytes: &'b [u8], places: &[usize]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|ends| &bytes[ends[0]..ends[1]])
        .collect()
}

/// The naive model: reads a whole chunked body line by line. `None` if it is not complete.
fn naive(input: &[u8]) -> Option<Result<(Vec<u8>, usize), ()>> {
    /// A line without its CR LF, and what follows.
    #[expect(clippy::type_complexity, reason = "three outcomes, used in one place")]
    fn line(input: &[u8]) -> Option<Result<(&[u8], &[u8]), ()>> {
        let end = input
            .iter()
            .position(|byte| *byte == b'\r' || *byte == b'\n')?;
        if input[end] == b'\n' {
            return Some(Err(()));
        }
        match input.get(end + 1)? {
            b'\n' => Some(Ok((&input[..end], &input[end + 2..]))),
            _ => Some(Err(())),
        }
    }
    let is_field = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        !name.is_empty() && name.len() < line.len() && name.iter().all(|byte| is_token(*byte))
    };
    let (mut body, mut rest) = (Vec::new(), input);
    loop {
        let Ok((size_line, after)) = line(rest)? else {
            return Some(Err(()));
        };
        let text = String::from_utf8_lossy(size_line).into_owned();
        let (size, _) = text.split_once(';').unwrap_or((&text, ""));
        let size = if text.contains(';') {
            size.trim_end_matches([' ', '\t'])
        } else {
            size
        };
        if size.is_empty() || !size.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Some(Err(()));
        }
        let Ok(size) = usize::from_str_radix(size, 16) else {
            return Some(Err(()));
        };
        rest = after;
        if body.len() + size > MAX {
            return Some(Err(()));
        }
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.get(..size)?);
        match line(&rest[size..])? {
            Ok((b"", after)) => rest = after,
            _ => return Some(Err(())),
        }
    }
    loop {
        match line(rest)? {
            Ok((b"", after)) => return Some(Ok((body, input.len() - after.len()))),
            Ok((field, after)) if is_field(field) => rest = after,
            _ => return Some(Err(())),
        }
    }
}

fn chunk() -> impl Strategy<Value = (Vec<u8>, usize, String)> {
    let extension = "([ \t]{0,2};[a-z]{1,5}(=[a-z\"]{0,9})?){0,2}";
    (vec(any::<u8>(), 1..40), 0..3_usize, extension)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn chunks_decode_to_what_was_encoded(
        chunks in vec(chunk(), 0..8),
        last in "0{1,4}(;[a-z]{0,5})?",
        trailers in vec("[A-Za-z-]{1,8}:[ -~]{0,20}", 0..3),
        after in vec(any::<u8>(), 0..10),
        places in vec(any::<usize>(), 0..12),
    ) {
        let (mut body, mut wire) = (Vec::new(), Vec::new());
        for (bytes, zeros, extension) in &chunks {
            let size = format!("{}{:x}{extension}\r\n", "0".repeat(*zeros), bytes.len());
            wire.extend([size.as_bytes(), bytes, b"\r\n"].concat());
            body.extend_from_slice(bytes);
        }
        let trailers: String = trailers.iter().map(|line| format!("{line}\r\n")).collect();
        wire.extend(format!("{last}\r\n{trailers}\r\n").as_bytes());
        let length = wire.len();
        wire.extend_from_slice(&after);
        let decoded = decode_pieces(Framing::Chunked, &cut(&wire, &places), body.len());
        prop_assert_eq!(decoded, Ok((body.clone(), length, true)));
        if let Some(too_few) = body.len().checked_sub(1) {
            let refused = decode_pieces(Framing::Chunked, &cut(&wire, &places), too_few);
            prop_assert_eq!(refused, Err(Error::BodyTooLarge));
        }
    }

    #[test]
    fn counted_bodies_in_pieces(
        bytes in vec(any::<u8>(), 0..50),
        length in 0..MAX as u64,
        places in vec(any::<usize>(), 0..6),
    ) {
        let pieces = cut(&bytes, &places);
        let (body, consumed, done) = decode_pieces(Framing::Length(length), &pieces, MAX)?;
        let expected = bytes.len().min(length as usize);
        prop_assert_eq!(&body[..], &bytes[..expected]);
        prop_assert_eq!((consumed, done), (expected, bytes.len() as u64 >= length));
    }

    #[test]
    fn garbage_is_decoded_as_by_the_naive_twin(
        tokens in vec(
            prop::sample::select(vec![
                "0", "1", "2", "a", "1\r\na\r\n", "2\r\n\r\n\r\n", "0\r\n", "\r\n", "\r\n\r\n",
                "\r", "\n", ";", ":", " ", "x", "F0",
            ]),
            0..10,
        ),
        places in vec(any::<usize>(), 0..6),
    ) {
        let input = tokens.concat().into_bytes();
        let whole = decode_pieces(Framing::Chunked, &[&input], MAX);
        prop_assert_eq!(&whole, &decode_pieces(Framing::Chunked, &cut(&input, &places), MAX));
        match naive(&input) {
            Some(Ok((body, length))) => prop_assert_eq!(whole, Ok((body, length, true))),
            Some(Err(())) => prop_assert!(whole.is_err()),
            // The model sees a line only once it has ended, so it may refuse later.
            None => prop_assert!(!matches!(whole, Ok((_, _, true)))),
        }
    }

    #[test]
    fn any_bytes_do_not_panic(
        bytes in vec(any::<u8>(), 0..200),
        places in vec(any::<usize>(), 0..6),
    ) {
        let whole = decode_pieces(Framing::Chunked, &[&bytes], MAX);
        prop_assert_eq!(whole, decode_pieces(Framing::Chunked, &cut(&bytes, &places), MAX));
    }
}
