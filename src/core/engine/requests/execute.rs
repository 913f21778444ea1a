//! Execution: an operation gets its response now, later, or by being parked.
//!
//! Owns the way from an operation to the endpoint that serves it, and its entry in counters and
//! log.

use super::channels::{Listing, delete_history, show_channel};
use super::connections::{Action, Search};
use super::deferred::{Deferred, DeferredResponse};
use super::kicks::{kick, node_of};
use super::metrics;
use super::nodes;
use super::publish::{accept, hand_over_batch, publish_batch};
use super::state::Requests;
use crate::encode::cursor_object;
use crate::engine::connections::{Flags, State};
use crate::engine::delivery::{
    Answer, Delivery, Form, ReceiveRequest, Unnumbered, judge, open_poll, open_stream, start,
    turn_away, wait_for_ids, wait_for_log, write_published,
};
use crate::engine::response::{
    BodyLength, KeepAlive, Problem, ResponseContext, ResponseWriter, field,
};
use crate::engine::routing::{
    AuthorizationContext, Operation, Route, Since, callback_of, publish_to,
};
use crate::engine::stats::Endpoint;
use crate::http1::{Head, Method, status};
use crate::hub::Refusal;
use crate::log::cluster::Ticket;
use crate::log::{Clustered, Log, Mark, Placed};
use crate::message::{Draft, DraftKind};

/// The fields that pages of other origins may send beyond those that need no preflight: the ones
/// that encke reads, and those that common clients, caches and tracers add unasked, which encke
/// ignores. Without them here such a page could not send its request at all. `Content-Encoding` is
/// one so that a page can read why its publish is refused.
const ALLOWED_FIELDS: &str = "Authorization, Content-Type, Encke-Event, Idempotency-Key, \
     Last-Event-ID, Cache-Control, Content-Encoding, If-Modified-Since, If-None-Match, Pragma, \
     X-Requested-With, X-Request-ID, X-Correlation-ID, baggage, traceparent, tracestate, \
     sentry-trace";

/// The result of an operation.
enum Reply {
    /// Its response is written.
    Now(u16),
    /// The connection is parked or at its end, or the response comes over the next ticks. Its
    /// status is known.
    Later(u16),
    /// It comes when the log has answered: is saved, or of a cluster was read back.
    WaitsForLog,
}

/// Serves one whole request.
pub(super) fn handle_request(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    body: &[u8],
) {
    let route = Route::of(head.path);
    let operation = match authorize(requests, delivery, index, head, route) {
        Ok(operation) => operation,
        Err(problem) => return refuse_request(delivery, index, head, route, &problem),
    };
    let context = context_of(delivery, index, head);
    let reply = match execute(requests, delivery, index, head, operation, body, &context) {
        Ok(reply) => reply,
        Err(problem) => return refuse_request(delivery, index, head, route, &problem),
    };
    let status = match reply {
        Reply::Now(status) | Reply::Later(status) => status,
        Reply::WaitsForLog => return,
    };
    record(delivery, index, head, route, status);
    if let Reply::Now(_) = reply {
        delivery.connections.enter(index, State::Idle);
    }
}

/// Judges a request by its head. Polls are hot: the judgement is inlined here, and nowhere else.
#[inline(never)]
pub(super) fn authorize<'b>(
    requests: &mut Requests,
    delivery: &Delivery,
    index: u32,
    head: &Head<'b>,
    route: Option<Route<'b>>,
) -> Result<Operation<'b>, Problem> {
    let context = AuthorizationContext {
        access: delivery.connections[index].access,
        heads: &delivery.response.heads,
        numbering: delivery.hub.numbering(),
        is_draining: delivery.drain.is_some(),
        unix_ms: delivery.unix_ms,
    };
    requests.authorizer.authorize(head, route, context)
}

/// Refuses a request whose body is not taken: what follows it is not read as requests.
pub(super) fn refuse_before_body(
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    route: Option<Route<'_>>,
    problem: &Problem,
) {
    delivery.connections[index].flags.insert(Flags::CLOSE);
    refuse_request(delivery, index, head, route, problem);
}

