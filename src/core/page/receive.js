'use strict';
// The seven ways to receive, each implemented as a client would do it.
//
// Owns requests, cursors and retry delays. It displays nothing: it reports events to the callbacks in
// `on`. Each technique begins with `start(link)` and ends when `link.signal` is aborted.
//
// `link`: { channel, since, signal, on }, where `on` has the callbacks
//   asked()          a request is sent; returns a span, whose `head()` and `end(failed)` are called later
//   bytes(n, about)  body bytes arrived; `about`: estimated, because the browser does not report them
//   message(object)  a message arrived
//   alive(beatMs)    a heartbeat or the opening cursor arrived; the interval, once it is known
//   gap()            messages were lost
//   ended()          the channel has ended: it stops
//   waits(ms, why)   the next request is sent after this time
//   lost()           a connection or a request broke
//   verdict(text, isBad)

const MAX_BACKOFF_MS = 30_000;
// Timeout of a poll: longer than any hold.
const POLL_PATIENCE_MS = 150_000;
// Timeout of a silent stream whose heartbeat interval is not known yet.
const SILENCE_MS = 45_000;
// If a byte arrives later than this, beyond the time of a plain response, something on the way buffers.
const LATE_MS = 500;

const now = () => performance.now();

/** A delay that doubles with each attempt, randomised so that clients that fail together retry at different times. */
function backoff(attempt) {
  const most = Math.min(MAX_BACKOFF_MS, 500 * 2 ** Math.min(attempt, 10));
  return most / 2 + Math.random() * most / 2;
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => { clearTimeout(timer); signal.removeEventListener('abort', done); resolve(); };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}

const names = (channel) => channel.split(',').map((name) => encodeURIComponent(name)).join(',');

function address(endpoint, channel, parameters) {
  const query = new URLSearchParams(parameters).toString();
  return `${endpoint}/${names(channel)}${query && '?' + query}`;
}

/** Statuses after which a request is not repeated, because it would get the same response. */
const FINAL = [400, 401, 403, 404, 414, 431];

/** A refusal: the detail of the response, and the delay before the next request. */
class Refused extends Error {
  static async from(response) {
    const problem = await response.json().catch(() => ({}));
    const refused = new Refused(problem.detail || `status ${response.status}`);
    refused.status = response.status;
    const seconds = Number(response.headers.get('Retry-After'));
    refused.leastMs = seconds > 0 ? seconds * 1000 : 0;
    refused.isFinal = FINAL.includes(response.status);
    return refused;
  }
}

/** The reason of a refusal, which an EventSource and a frame do not report: from a HEAD request for the same URL. */
async function refusal(endpoint, link) {
  const response = await fetch(address(endpoint, link.channel), { method: 'HEAD', signal: link.signal });
  if (!response.ok) throw await Refused.from(response);
  throw new Error('closed');
}

/** The time of a plain response, with which other times are compared. */
const plain = {
  ms: null,
  async measure(channel) {
    const start = now();
    const response = await fetch(address('poll', channel, { since: 'now', limit: 1 }));
    if (!response.ok) throw await Refused.from(response);
    await response.arrayBuffer();
    this.take(now() - start);
  },
  take(ms) { this.ms = this.ms === null ? ms : Math.min(this.ms, ms); },
  isLate(ms) { return this.ms !== null && ms > LATE_MS + 4 * this.ms; },
};

const shown = (ms) => ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;

/** Asks again and again. `ask` returns how long to wait before the next time. */
async function repeat(link, ask) {
  let failures = 0;
  while (!link.signal.aborted) {
    let wait;
    let why = '';
    try {
      wait = await ask();
      failures = 0;
    } catch (error) {
      if (link.signal.aborted) return;
      if (error.isFinal) return link.on.waits(null, error.message);
      link.on.lost();
      wait = backoff(failures) + (error.leastMs || 0) * (1 + Math.random() / 2);
      why = error instanceof Refused ? error.message : 'no answer';
      failures += 1;
    }
    if (wait > 0) {
      link.on.waits(wait, why);
      await sleep(wait, link.signal);
    }
  }
}

