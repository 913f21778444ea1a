//! What responses to publishers say.

use serde::Deserialize;

use encke_oracle::id::Id;

#[derive(Deserialize)]
struct Published {
    id: String,
}

#[derive(Deserialize)]
struct PublishedBatch {
    published: Vec<Published>,
}

/// The ids that acknowledgements say, and whether the line after them says that there are no more.
pub(super) fn acknowledged(body: &[u8], is_whole: bool) -> (Vec<Id>, bool) {
    let mut ids = Vec::new();
    let mut has_end = false;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        match serde_json::from_slice::<Published>(line) {
            Ok(published) => ids.extend(Id::parse(&published.id)),
            // The summary, an error, or the response to a request that is refused as a whole.
            Err(_) => has_end = serde_json::from_slice::<serde_json::Value>(line).is_ok(),
        }
    }
    (ids, is_whole && has_end)
}

/// Whether a response says that it is not known whether the message was accepted.
pub(super) fn is_in_doubt(status: u16, body: &[u8]) -> bool {
    status == 503 && String::from_utf8_lossy(body).contains("may have been accepted")
}

/// The ids of an answer to a publish or a batch.
pub(super) fn ids(body: &[u8]) -> Option<Vec<Id>> {
    let published = match serde_json::from_slice::<PublishedBatch>(body) {
        Ok(batch) => batch.published,
        Err(_) => vec![serde_json::from_slice::<Published>(body).ok()?],
    };
    let ids = published.iter().map(|published| Id::parse(&published.id));
    ids.collect()
}