/// Tells a client that waits for it to send the body of its request (RFC 9110, section 10.1.1), of
/// which `rest` has arrived.
pub(super) fn invite_body(delivery: &mut Delivery, head: &Head<'_>, rest: &[u8]) {
    if head.expect_continue && rest.is_empty() {
        let out = &mut delivery.response.out;
        out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
}

/// Refuses a request after which its connection can go on.
pub(super) fn refuse_request(
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    route: Option<Route<'_>>,
    problem: &Problem,
) {
    let takes_callback = route.is_some_and(|route| route.takes_callback());
    let context = ResponseContext {
        callback: callback_of(head).filter(|_| takes_callback),
        ..context_of(delivery, index, head)
    };
    delivery.response.problem(problem, &context);
    record(delivery, index, head, route, problem.status);
    delivery.connections.enter(index, State::Idle);
}

pub(super) fn context_of<'b>(
    delivery: &Delivery,
    index: u32,
    head: &Head<'b>,
) -> ResponseContext<'b> {
    let heads = &delivery.response.heads;
    ResponseContext {
        keep_alive: KeepAlive::of(delivery.connections[index].flags),
        head_only: head.method == Method::Head,
        origin: head.origin.and_then(|origin| heads.echoed(origin)),
        callback: None,
    }
}

fn execute<'b>(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    operation: Operation<'b>,
    body: &[u8],
    context: &ResponseContext<'b>,
) -> Result<Reply, Problem> {
    let Delivery { hub, response, .. } = delivery;
    match operation {
        Operation::Receive {
            receive,
            names,
            mut params,
            identity,
        } => {
            let is_too_early = match &mut requests.log {
                Log::Clustered(log) => {
                    params.since = judge(hub, log, receive, &params);
                    is_too_early(log, params.since)
                }
                _ => false,
            };
            let request = ReceiveRequest {
                index,
                receive,
                names: &names,
                params: &params,
                identity: &identity,
                start: start(hub, receive, &names, params.since),
                context,
            };
            if is_too_early {
                return Ok(Reply::Now(turn_away(delivery, &request)?));
            }
            return receive_with(delivery, &request);
        }
        Operation::Publish {
            channel,
            event,
            key,
            end,
        } => {
            let draft = match end && body.is_empty() {
                true => Draft {
                    key,
                    ..Draft::end(channel.borrowed())
                },
                false => Draft {
                    channel: channel.borrowed(),
                    data: accept(head.content_type, body)?,
                    event,
                    key,
                    kind: match end {
                        true => DraftKind::Last,
                        false => DraftKind::Message,
                    },
                },
            };
            let buffers = &delivery.connections.buffers;
            requests.check_room_to_wait(buffers, 0)?;
            if let Log::Clustered(log) = &mut requests.log {
                return hand_over(log, delivery, index, head, context, draft);
            }
            let published = requests.log.publish(hub, draft);
            let published = published.map_err(|(refusal, _)| Problem::from(refusal))?;
            if let Some(mark) = requests.log.unsaved_publish(&published, end) {
                let mut json = Vec::new();
                write_published(&mut json, &channel, &published);
                await_log(delivery, index, head, context, mark, Some(json));
                return Ok(Reply::WaitsForLog);
            }
            response.json_with(context, |out| write_published(out, &channel, &published));
        }
        Operation::PublishLines(identity) => {
            let buffers = &delivery.connections.buffers;
            // The results may be longer than the body.
            requests.check_room_to_wait(buffers, 4 * body.len())?;
            let access = delivery.connections[index].access;
            let rights = requests.authorizer.rights();
            let permit = |name: &str| publish_to(rights, &identity, access, name);
            let max_bytes = requests.max_body_bytes;
            if let Log::Clustered(log) = &mut requests.log {
                let handed = hand_over_batch(log, hub, body, max_bytes, permit)?;
                let Some((ticket, unnumbered)) = handed else {
                    response.json(context, b"{\"published\":[]}");
                    return Ok(Reply::Now(200));
                };
                await_ids(delivery, index, head, context, ticket, unnumbered);
                return Ok(Reply::WaitsForLog);
            }
            let (answer, newest) = publish_batch(&mut requests.log, hub, body, max_bytes, permit)?;
            if let Some(mark) = newest.and_then(|newest| requests.log.unsaved(newest)) {
                await_log(delivery, index, head, context, mark, Some(answer));
                return Ok(Reply::WaitsForLog);
            }
            response.json(context, &answer);
        }
        Operation::PublishByLines { .. } => unreachable!("its lines are taken as they come"),
        Operation::Channels => {
            let mut listing = Listing::new(head.query)?;
            if !listing.advance(hub) {
                return Ok(defer(
                    requests,
                    delivery,
                    index,
                    context,
                    Deferred::Listing(listing),
                ));
            }
            response.json(context, &listing.finish(hub));
        }
        Operation::ShowChannel(name) => response.json(context, &show_channel(hub, &name)?),
        Operation::DeleteHistory(name) => {
            requests.check_room_to_wait(&delivery.connections.buffers, 0)?;
            if let Log::Clustered(log) = &mut requests.log {
                // Another node may know the channel even if this one does not.
                let ticket = log.delete(&name)?;
                await_log(delivery, index, head, context, ticket.into(), None);
                return Ok(Reply::WaitsForLog);
            }
            delete_history(&mut requests.log, hub, &name)?;
            if let Some(mark) = requests.log.unsaved_end() {
                await_log(delivery, index, head, context, mark, None);
                return Ok(Reply::WaitsForLog);
            }
            response.no_content(context);
            return Ok(Reply::Now(204));
        }
        Operation::CountConnections => {
            return find_connections(requests, delivery, index, head, Action::Count, context);
        }
        Operation::EndConnections => {
            return find_connections(requests, delivery, index, head, Action::End, context);
        }
        Operation::Nodes => response.json(context, &nodes::list(&requests.log)?),
        Operation::Healthz => response.text(context, "ok\n"),
        Operation::Readyz if delivery.drain.is_some() => {
            return Err(draining());
        }
        Operation::Readyz => match requests.log.unready() {
            None => response.text(context, "ready\n"),
            Some(reason) => return Err(unready(reason)),
        },
        Operation::Metrics => {
            let tokens = requests.authorizer.tokens().counts();
            let text = metrics::text(delivery, tokens, &requests.log);
            let content_type = "text/plain; version=0.0.4; charset=utf-8";
            delivery
                .response
                .content(context, content_type, text.as_bytes());
        }
        Operation::Page => {
            if let Some(page) = &requests.page {
                page.write(response, context);
            }
        }
        Operation::Client => requests.client.write(response, context, head.if_none_match),
        Operation::Cursor
            if requests
                .log
                .as_clustered()
                .is_some_and(|log| log.is_warming()) =>
        {
            return Err(Refusal::LogWarming.into());
        }
        Operation::Cursor => {
            let cursor = hub.id(hub.head());
            response.json_with(context, |out| cursor_object(out, cursor));
        }
        // A health check may ask by OPTIONS. A preflight is answered: it says what a page may send,
        // and lets it read that the server is draining.
        Operation::Preflight(Route::Readyz)
            if delivery.drain.is_some() && head.preflight_method.is_none() =>
        {
            return Err(draining());
        }
        Operation::Preflight(Route::Readyz)
            if head.preflight_method.is_none()
                && let Some(reason) = requests.log.unready() =>
        {
            return Err(unready(reason));
        }
        Operation::Preflight(route) => {
            write_preflight(response, context, head, route);
            return Ok(Reply::Now(204));
        }
    }
    Ok(Reply::Now(200))
}

