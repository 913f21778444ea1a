//! Results whose messages have no ids yet, in a state that is handed over.
//!
//! Owns their form.

use serde::{Deserialize, Serialize};

use super::{Form, Message, Unnumbered};
use crate::hub::Published;

/// The frozen form of an [`Unnumbered`].
#[derive(Serialize, Deserialize)]
pub(in crate::engine::delivery) struct FrozenUnnumbered<'u> {
    #[serde(with = "FrozenForm")]
    form: Form,
    /// The channels of messages, their places, and their results if they have them.
    #[serde(borrow)]
    messages: Vec<(&'u str, u16, Option<Published>)>,
}

/// The frozen form of a [`Form`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Form")]
enum FrozenForm {
    One,
    Batch,
    Command,
}

impl<'u> From<&'u Unnumbered> for FrozenUnnumbered<'u> {
    fn from(unnumbered: &'u Unnumbered) -> FrozenUnnumbered<'u> {
        let messages = unnumbered.messages.iter();
        FrozenUnnumbered {
            form: unnumbered.form,
            messages: messages
                .map(|one| (&*one.channel, one.place, one.before))
                .collect(),
        }
    }
}

impl From<FrozenUnnumbered<'_>> for Unnumbered {
    fn from(frozen: FrozenUnnumbered<'_>) -> Unnumbered {
        let message = |(channel, place, before): (&str, u16, Option<Published>)| Message {
            channel: channel.into(),
            place,
            before,
        };
        Unnumbered {
            form: frozen.form,
            messages: frozen.messages.into_iter().map(message).collect(),
        }
    }
}