/** One poll, held or not. Returns its batch and how it went. */
async function poll(link, endpoint, parameters) {
  const span = link.on.asked();
  const start = now();
  const patience = AbortSignal.timeout(POLL_PATIENCE_MS);
  try {
    const signal = AbortSignal.any([link.signal, patience]);
    const response = await fetch(address(endpoint, link.channel, parameters), { signal });
    const headMs = now() - start;
    span.head();
    if (!response.ok) throw await Refused.from(response);
    const body = await response.arrayBuffer();
    link.on.bytes(body.byteLength);
    const batch = JSON.parse(new TextDecoder().decode(body));
    span.end(false);
    if (batch.gap) link.on.gap();
    for (const message of batch.messages) link.on.message(message);
    if (batch.end) link.on.ended();
    return { batch, headMs, bodyMs: now() - start };
  } catch (error) {
    span.end(!link.signal.aborted);
    const heldMs = now() - start;
    if (!link.signal.aborted && !(error instanceof Refused) && heldMs > 5000) {
      link.on.verdict(`broken off after ${shown(heldMs)}: something on the way closes waiting requests`, true);
    }
    throw error;
  }
}

/** A random delay within `spread`. */
const apart = (batch) => Math.random() * (batch.spread || 0);

async function startPolling(link) {
  let since = link.since;
  let advised = 1000;
  await repeat(link, async () => {
    const { batch, bodyMs } = await poll(link, 'poll', { since });
    since = batch.cursor;
    plain.take(bodyMs);
    // A batch with messages has no `retry`: use the last one, at most a second.
    if (batch.retry) advised = batch.retry;
    const wait = batch.more ? 0 : batch.retry || Math.min(advised, 1000);
    link.on.verdict(`answered in ${shown(bodyMs)}`, false);
    return wait + apart(batch);
  });
}

async function startLongPolling(link, isEarly) {
  let since = link.since;
  let empties = 0;
  await repeat(link, async () => {
    const parameters = isEarly ? { since, early: 1 } : { since };
    const { batch, headMs, bodyMs } = await poll(link, 'long-poll', parameters);
    since = batch.cursor;
    const waitedMs = bodyMs - headMs;
    if (!isEarly) {
      link.on.verdict(batch.messages.length ? `answered ${shown(bodyMs)} after asking` : `held for ${shown(bodyMs)}`, false);
    } else if (plain.isLate(headMs) && waitedMs < headMs / 10) {
      link.on.verdict(`the head came with the body, after ${shown(headMs)}: something on the way buffers responses`, true);
    } else {
      link.on.verdict(`head after ${shown(headMs)}, body after ${shown(bodyMs)}`, false);
    }
    // Back off if polls end at once, empty or with a gap, to avoid a tight loop.
    const isHold = batch.messages.length > 0 && !batch.gap;
    empties = isHold || bodyMs > 1000 ? 0 : empties + 1;
    const least = batch.retry || (empties > 1 ? backoff(empties) : 0);
    return least + apart(batch);
  });
}

/**
 * The common part of the four streams: their opening, and the timeout for silence. Silence
 * is the only sign of some broken connections: a frame whose connection is cut continues to load, and
 * no event reports it.
 */
class Stream {
  constructor(link, close) {
    this.link = link;
    this.close = close;
    this.start = now();
    this.span = link.on.asked();
    this.firstMs = null;
    // Kept in `link`, so that the next stream knows the heartbeat interval.
    this.pulse = link.pulse ??= { beatMs: null, silenceMs: SILENCE_MS };
    this.wasBeat = false;
    this.last = now();
    this.watch = setInterval(() => this.look(), 1000);
  }

  /** Something arrived. */
  heard() {
    this.last = now();
    this.wasBeat = false;
    if (this.firstMs !== null) return;
    this.firstMs = now() - this.start;
    this.span.head();
    if (plain.isLate(this.firstMs)) {
      this.link.on.verdict(`first byte after ${shown(this.firstMs)}, a plain answer takes ${shown(plain.ms)}: something on the way buffers`, true);
    } else {
      this.link.on.verdict(`first byte after ${shown(this.firstMs)}`, false);
    }
  }

  /** A heartbeat or the opening cursor arrived. Heartbeats have a constant interval. */
  beat() {
    const { pulse, wasBeat } = this;
    const silence = now() - this.last;
    this.heard();
    this.wasBeat = true;
    if (wasBeat && silence < pulse.beatMs / 2 && pulse.beatMs > 900) {
      this.link.on.verdict('heartbeats arrive in bursts: something on the way buffers', true);
    } else if (wasBeat) {
      pulse.beatMs = Math.max(pulse.beatMs || 0, silence);
      pulse.silenceMs = 2.5 * pulse.beatMs + 1000;
    }
    this.link.on.alive(pulse.beatMs);
  }