/// Hands a message to the log of a cluster.
#[cold]
fn hand_over(
    log: &mut Clustered,
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    context: &ResponseContext<'_>,
    draft: Draft<'_>,
) -> Result<Reply, Problem> {
    let Delivery { hub, response, .. } = delivery;
    let channel = draft.channel.clone();
    match log.publish(hub, &draft)? {
        Placed::Now(published) => {
            response.json_with(context, |out| write_published(out, &channel, &published));
            Ok(Reply::Now(200))
        }
        Placed::Later { ticket, message } => {
            let unnumbered = Unnumbered::one(Form::One, &channel, message);
            await_ids(delivery, index, head, context, ticket, unnumbered);
            Ok(Reply::WaitsForLog)
        }
    }
}

/// Whether a node of a cluster cannot serve this reader yet: it has not read the log, or not up to
/// the term of the cursor, which another node gave.
#[cold]
fn is_too_early(log: &mut Clustered, since: Since) -> bool {
    log.is_warming() || matches!(since, Since::Later(term) if log.may_come(term))
}

/// Serves a receiving endpoint.
fn receive_with(
    delivery: &mut Delivery,
    request: &ReceiveRequest<'_, '_>,
) -> Result<Reply, Problem> {
    let index = request.index;
    // One call of each, so that the compiler writes it where it is called: polls are hot.
    let status = match request.receive.stream() {
        Some(transport) => open_stream(delivery, transport, request)?,
        None => {
            open_poll(delivery, request)?;
            status::OK
        }
    };
    Ok(match delivery.connections[index].state() {
        State::Held | State::Streaming | State::Closing => Reply::Later(status),
        _ => Reply::Now(status),
    })
}

