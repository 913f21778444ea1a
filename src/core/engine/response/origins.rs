//! The origins whose pages may read responses.
//!
//! Owns their places, by which parked connections refer to them, and what becomes of the places
//! when the settings change.
//!
//! Invariant: *an origin that stays allowed keeps its place.* The place of one that does not may
//! become another's: a page whose origin was removed cannot read a response either way.

mod frozen;

pub(in crate::engine) use frozen::FrozenOrigins;
pub(super) use frozen::thaw;

use crate::authority::Origin;
use crate::config::Cors;

/// The allowed origins.
pub(super) struct Origins {
    is_any: bool,
    places: Vec<Option<String>>,
    /// The origin that was the only one before others joined it: responses to connections that
    /// were parked then, and that have kept no origin of their own, must still name it.
    former_only: Option<String>,
}

/// The origin in responses to clients whose own is not echoed.
pub(super) enum CommonOrigin<'o> {
    /// None is allowed.
    None,
    /// Every one.
    Any,
    /// The only one. It is sent to every client, so that parked polls can share their responses.
    Only(&'o str),
    /// There are several, and responses to clients of other origins differ.
    Several(Option<&'o str>),
}

impl Origins {
    pub(super) fn new(cors: &Cors) -> Origins {
        let mut origins = Origins {
            is_any: false,
            places: Vec::new(),
            former_only: None,
        };
        origins.replace(cors);
        origins
    }

    /// Allows other origins from now on.
    pub(super) fn replace(&mut self, cors: &Cors) {
        let former_only = match self.common() {
            CommonOrigin::Only(only) => Some(only.to_owned()),
            _ => self.former_only.take(),
        };
        let allowed = match cors {
            Cors::Any => Vec::new(),
            Cors::Origins(origins) => serialised(origins),
        };
        self.is_any = *cors == Cors::Any;
        for place in &mut self.places {
            place.take_if(|origin| !allowed.contains(origin));
        }
        self.former_only = former_only.filter(|origin| allowed.contains(origin));
        for origin in allowed {
            if self.place(origin.as_bytes()).is_some() {
                continue;
            }
            match self.places.iter_mut().find(|place| place.is_none()) {
                Some(free) => *free = Some(origin),
                None => self.places.push(Some(origin)),
            }
        }
    }

    /// Whether pages of every origin may read.
    pub(super) fn is_any(&self) -> bool {
        self.is_any
    }

    /// The place of an allowed origin.
    pub(super) fn find(&self, origin: &[u8]) -> Option<u16> {
        // Browsers send origins serialised, other clients need not.
        let place = self.place(origin);
        place.or_else(|| self.place(Origin::parse(origin)?.to_string().as_bytes()))
    }

    fn place(&self, origin: &[u8]) -> Option<u16> {
        let is_it = |place: &Option<String>| {
            let place = place.as_ref();
            place.is_some_and(|allowed| allowed.as_bytes() == origin)
        };
        Some(self.places.iter().position(is_it)? as u16)
    }

    /// Whether responses name the origin of their client, as it is one of several.
    pub(super) fn are_several(&self) -> bool {
        self.places.iter().flatten().nth(1).is_some()
    }

    /// The origin at a place, if responses name it as one of several.
    pub(super) fn echoed(&self, place: u16) -> Option<&str> {
        let origin = self.places.get(usize::from(place))?.as_deref();
        origin.filter(|_| self.are_several())
    }

    /// The CORS origin in responses to clients whose origin is not echoed.
    pub(super) fn common(&self) -> CommonOrigin<'_> {
        let mut allowed = self.places.iter().flatten();
        match (allowed.next(), allowed.next()) {
            _ if self.is_any => CommonOrigin::Any,
            (None, _) => CommonOrigin::None,
            (Some(only), None) => CommonOrigin::Only(only),
            _ => CommonOrigin::Several(self.former_only.as_deref()),
        }
    }
}

/// Origins in the form in which browsers send and compare them, each once.
fn serialised(origins: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for origin in origins {
        let parsed = Origin::parse(origin.as_bytes()).map(|origin| origin.to_string());
        let origin = parsed.unwrap_or_else(|| origin.clone());
        if !kept.contains(&origin) {
            kept.push(origin);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors::Origins(origins.iter().map(ToString::to_string).collect())
    }

    fn former_only(origins: &Origins) -> Option<&str> {
        match origins.common() {
            CommonOrigin::Several(only) => only,
            _ => None,
        }
    }

    #[test]
    fn only_origin_is_still_named_when_others_join_it() {
        let [a, b, c] = [
            "https://a.example",
            "https://b.example",
            "https://c.example",
        ];
        let mut origins = Origins::new(&cors(&[a]));
        origins.replace(&cors(&[b, a]));
        assert_eq!(former_only(&origins), Some(a));
        origins.replace(&cors(&[a, b, c]));
        assert_eq!(former_only(&origins), Some(a));
        origins.replace(&cors(&[b, c]));
        assert_eq!(former_only(&origins), None);
        assert_eq!(former_only(&Origins::new(&cors(&[a, b]))), None);
    }

    proptest! {
        #[test]
        fn origins_that_stay_keep_their_places(
            changes in prop::collection::vec(prop::collection::vec(0..6_u8, 0..6), 1..20),
        ) {
            let mut origins = Origins::new(&cors(&[]));
            let mut places: Vec<(String, u16)> = Vec::new();
            for change in changes {
                let allowed: Vec<String> =
                    change.iter().map(|number| format!("https://{number}.example")).collect();
                origins.replace(&Cors::Origins(allowed.clone()));
                places.retain(|(origin, _)| allowed.contains(origin));
                for (origin, place) in &places {
                    prop_assert_eq!(origins.find(origin.as_bytes()), Some(*place));
                }
                places.clear();
                for origin in &allowed {
                    let place = origins.find(origin.as_bytes()).expect("it is allowed");
                    let echoed = Some(&**origin).filter(|_| origins.are_several());
                    prop_assert_eq!(origins.echoed(place), echoed);
                    places.push((origin.clone(), place));
                }
                for number in 0..6 {
                    let origin = format!("https://{number}.example:443");
                    let is_allowed = change.contains(&number);
                    prop_assert_eq!(origins.find(origin.as_bytes()).is_some(), is_allowed);
                }
                prop_assert!(origins.places.len() <= 6, "places are used again");
            }
        }
    }
}
