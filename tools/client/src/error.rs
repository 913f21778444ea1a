//! Why bytes could not be read.

use std::fmt;

/// A violation of HTTP/1.1 or of a body format, as a sentence for the report of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error with this description.
    pub fn new(description: impl Into<String>) -> Error {
        Error(description.into())
    }

    /// An error about these bytes, of which the first 200 are quoted.
    pub(crate) fn about(description: &str, bytes: &[u8]) -> Error {
        let quoted = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        Error(format!("{description}: {quoted:?}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<Error> for String {
    fn from(error: Error) -> String {
        error.0
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error(error.to_string())
    }
}
