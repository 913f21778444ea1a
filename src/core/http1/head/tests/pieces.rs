//! Heads that arrive in pieces, end too late, or are nearly right.

use super::*;

#[test]
fn unfinished_head_is_partial() {
    for bytes in [
        "",
        "\r",
        "\r\n",
        "\r\n\r\n\r\n",
        "G",
        "GET",
        "GET ",
        "GET /",
        "GET /\r",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHo\r",
        "GET / HTTP/1.1\r\nHost: a\r",
        "GET / HTTP/1.1\r\nHost: a\r\n\r",
    ] {
        assert_eq!(fresh(bytes.as_bytes()), Ok(Outcome::Partial), "{bytes:?}");
    }
}

#[test]
fn heads_beyond_their_limits_are_refused() {
    let head = b"\r\nGET /abc HTTP/1.1\r\nHost: h\r\n\r\n";
    let parse_within = |max| parse(head, &mut Scan::default(), max);
    let whole = parse_within(head.len()).map(|outcome| outcome != Outcome::Partial);
    assert_eq!(whole, Ok(true));
    let line_end = head
        .windows(7)
        .position(|bytes| bytes == b"\r\nHost:")
        .unwrap()
        + 2;
    for max in 0..line_end {
        assert_eq!(parse_within(max), Err(Error::TargetTooLong), "{max}");
    }
    for max in line_end..head.len() {
        assert_eq!(parse_within(max), Err(Error::HeadTooLong), "{max}");
    }
    for (count, expected) in [(100, None), (101, Some(Error::TooManyFields))] {
        let bytes = format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(fresh(bytes.as_bytes()).err(), expected);
    }
}

/// Feeds a head byte by byte, and returns the outcome, the number of parses, and their bytes.
fn drip(bytes: &[u8], max: usize) -> (Result<Outcome<'_>, Error>, usize, usize) {
    let (mut parses, mut parsed_bytes) = (0, 0);
    let mut scan = Scan::default();
    let mut outcome = Ok(Outcome::Partial);
    for end in 1..=bytes.len() {
        outcome = parse_with(&bytes[..end], &mut scan, max, |view| {
            parses += 1;
            parsed_bytes += view.len();
            attempt(view)
        });
        if outcome != Ok(Outcome::Partial) {
            break;
        }
    }
    (outcome, parses, parsed_bytes)
}

#[test]
fn head_in_single_bytes_costs_linear_work() {
    for fields in [1, 50, 99] {
        let bytes = with_fields(&vec!["X-Field: value"; fields].join("\r\n"));
        let (outcome, parses, parsed_bytes) = drip(bytes.as_bytes(), MAX);
        assert!(matches!(outcome, Ok(Outcome::Complete { .. })));
        assert!(parses <= 3, "{parses}");
        assert!(parsed_bytes <= 2 * bytes.len(), "{parsed_bytes}");
    }
    for (bytes, error) in [
        (format!("GET /{}", "a".repeat(MAX)), Error::TargetTooLong),
        ("\r\n".repeat(MAX), Error::TargetTooLong),
        (
            format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(MAX)),
            Error::HeadTooLong,
        ),
        (
            format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(MAX)),
            Error::TooManyFields,
        ),
    ] {
        let (outcome, parses, parsed_bytes) = drip(bytes.as_bytes(), MAX);
        assert_eq!(outcome, Err(error));
        assert!(
            parses <= 3 && parsed_bytes <= 2 * MAX,
            "{parses} {parsed_bytes}"
        );
    }
}

#[test]
fn defect_is_found_with_its_last_byte() {
    for (start, last, error) in [
        ("GET /\r", "\n", Error::VersionMissing),
        ("GET /\r", "x", Error::BareCr),
        ("GET / HTTP/2.0\r", "\n", Error::Version),
        ("GET / HTTP/1.0\r\nA: b", "\n", Error::BareLf),
        ("GET / HTTP/1.0\r\nA: b\r\n", "\n", Error::BareLf),
        ("GET / HTTP/1.0\r\nA: b\r", "c", Error::BareCr),
    ] {
        let whole = format!("{start}{last}");
        assert_eq!(
            drip(start.as_bytes(), MAX).0,
            Ok(Outcome::Partial),
            "{whole:?}"
        );
        assert_eq!(drip(whole.as_bytes(), MAX).0, Err(error), "{whole:?}");
    }
}