  object(object) {
    if (object.id !== undefined) {
      this.heard();
      this.link.on.message(object);
    } else if (object.gap) {
      this.heard();
      this.link.on.gap();
    } else if (object.end) {
      this.link.on.ended();
    } else if (object.ended) {
      this.heard();
    } else {
      this.beat();
    }
  }

  look() {
    if (this.firstMs === null && plain.isLate(now() - this.start) && now() - this.start > 3000) {
      this.link.on.verdict(`nothing for ${shown(now() - this.start)}: no connection is free, or something on the way buffers`, true);
    }
    const { pulse } = this;
    if (now() - this.last < pulse.silenceMs) return;
    this.link.on.verdict(`silent for ${shown(pulse.silenceMs)}: reconnecting`, true);
    // The heartbeat interval may be longer than assumed.
    if (pulse.beatMs === null) pulse.silenceMs *= 2;
    this.close();
  }

  end(failed) {
    clearInterval(this.watch);
    this.span.end(failed);
  }
}

/** An EventSource reconnects by itself, after the delay of `retry:`, with the last id. */
async function startEventSource(link) {
  let last = link.since;
  const known = new Set();
  await repeat(link, () => new Promise((resolve, reject) => {
    const source = new EventSource(address('sse', link.channel, { since: last, envelope: 1 }));
    let stream = null;
    const abort = () => finish(resolve, false);
    const finish = (settle, failed) => {
      source.close();
      link.signal.removeEventListener('abort', abort);
      link.hear = null;
      stream?.end(failed);
      settle(0);
    };
    const open = () => {
      stream = new Stream(link, () => {});
      // Heartbeats are comments, which an EventSource does not report, so silence means nothing.
      stream.look = () => { if (stream.firstMs === null) Stream.prototype.look.call(stream); };
    };
    const event = (take) => ({ data, lastEventId, type }) => {
      if (stream === null) open();
      last = lastEventId;
      link.on.bytes(lastEventId.length + type.length + data.length + 24, true);
      take(data);
    };
    const message = event((data) => stream.object(JSON.parse(data)));
    // Registers a listener for events with a name, as an EventSource requires.
    link.hear = (name) => {
      if (known.has(name) || name === 'open' || name === 'error') return false;
      known.add(name);
      source.addEventListener(name, message);
      return true;
    };
    link.signal.addEventListener('abort', abort);
    source.addEventListener('message', message);
    for (const name of known) source.addEventListener(name, message);
    source.addEventListener('cursor', event(() => stream.beat()));
    source.addEventListener('gap', event(() => stream.object({ gap: true })));
    source.addEventListener('end', event(() => stream.object({ end: true })));
    source.addEventListener('error', () => {
      if (link.signal.aborted) return;
      if (source.readyState === EventSource.CLOSED) return finish(() => refusal('sse', link).catch(reject), true);
      const hadOpened = stream !== null && stream.firstMs !== null;
      stream?.end(!hadOpened);
      link.on.lost();
      link.on.waits(null, 'reconnects by itself');
      open();
    });
    open();
  }));
}

async function startNdjson(link) {
  let since = link.since;
  await repeat(link, async () => {
    const cut = new AbortController();
    const stream = new Stream(link, () => cut.abort());
    const take = (object) => {
      since = object.id || object.cursor || since;
      stream.object(object);
    };
    try {
      const signal = AbortSignal.any([link.signal, cut.signal]);
      const response = await fetch(address('ndjson', link.channel, { since }), { signal });
      if (!response.ok) throw await Refused.from(response);
      const last = await readLines(response, link, take);
      stream.end(false);
      return comeBack(link, last);
    } catch (error) {
      stream.end(!link.signal.aborted);
      throw error;
    }
  });
}

/** The retry delay of a stream that ended; throws if it ended without one. */
function comeBack(link, last) {
  if (!last || last.retry === undefined) throw new Error('cut');
  link.on.lost();
  return last.retry;
}

