//! The response to a connection that exceeds a limit on connections.
//!
//! Owns the one response that is sent without a connection's entry: in the format of the endpoint
//! that the request names.

use super::state::Requests;
use crate::engine::delivery::{Delivery, REFUSED_RETRY_MS};
use crate::engine::response::{Framing, KeepAlive, Problem, ResponseContext};
use crate::engine::routing::{Receive, Route, callback_of};
use crate::engine::stats::{ConnectionLimit, Endpoint};
use crate::http1::{self, Method, Outcome, Scan};
use crate::message::MessageId;
use crate::transport::{Event, Options, Transport};

/// The response to a request whose head is in `bytes`, where `limit` leaves no connection for it;
/// `None` if the head is incomplete or malformed.
pub(in crate::engine) fn reject(
    requests: &Requests,
    delivery: &mut Delivery,
    bytes: &[u8],
    limit: ConnectionLimit,
) -> Option<Vec<u8>> {
    let mut scan = Scan::default();
    let parsed = http1::parse(bytes, &mut scan, requests.max_head_bytes);
    let Ok(Outcome::Complete { head, .. }) = parsed else {
        return None;
    };
    let route = Route::of(head.path);
    let is_read = matches!(head.method, Method::Get | Method::Head);
    let heads = &delivery.response.heads;
    let context = ResponseContext {
        keep_alive: KeepAlive::Close,
        head_only: head.method == Method::Head,
        origin: head.origin.and_then(|origin| heads.echoed(origin)),
        callback: callback_of(&head).filter(|_| route.is_some_and(|r| r.takes_callback())),
    };
    let mut out = Vec::new();
    if let Some(transport) = route.filter(|_| is_read).and_then(resuming) {
        let content_type = transport.describe().content_type;
        heads.stream(&mut out, &context, content_type, Framing::UntilClose);
        if !context.head_only {
            let refusal = Event::Refuse {
                cursor: MessageId::UNKNOWN,
                retry_ms: delivery.random.u32(REFUSED_RETRY_MS),
            };
            transport.encode(&refusal, Options::empty(), &mut out);
        }
    } else {
        let (status, detail) = match limit {
            ConnectionLimit::Server | ConnectionLimit::Descriptors => (
                503,
                "there are as many connections as --max-connections or the file limit allows; try \
                 again later",
            ),
            ConnectionLimit::Address => (
                429,
                "your address has as many connections as --max-connections-per-address allows; \
                 close one, or try again later",
            ),
        };
        let retry_s = delivery.random.u32(2..=10).to_string();
        let problem = Problem::new(status, detail).with("Retry-After", retry_s);
        let stats = &mut delivery.connections.stats;
        stats.requests.count(Endpoint::Other, status);
        problem.write(heads, &mut out, &context);
    }
    Some(out)
}

/// The transport of a request whose client would not come back after a status other than 200.
fn resuming(route: Route<'_>) -> Option<Transport> {
    match route {
        Route::Receive(Receive::Park(transport), _) => {
            Some(transport).filter(|transport| transport.describe().resumes_by_itself)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Cors};
    use crate::engine::Engine;

    #[test]
    fn rejected_connection_allows_the_origin_of_its_request() {
        let config = Config {
            cors: Cors::Origins(vec!["https://a.example".into(), "https://b.example".into()]),
            ..Config::default()
        };
        let mut engine = Engine::new(&config, 1, 1);
        for (limit, target, status) in [
            (ConnectionLimit::Server, "/poll/x", "503"),
            (ConnectionLimit::Address, "/poll/x", "429"),
            (ConnectionLimit::Descriptors, "/publish/x", "503"),
            (ConnectionLimit::Server, "/sse/x", "200"),
        ] {
            let head = "HTTP/1.1\r\nHost: h\r\nOrigin: https://b.example\r\n\r\n";
            let request = format!("GET {target} {head}");
            let response = engine.reject(request.as_bytes(), limit).expect("one");
            let text = String::from_utf8(response).expect("text");
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
            let field = "\r\nAccess-Control-Allow-Origin: https://b.example\r\n";
            assert!(text.contains(field), "{text}");
        }
    }
}
