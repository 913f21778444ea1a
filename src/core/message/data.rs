//! The data of a message, and its construction from a body and its content type.
//!
//! Owns the choice between JSON, text and bytes. The rules for JSON are in `json`.

use super::json::{Json, JsonError};

/// The data of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// JSON, as its text.
    Json(Json),
    /// Any text.
    Text(Box<str>),
    /// Any bytes; they are sent as base64.
    Binary(Box<[u8]>),
}

impl Data {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Data::Json(json) => json.len(),
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parses JSON.
    ///
    /// # Errors
    ///
    /// See [`JsonError`].
    pub fn json(text: impl AsRef<[u8]>) -> Result<Data, JsonError> {
        Json::parse(text).map(Data::Json)
    }

    /// Text if the bytes are UTF-8, else bytes.
    pub fn text_or_bytes(bytes: &[u8]) -> Data {
        match std::str::from_utf8(bytes) {
            Ok(text) => Data::Text(text.into()),
            Err(_) => Data::Binary(bytes.into()),
        }
    }

    /// Converts a published body according to its `Content-Type`: JSON for
    /// `application/json` and types that end in `+json`, bytes for `application/octet-stream`; for
    /// any other type, or none, text if it is UTF-8, else bytes.
    ///
    /// # Errors
    ///
    /// The type is that of JSON and the body is not JSON that may be published.
    pub fn accept(content_type: Option<&[u8]>, body: &[u8]) -> Result<Data, JsonError> {
        match Kind::of(content_type.unwrap_or_default()) {
            Kind::Json => Data::json(body),
            Kind::Bytes => Ok(Data::Binary(body.into())),
            Kind::Any => Ok(Data::text_or_bytes(body)),
        }
    }
}

/// Whether a `Content-Type` is that of JSON.
pub fn is_json(content_type: Option<&[u8]>) -> bool {
    matches!(Kind::of(content_type.unwrap_or_default()), Kind::Json)
}

impl From<Json> for Data {
    fn from(json: Json) -> Data {
        Data::Json(json)
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Data {
        Data::Text(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Data {
        Data::Text(text.into())
    }
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Data {
        Data::Binary(bytes.into())
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Data {
        Data::Binary(bytes.into())
    }
}

/// The kind of data that a content type denotes.
enum Kind {
    Json,
    Bytes,
    Any,
}

impl Kind {
    /// On the path of every publish.
    #[inline(always)]
    fn of(content_type: &[u8]) -> Kind {
        // Nearly every content type is one of these, which need no parsing.
        match content_type {
            b"" | b"text/plain" => return Kind::Any,
            b"application/json" => return Kind::Json,
            _ => {}
        }
        let essence = content_type
            .split(|&b| b == b';')
            .next()
            .unwrap_or_default();
        let essence = essence.trim_ascii();
        let suffix = essence.len().saturating_sub(b"+json".len());
        if essence.eq_ignore_ascii_case(b"application/json")
            || essence[suffix..].eq_ignore_ascii_case(b"+json")
        {
            Kind::Json
        } else if essence.eq_ignore_ascii_case(b"application/octet-stream") {
            Kind::Bytes
        } else {
            Kind::Any
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn content_type_selects_the_kind_of_data() {
        let json = || Data::json("1").unwrap();
        for (content_type, expected) in [
            ("application/json", json()),
            ("Application/JSON ; charset=utf-8", json()),
            ("application/cloudevents+json", json()),
            ("application/vnd.x+JSON;q=\"a;b\"", json()),
            ("application/octet-stream", Data::Binary((*b"1").into())),
            (
                "APPLICATION/OCTET-STREAM; x=y",
                Data::Binary((*b"1").into()),
            ),
            ("application/x-www-form-urlencoded", Data::Text("1".into())),
            ("application/x-ndjson", Data::Text("1".into())),
            ("text/plain; note=+json", Data::Text("1".into())),
            ("json", Data::Text("1".into())),
            (";application/json", Data::Text("1".into())),
            ("", Data::Text("1".into())),
        ] {
            let data = Data::accept(Some(content_type.as_bytes()), b"1").unwrap();
            assert_eq!(data, expected, "{content_type}");
        }
        assert_eq!(Data::accept(None, b"").unwrap(), Data::Text("".into()));
        assert_eq!(
            Data::accept(None, b"\xff").unwrap(),
            Data::Binary((*b"\xff").into())
        );
    }

    #[test]
    fn values_convert_into_data() {
        assert_eq!(Data::from("a"), Data::Text("a".into()));
        assert_eq!(Data::from("a".to_owned()), Data::Text("a".into()));
        assert_eq!(Data::from(&b"a"[..]), Data::Binary((*b"a").into()));
        assert_eq!(Data::from(b"a".to_vec()), Data::Binary((*b"a").into()));
        let json = Json::parse("[]").unwrap();
        assert_eq!(Data::from(json.clone()), Data::Json(json));
    }

    #[test]
    fn text_keeps_its_byte_order_mark() {
        let text = "\u{feff}a\u{2028}";
        let data = Data::accept(Some(b"text/plain"), text.as_bytes()).unwrap();
        assert_eq!(data, Data::Text(text.into()));
    }

    proptest! {
        #[test]
        fn body_of_any_other_type_is_kept_whole(body: Vec<u8>) {
            let data = Data::accept(None, &body).unwrap();
            prop_assert_eq!(data.len(), body.len());
            let kept = match &data {
                Data::Text(text) => text.as_bytes(),
                Data::Binary(bytes) => {
                    prop_assert!(String::from_utf8(body.clone()).is_err());
                    bytes
                }
                Data::Json(_) => panic!("no type became JSON"),
            };
            prop_assert_eq!(kept, &body[..]);
        }

        #[test]
        fn any_body_is_accepted_or_refused(content_type: Vec<u8>, body: Vec<u8>) {
            let _ = Data::accept(Some(&content_type), &body);
        }
    }
}