/** Passes each line as JSON to `take`, and returns the last. */
async function readLines(response, link, take) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let last = null;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return last;
    link.on.bytes(value.byteLength);
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      last = JSON.parse(line);
      take(last);
    }
  }
}

/** A document that does not end, in a hidden iframe; its scripts post the messages. */
async function startFrame(link) {
  let since = link.since;
  await repeat(link, () => new Promise((resolve, reject) => {
    const frame = document.createElement('iframe');
    frame.hidden = true;
    frame.title = 'forever frame';
    let last = null;
    const finish = () => {
      window.removeEventListener('message', hear);
      link.signal.removeEventListener('abort', finish);
      frame.remove();
      const isBroken = !link.signal.aborted && (last === null || last.retry === undefined);
      stream.end(isBroken);
      if (link.signal.aborted) return resolve(0);
      if (isBroken) return last === null ? refusal('frame', link).catch(reject) : reject(new Error('cut'));
      return resolve(comeBack(link, last));
    };
    const hear = ({ source, origin, data }) => {
      if (source === window && data === frame.src) return finish();
      if (source !== frame.contentWindow || origin !== location.origin) return;
      last = data;
      since = data.id || data.cursor || since;
      // The size of the script around the object, and once of the document around the scripts.
      const around = stream.firstMs === null ? 2400 : 0;
      link.on.bytes(JSON.stringify(data).length + 30 + around, true);
      stream.object(data);
    };
    const stream = new Stream(link, finish);
    window.addEventListener('message', hear);
    link.signal.addEventListener('abort', finish);
    // A document that has loaded has ended, or is an error page. What its scripts have posted is still on its way.
    frame.addEventListener('load', () => window.postMessage(frame.src, location.origin));
    frame.src = address('frame', link.channel, { since });
    document.body.append(frame);
  }));
}

/** A WebSocket: the objects of NDJSON, one a frame; the last is the reason of the close frame. */
async function startSocket(link) {
  let since = link.since;
  await repeat(link, () => new Promise((resolve, reject) => {
    const url = new URL(address('ws', link.channel, { since }), location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = new WebSocket(url);
    const finish = ({ reason }) => {
      socket.onmessage = socket.onclose = null;
      // Browsers complain of one that is closed before it is open.
      if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
      else socket.close();
      link.signal.removeEventListener('abort', finish);
      const last = /^{/.test(reason) ? JSON.parse(reason) : null;
      if (last?.end) link.on.ended();
      stream.end(last === null && !link.signal.aborted);
      if (link.signal.aborted) return resolve(0);
      if (last !== null) return resolve(comeBack(link, last));
      // What refuses a handshake is not told to a page; a request for the same is answered alike.
      return stream.firstMs === null ? refusal('ndjson', link).catch(reject) : reject(new Error('cut'));
    };
    const stream = new Stream(link, () => finish({}));
    link.signal.addEventListener('abort', finish);
    socket.onclose = finish;
    socket.onmessage = ({ data }) => {
      const object = JSON.parse(data);
      since = object.id || object.cursor || since;
      // The bytes of the frame's head; those of the text are about its letters.
      link.on.bytes(data.length + (data.length < 126 ? 2 : 4), true);
      stream.object(object);
    };
  }));
}

const TECHNIQUES = [
  { id: 'poll', kind: 'poll', short: 'poll', name: 'Polling', how: 'A request that is answered at once, repeated after the advised delay.', start: startPolling },
  { id: 'long-poll', kind: 'hybrid', short: 'long', name: 'Long polling', how: 'The response waits for a message.', start: (link) => startLongPolling(link, false) },
  { id: 'early', kind: 'hybrid', short: 'early', name: 'Long polling, early head', how: 'The head at once, the body with the message.', start: (link) => startLongPolling(link, true) },
  { id: 'sse', kind: 'stream', short: 'SSE', name: 'Server-sent events', how: 'EventSource: one response that does not end.', start: startEventSource },
  { id: 'ndjson', kind: 'stream', short: 'NDJSON', name: 'NDJSON', how: 'The same, read by fetch, line by line.', start: startNdjson },
  { id: 'frame', kind: 'stream', short: 'frame', name: 'Forever frame', how: 'A hidden iframe whose scripts post messages.', start: startFrame },
  { id: 'ws', kind: 'stream', short: 'WS', name: 'WebSocket', how: 'A connection that both sides write to; one message a frame.', start: startSocket },
];
