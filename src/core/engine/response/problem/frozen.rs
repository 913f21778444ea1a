//! A refusal that is told later, in a state that is handed over.
//!
//! Owns its form.

use serde::{Deserialize, Serialize};

use super::{More, Problem};
use crate::frozen::ThawError;

/// Names of header fields that refusals have.
const FIELDS: [&str; 7] = [
    "Accept-Encoding",
    "Allow",
    "Connection",
    "Retry-After",
    "Sec-WebSocket-Version",
    "Upgrade",
    "WWW-Authenticate",
];

/// The frozen form of a [`Problem`].
#[derive(Serialize, Deserialize)]
pub(in crate::engine) struct FrozenProblem<'p> {
    status: u16,
    detail: &'p str,
    #[serde(borrow)]
    fields: Vec<(&'p str, &'p str)>,
    published: Option<u64>,
}

impl<'p> From<&'p Problem> for FrozenProblem<'p> {
    fn from(problem: &'p Problem) -> FrozenProblem<'p> {
        let more = problem.more.as_deref();
        let fields = more.into_iter().flat_map(|more| &more.fields);
        FrozenProblem {
            status: problem.status,
            detail: &problem.detail,
            fields: fields.map(|(name, value)| (*name, &**value)).collect(),
            published: more.and_then(|more| more.published),
        }
    }
}

impl TryFrom<FrozenProblem<'_>> for Problem {
    type Error = ThawError;

    fn try_from(frozen: FrozenProblem<'_>) -> Result<Problem, ThawError> {
        const DAMAGED: ThawError = ThawError::Damaged("a refusal is not valid");
        let mut fields = Vec::new();
        for (name, value) in frozen.fields {
            let name = FIELDS
                .into_iter()
                .find(|field| *field == name)
                .ok_or(DAMAGED)?;
            if value.chars().any(char::is_control) {
                return Err(DAMAGED);
            }
            fields.push((name, value.to_owned().into()));
        }
        let has_more = !fields.is_empty() || frozen.published.is_some();
        if !(400..600).contains(&frozen.status) {
            return Err(DAMAGED);
        }
        Ok(Problem {
            status: frozen.status,
            detail: frozen.detail.to_owned().into(),
            more: has_more.then(|| {
                Box::new(More {
                    fields,
                    published: frozen.published,
                })
            }),
        })
    }
}
