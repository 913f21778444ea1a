//! Bodies: however they are cut, and against a reader that has all of the bytes at hand.
//!
//! The first byte of the input says how the body is framed: `c` for chunks, anything else for a
//! length of as much. The reader of chunks asks the parsing library for sizes, and looks for
//! itself at what the server is stricter about.

use encke_core::http1::{Decoder, Error, Framing};

use crate::cut;
use crate::syntax::is_token;

const MAX_BODY_BYTES: usize = 512;
const MAX_SIZE_LINE_BYTES: usize = 256;
const MAX_TRAILER_BYTES: usize = 8 * 1_024;
/// The bytes that size lines may have together beyond the digits that they need.
const MAX_NEEDLESS_BYTES: usize = 16 * 1_024;
const NEEDED_SIZE_LINE_BYTES: usize = 16;

/// Reads bytes as a body.
pub fn body(bytes: &[u8]) {
    let Some((&how, input)) = bytes.split_first() else {
        return;
    };
    let framing = match how {
        b'c' => Framing::Chunked,
        length => Framing::Length(u64::from(length)),
    };
    let whole = decode(framing, input, &[input.len()], MAX_BODY_BYTES);
    for ends in cut::ways(input) {
        assert_eq!(
            decode(framing, input, &ends, MAX_BODY_BYTES),
            whole,
            "cut at {ends:?}"
        );
    }
    match framing {
        Framing::Chunked => chunked(input, whole),
        _ => {
            let length = usize::from(how);
            let body = &input[..length.min(input.len())];
            let is_done = input.len() >= length;
            assert_eq!(whole, Ok((body.to_vec(), body.len(), is_done)));
        }
    }
}

/// Body, bytes consumed, whether it is complete.
type Decoded = Result<(Vec<u8>, usize, bool), Error>;

fn decode(framing: Framing, input: &[u8], ends: &[usize], max: usize) -> Decoded {
    let mut decoder = Decoder::new(framing);
    let mut skipper = Decoder::new(framing);
    let (mut body, mut used, mut start) = (Vec::new(), 0, 0);
    for &end in ends {
        let piece = &input[start..end];
        let progress = decoder.decode(piece, &mut body, max);
        assert_eq!(progress, skipper.discard(piece, max));
        let progress = progress?;
        assert!(progress.done || progress.consumed == piece.len());
        assert_eq!(progress.done, decoder.is_done());
        used += progress.consumed;
        start = end;
    }
    assert!(body.len() <= max);
    Ok((body, used, decoder.is_done()))
}

fn chunked(input: &[u8], decoded: Decoded) {
    match (Slow::read(input), decoded) {
        (Slow::Whole(body, used), decoded) => {
            if body.len() <= MAX_BODY_BYTES {
                assert_eq!(decoded, Ok((body.clone(), used, true)));
            } else {
                assert_eq!(decoded, Err(Error::BodyTooLarge));
            }
            if let Some(less) = body.len().checked_sub(1) {
                let refused = decode(Framing::Chunked, &input[..used], &[used], less);
                assert_eq!(refused, Err(Error::BodyTooLarge));
            }
        }
        (Slow::Unfinished, Ok((_, _, is_done))) => assert!(!is_done, "done before its end"),
        // What is wrong, or too large, is seen before a line has ended.
        (Slow::Unfinished, Err(_)) => {}
        (Slow::Wrong, decoded) => assert!(decoded.is_err(), "wrong, and taken: {decoded:?}"),
    }
}

/// The result of a reader that takes whole lines.
enum Slow {
    Whole(Vec<u8>, usize),
    Unfinished,
    Wrong,
}

impl Slow {
    fn read(input: &[u8]) -> Slow {
        match Slow::chunks(input) {
            Ok((body, used)) => Slow::Whole(body, used),
            Err(why) => why,
        }
    }

    fn chunks(input: &[u8]) -> Result<(Vec<u8>, usize), Slow> {
        let (mut body, mut at, mut needless) = (Vec::new(), 0, 0);
        loop {
            let line = Slow::line(&input[at..])?;
            let size = Slow::size(line)?;
            at += line.len() + 2;
            needless += line.len().saturating_sub(NEEDED_SIZE_LINE_BYTES);
            if needless > MAX_NEEDLESS_BYTES {
                return Err(Slow::Wrong);
            }
            if size == 0 {
                break;
            }
            let end = usize::try_from(size)
                .ok()
                .and_then(|size| at.checked_add(size));
            let chunk = end.and_then(|end| input.get(at..end));
            body.extend_from_slice(chunk.ok_or(Slow::Unfinished)?);
            at += size as usize;
            if !Slow::line(&input[at..])?.is_empty() {
                return Err(Slow::Wrong);
            }
            at += 2;
        }
        let mut trailer_bytes = 0;
        loop {
            let line = Slow::line(&input[at..])?;
            at += line.len() + 2;
            trailer_bytes += line.len();
            match line {
                _ if trailer_bytes > MAX_TRAILER_BYTES => return Err(Slow::Wrong),
                [] => return Ok((body, at)),
                field if is_field(field) => {}
                _ => return Err(Slow::Wrong),
            }
        }
    }

    /// The first line, without its end.
    fn line(input: &[u8]) -> Result<&[u8], Slow> {
        let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        let end = input.iter().position(is_control).ok_or(Slow::Unfinished)?;
        match input[end..] {
            [b'\r', b'\n', ..] => Ok(&input[..end]),
            [b'\r'] => Err(Slow::Unfinished),
            _ => Err(Slow::Wrong),
        }
    }

    /// The size that a line says.
    fn size(line: &[u8]) -> Result<u64, Slow> {
        let semicolon = line.iter().position(|&byte| byte == b';');
        let mut digits = &line[..semicolon.unwrap_or(line.len())];
        if semicolon.is_some() {
            // White space has a meaning before an extension alone.
            digits = digits.trim_ascii_end();
        }
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        if !is_number || line.len() > MAX_SIZE_LINE_BYTES {
            return Err(Slow::Wrong);
        }
        // The library counts leading zeros as digits of a number that is too large.
        let zeros = digits.iter().take_while(|&&byte| byte == b'0').count();
        let zeros = zeros.min(digits.len() - 1);
        let text = [&line[zeros..], b"\r\n"].concat();
        match httparse::parse_chunk_size(&text) {
            Ok(httparse::Status::Complete((length, size))) => {
                assert_eq!(length, text.len());
                Ok(size)
            }
            Ok(httparse::Status::Partial) => Err(Slow::Unfinished),
            Err(_) => Err(Slow::Wrong),
        }
    }
}

/// Whether a line is a field: a token, a colon, and anything.
fn is_field(line: &[u8]) -> bool {
    let colon = line.iter().position(|&byte| byte == b':');
    colon.is_some_and(|colon| is_token(&line[..colon]))
}
