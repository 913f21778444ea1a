//! Text with placeholders, split once and filled often.

use crate::receipt::header;

enum Piece {
    Text(String),
    Channel,
    Index,
    Length,
    Message,
    /// A header of the last answer; nothing without one.
    Answer(String),
}

/// A request's text, split.
pub struct Template {
    pieces: Vec<Piece>,
    run: u32,
}

/// What to fill in.
#[derive(Clone, Copy, Default)]
pub struct Filling<'a> {
    /// The channel's number.
    pub channel: u32,
    /// The head of the last answer.
    pub answer: &'a [u8],
    /// The body's length.
    pub length: usize,
    /// The message.
    pub message: &'a [u8],
}

impl Template {
    /// Splits a text. What is no placeholder stays as it is.
    pub fn new(text: &str, run: u32) -> Template {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find('{') {
            let Some(end) = rest[begin..].find('}').map(|end| begin + end) else {
                break;
            };
            let piece = match &rest[begin + 1..end] {
                "channel" => Piece::Channel,
                "index" => Piece::Index,
                "length" => Piece::Length,
                "message" => Piece::Message,
                name => match name.strip_prefix("answer.") {
                    Some(name) => Piece::Answer(name.into()),
                    None => {
                        pieces.push(Piece::Text(rest[..=begin].into()));
                        rest = &rest[begin + 1..];
                        continue;
                    }
                },
            };
            pieces.push(Piece::Text(rest[..begin].into()));
            pieces.push(piece);
            rest = &rest[end + 1..];
        }
        pieces.push(Piece::Text(rest.into()));
        Template { pieces, run }
    }

    /// Appends the text, filled in.
    pub fn fill(&self, out: &mut Vec<u8>, filling: Filling<'_>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Channel => {
                    out.extend_from_slice(channel_name(self.run, filling.channel).as_bytes());
                }
                Piece::Index => out.extend_from_slice(filling.channel.to_string().as_bytes()),
                Piece::Length => out.extend_from_slice(filling.length.to_string().as_bytes()),
                Piece::Message => out.extend_from_slice(filling.message),
                Piece::Answer(name) => {
                    out.extend_from_slice(header(filling.answer, name).unwrap_or_default());
                }
            }
        }
    }
}

/// The name of a run's channel.
pub fn channel_name(run: u32, channel: u32) -> String {
    format!("swarm-{run:x}-{channel}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_what_it_knows_and_leaves_the_rest() {
        let text = "GET /{channel}/{index}?{answer.Etag} {\"a\":{message}} {length} {";
        let filling = Filling {
            channel: 5,
            answer: b"HTTP/1.1 200 OK\r\netag: e\r\n\r\n",
            length: 9,
            message: b"m",
        };
        let mut out = Vec::new();
        Template::new(text, 0xab).fill(&mut out, filling);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "GET /swarm-ab-5/5?e {\"a\":m} 9 {"
        );
    }
}
