//! Bytes as a value: serde would write and read them one by one.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, written at once, and borrowed where they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<'b>(pub &'b [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Bytes<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes<'b>, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Bytes)
    }
}
