//! Text with placeholders, split once and filled often.

enum Piece {
    Text(String),
    Channel,
    Index,
    Length,
    Message,
    /// The cursor of the last batch.
    Cursor,
    /// The field of the last response with this place among [`Template::answer_fields`].
    Answer(usize),
}

/// A request's text, split.
pub struct Template {
    pieces: Vec<Piece>,
    answer_fields: Vec<String>,
    needs_cursor: bool,
    run: u32,
}

/// The values of placeholders.
#[derive(Clone, Copy, Default)]
pub struct Filling<'a> {
    /// The channel's number.
    pub channel: u32,
    /// The values of [`Template::answer_fields`] in the last response; empty without one.
    pub answer: &'a [String],
    /// The cursor of the last batch; empty without one.
    pub cursor: &'a str,
    /// The body's length.
    pub length: usize,
    /// The message.
    pub message: &'a [u8],
}

impl Template {
    /// Splits a text. Braces around anything but a placeholder stay as they are.
    pub fn new(text: &str, run: u32) -> Template {
        let mut pieces = Vec::new();
        let mut answer_fields = Vec::new();
        let mut needs_cursor = false;
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
                "cursor" => {
                    needs_cursor = true;
                    Piece::Cursor
                }
                name => match name.strip_prefix("answer.") {
                    Some(name) => {
                        answer_fields.push(name.into());
                        Piece::Answer(answer_fields.len() - 1)
                    }
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
        Template {
            pieces,
            answer_fields,
            needs_cursor,
            run,
        }
    }

    /// Whether the text refers to the cursor in the body of the last response.
    pub fn needs_cursor(&self) -> bool {
        self.needs_cursor
    }

    /// The names of the response fields that the text refers to, in order.
    pub fn answer_fields(&self) -> &[String] {
        &self.answer_fields
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
                Piece::Cursor => out.extend_from_slice(filling.cursor.as_bytes()),
                Piece::Answer(place) => {
                    let value = filling.answer.get(*place).map(String::as_bytes);
                    out.extend_from_slice(value.unwrap_or_default());
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
        let text = "GET /{channel}/{index}?{answer.Etag} {cursor} {\"a\":{message}} {length} {";
        let filling = Filling {
            channel: 5,
            answer: &["e".into()],
            cursor: "c-1",
            length: 9,
            message: b"m",
        };
        let mut out = Vec::new();
        let template = Template::new(text, 0xab);
        assert_eq!(template.answer_fields(), ["Etag"]);
        template.fill(&mut out, filling);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "GET /swarm-ab-5/5?e c-1 {\"a\":m} 9 {"
        );
    }
}
