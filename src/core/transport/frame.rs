//! The forever frame: a page in a hidden frame, of scripts that each deliver one object.
//!
//! Owns the page and its scripts.
//!
//! Invariant: *one message, one script.* A message on which the receiving page throws does not stop
//! the next.

use super::description::{Description, Kind};
use super::event::{Event, Options, Target};
use crate::encode::{
    check_callback, closing_object, cursor_object, end_object, ended_object, escape_into,
    expired_object, expression, gap_object, object, opening_object, write_json_string,
};

/// Browsers, and proxies that guess at content, hold back the first bytes of a page.
const PADDING: [u8; 2_048] = [b' '; 2_048];

pub(super) static DESCRIPTION: Description = Description {
    name: "frame",
    kind: Kind::Stream,
    content_type: "text/html; charset=utf-8",
    resumes_by_itself: false,
};

/// Appends an event's script, after the page's head where it is the first. The opening's script
/// has the members of a heartbeat, and says how often one comes.
pub(super) fn encode(event: &Event<'_>, _: Options, out: &mut Vec<u8>) {
    match *event {
        Event::Open {
            cursor,
            heartbeat_ms,
            target,
            ..
        } => {
            page_head(out, target);
            script(out, |json| opening_object(json, heartbeat_ms, cursor));
        }
        Event::Message { content, .. } => script(out, |json| object(json, content)),
        Event::Gap(cursor) => script(out, |json| gap_object(json, cursor)),
        Event::Heartbeat(cursor) => script(out, |json| cursor_object(json, cursor)),
        Event::Close { cursor, retry_ms } | Event::Refuse { cursor, retry_ms } => {
            script(out, |json| closing_object(json, retry_ms, cursor));
        }
        Event::End(cursor) => script(out, |json| end_object(json, cursor)),
        Event::Ended { cursor, channels } => {
            script(out, |json| ended_object(json, channels, cursor));
        }
        Event::Expire { cursor, .. } => script(out, |json| expired_object(json, cursor)),
    }
}

/// Appends the document's head with the function `e` that delivers an object, and padding.
///
/// `e` first removes its own script and all that came before it, so that the page does not grow
/// and an object on which the page's function throws leaves nothing behind.
fn page_head(out: &mut Vec<u8>, target: Target<'_>) {
    out.extend_from_slice(
        b"<!DOCTYPE html><html><head><meta charset=\"utf-8\"><script>function e(o){\
          var d=document,s=d.currentScript||d.scripts[d.scripts.length-1],p=s.parentNode;\
          while(p.firstChild!==s)p.removeChild(p.firstChild);p.removeChild(s);",
    );
    match target {
        Target::Call(name) => {
            debug_assert!(
                check_callback(name.as_bytes()).is_some(),
                "callbacks are checked"
            );
            out.extend_from_slice(b"parent.");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"(o)");
        }
        Target::PostOwn => out.extend_from_slice(b"parent.postMessage(o,location.origin)"),
        Target::PostTo(origin) => {
            let mut quoted = Vec::new();
            write_json_string(&mut quoted, origin);
            out.extend_from_slice(b"parent.postMessage(o,");
            escape_into(out, &quoted);
            out.push(b')');
        }
    }
    out.extend_from_slice(b"}</script>\n<!--");
    out.extend_from_slice(&PADDING);
    out.extend_from_slice(b"-->\n");
}

fn script(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut json = Vec::new();
    write(&mut json);
    out.extend_from_slice(b"<script>e(");
    expression(out, &json);
    out.extend_from_slice(b")</script>\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::encode::samples::{Received, id, sample, unescaped, value};
    use crate::message::Data;

    fn written(event: &Event<'_>, out: &mut Vec<u8>) {
        encode(event, Options::empty(), out);
    }

    /// The values that the scripts of a page push, as JSON; panics on anything that is not such a
    /// script.
    fn pushed(page: &str) -> Vec<String> {
        let scripts = page.strip_suffix('\n').unwrap().split('\n');
        let argument = |script: &str| {
            let inner = script.strip_prefix("<script>e(").unwrap();
            value(inner.strip_suffix(")</script>").unwrap())
        };
        scripts.map(argument).collect()
    }

    #[test]
    fn openings_deliver_and_are_long_enough() {
        for (target, call) in [
            (Target::Call("a.b"), "parent.a.b(o)}"),
            (Target::PostOwn, "parent.postMessage(o,location.origin)}"),
            (
                Target::PostTo("https://[::1]:8443"),
                "parent.postMessage(o,\"https://[::1]:8443\")}",
            ),
        ] {
            let mut out = Vec::new();
            let event = Event::Open {
                cursor: id(9),
                retry_ms: 0,
                heartbeat_ms: 15_000,
                target,
            };
            written(&event, &mut out);
            assert!(out.len() >= 2_048);
            let page = String::from_utf8(out).unwrap();
            assert!(page.starts_with("<!DOCTYPE html>"));
            let (head, rest) = page.split_once("</script>\n<!--").unwrap();
            assert!(head.ends_with(call), "{head}");
            let (padding, scripts) = rest.split_once("-->\n").unwrap();
            assert!(padding.bytes().all(|b| b == b' '));
            assert_eq!(
                pushed(scripts),
                ["{\"cursor\":\"00000000-9\",\"heartbeat\":15000}"]
            );
        }
    }

    proptest! {
        #[test]
        fn frames_push_what_was_published(
            samples in proptest::collection::vec(sample(), 1..4),
            retry_ms: u32,
        ) {
            let id = samples[0].id;
            let mut out = Vec::new();
            written(&Event::Gap(id), &mut out);
            written(&Event::Close { cursor: id, retry_ms }, &mut out);
            for sample in &samples {
                let content = &sample.content();
                written(&Event::Message { content, spread_ms: None }, &mut out);
            }
            let pushed = pushed(std::str::from_utf8(&out).unwrap());
            let own = |place: usize| serde_json::from_str::<Value>(&pushed[place]).unwrap();
            prop_assert_eq!(own(0), json!({"gap": true, "cursor": samples[0].id()}));
            prop_assert_eq!(own(1), json!({"cursor": samples[0].id(), "retry": retry_ms}));
            prop_assert_eq!(pushed.len(), samples.len() + 2);
            for (text, sample) in pushed[2..].iter().zip(&samples) {
                let mut plain = Vec::new();
                object(&mut plain, &sample.content());
                let plain = String::from_utf8(plain).unwrap();
                prop_assert_eq!(unescaped(text), unescaped(&plain));
                if text == &plain || !matches!(sample.data, Data::Json(_)) {
                    serde_json::from_str::<Received<'_>>(text).unwrap().assert_is(sample);
                }
            }
        }
    }
}