/// Counts or ends the connections of a token's subject.
fn find_connections(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    action: Action,
    context: &ResponseContext<'_>,
) -> Result<Reply, Problem> {
    let mut search = Search::new(head.query, action)?;
    if action == Action::End && matches!(requests.log, Log::Clustered(_)) {
        let ticket = kick(requests, delivery, search)?;
        await_log(delivery, index, head, context, ticket.into(), None);
        return Ok(Reply::WaitsForLog);
    }
    if let Some((subject, block_s)) = search.block() {
        let until_ms = delivery.unix_ms.saturating_add(block_s * 1_000);
        // fault: block-is-ignored
        requests.authorizer.tokens_mut().block(subject, until_ms);
    }
    if !search.advance(delivery) {
        let work = Deferred::Search(search);
        return Ok(defer(requests, delivery, index, context, work));
    }
    let body = search.finish(node_of(&requests.log));
    delivery.response.json(context, &body);
    Ok(Reply::Now(200))
}

/// Defers the response to the present request to later ticks.
fn defer(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    context: &ResponseContext<'_>,
    work: Deferred,
) -> Reply {
    let response = DeferredResponse::new(delivery, index, context, work);
    requests.deferred.push_back(response);
    Reply::Later(status::OK)
}

/// Keeps the response to the present request, 200 with this JSON or 204, until the log is saved up
/// to a place.
#[cold]
pub(super) fn await_log(
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    context: &ResponseContext<'_>,
    mark: Mark,
    json: Option<Vec<u8>>,
) {
    let answer = answer_later(index, head, context, json);
    wait_for_log(delivery, index, mark, answer);
}

/// Keeps the response to the present request until the log of the cluster has numbered what it is
/// made of.
#[cold]
fn await_ids(
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    context: &ResponseContext<'_>,
    ticket: Ticket,
    unnumbered: Unnumbered,
) {
    let answer = answer_later(index, head, context, None);
    wait_for_ids(delivery, index, ticket, answer, unnumbered);
}

// Always inline: it is large, and would be copied.
#[inline(always)]
fn answer_later(
    index: u32,
    head: &Head<'_>,
    context: &ResponseContext<'_>,
    json: Option<Vec<u8>>,
) -> Answer {
    log::debug!(
        target: "encke::access",
        "connection {index}: {} {} waits for the log",
        head.method,
        head.path.escape_ascii(),
    );
    Answer::Http {
        context: context.without_callback(),
        endpoint: endpoint_of(Route::of(head.path)),
        json,
    }
}

/// Why the server should be sent no clients.
fn unready(reason: Refusal) -> Problem {
    match reason {
        Refusal::LogSilent { silent_s } => {
            let detail = format!("this node has not heard the engine for {silent_s} s");
            Problem::new(503, detail).with("Retry-After", "5")
        }
        reason => reason.into(),
    }
}

fn draining() -> Problem {
    Problem::unavailable("the server is draining", 1)
}

/// Writes the response to OPTIONS, a CORS preflight among them (Fetch standard, section 3.2).
fn write_preflight(
    response: &mut ResponseWriter,
    context: &ResponseContext<'_>,
    head: &Head<'_>,
    route: Route<'_>,
) {
    let ResponseWriter { heads, out, .. } = response;
    heads.begin(out, context, 204);
    field(out, "Allow", route.allow());
    let may_read = match head.origin {
        Some(origin) => heads.allows(origin),
        None => heads.allows_any(),
    };
    if head.preflight_method.is_some() && may_read {
        field(out, "Access-Control-Allow-Methods", route.allow());
        field(out, "Access-Control-Allow-Headers", ALLOWED_FIELDS);
        field(out, "Access-Control-Max-Age", "86400");
    }
    heads.end(out, BodyLength::None);
}

/// Counts a request and writes its line of the access log.
pub(super) fn record(
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    route: Option<Route<'_>>,
    status: u16,
) {
    let endpoint = endpoint_of(route);
    delivery.connections.stats.requests.count(endpoint, status);
    // At debug level: a line per request is too much in production.
    log::debug!(
        target: "encke::access",
        "connection {index}: {} {} {status}",
        head.method,
        head.path.escape_ascii(),
    );
}

fn endpoint_of(route: Option<Route<'_>>) -> Endpoint {
    route.map_or(Endpoint::Other, |route| route.endpoint())
}