/// Heads of valid and malformed parts.
fn mixed_head() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        "GET ",
        "/ ",
        "POST / HTTP/1.1\r\n",
        "GET /a?b HTTP/1.0\r\n",
        "HTTP/1.1",
        "HTTP/2",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        " ",
        ":",
        "Host: h\r\n",
        "A: b\r\n",
        "A",
        "\x00",
        "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "x",
        "BREW",
        "é",
        "\t",
        "#",
    ]);
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// The naive model of the check of line ends: a CR without its LF is never accepted, so equal
    /// numbers of both mean that no LF is bare.
    #[test]
    fn bare_lf_is_found_wherever_it_stands(
        ends in prop::collection::vec(prop_oneof![9 => Just("\r\n"), 1 => Just("\n")], 2..9),
        empty_lines in 0..3_usize,
    ) {
        let mut bytes = String::new();
        let (before, lines) = ends.split_at(empty_lines.min(ends.len() - 2));
        bytes.extend(before.iter().copied());
        for (place, end) in lines[..lines.len() - 1].iter().enumerate() {
            match place {
                0 => bytes.push_str("GET / HTTP/1.0"),
                _ => bytes.push_str("a: \t b \t"),
            }
            bytes.push_str(end);
        }
        bytes.push_str(lines[lines.len() - 1]);
        let count = |byte| bytes.bytes().filter(|&other| other == byte).count();
        let is_whole = matches!(fresh(bytes.as_bytes()), Ok(Outcome::Complete { .. }));
        prop_assert_eq!(is_whole, count(b'\r') == count(b'\n'), "{:?}", bytes);
        prop_assert!(is_whole || fresh(bytes.as_bytes()) == Err(Error::BareLf));
    }

    #[test]
    fn pieces_have_the_outcome_of_the_whole(
        bytes in mixed_head(),
        places in prop::collection::vec(any::<usize>(), 0..8),
        max in prop_oneof![Just(MAX), 0..60_usize],
    ) {
        let whole = parse(&bytes, &mut Scan::default(), max);
        let mut ends: Vec<usize> = places.iter().map(|at| at % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut scan = Scan::default();
        let mut outcome = Ok(Outcome::Partial);
        for end in ends {
            outcome = parse(&bytes[..end], &mut scan, max);
            if outcome != Ok(Outcome::Partial) {
                break;
            }
        }
        if outcome == Ok(Outcome::Partial) && whole.is_err() {
            // Refused later, at the end of the head: there must be none yet.
            let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            let head = &bytes[start.unwrap_or(0)..];
            prop_assert!(!head.windows(4).any(|end| end == b"\r\n\r\n"));
            prop_assert!(bytes.len() < max);
        } else {
            prop_assert_eq!(outcome, whole);
        }
    }

    #[test]
    fn no_accepted_head_has_a_bare_line_end(bytes in mixed_head()) {
        if let Ok(Outcome::Complete { length, .. }) = fresh(&bytes) {
            let head = &bytes[..length];
            let whole_ends = head.windows(2).filter(|pair| *pair == b"\r\n").count();
            let count = |end: u8| head.iter().filter(|byte| **byte == end).count();
            prop_assert_eq!((count(b'\r'), count(b'\n')), (whole_ends, whole_ends));
            prop_assert!(head.ends_with(b"\r\n\r\n"));
        }
    }

    #[test]
    fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = fresh(&bytes);
        let start = [b"GET / HTTP/1.1\r\nHost: h\r\n".as_slice(), &bytes].concat();
        let whole = fresh(&start);
        let (dripped, ..) = drip(&start, MAX);
        prop_assert!(dripped == whole || dripped == Ok(Outcome::Partial));
    }
}
