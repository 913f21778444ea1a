'use strict';
// The six ways to receive, each as a client of one's own would do it.
//
// Owns requests, cursors and the patience between them. It shows nothing: what happens is told to
// `on`. Each technique begins with `start(link)` and ends when `link.signal` is aborted.
//
// `link`: { channel, since, signal, on }, where `on` is told
//   asked()          a request goes out (returns a span to be told `head()` and `end(failed)`)
//   bytes(n, about)  body bytes came; `about`: reckoned, where the browser does not tell
//   message(object)  one message
//   alive(beatMs)    a sign of life of a stream that is no message; how often, once that is known
//   gap()            messages are lost
//   waits(ms, why)   nothing is asked for so long
//   lost()           a connection or a request broke
//   verdict(text, isBad)

const MAX_BACKOFF_MS = 30_000;
// Longer than any hold; an answer that takes longer will never come.
const POLL_PATIENCE_MS = 150_000;
// Of a stream whose heartbeat is not known yet.
const SILENCE_MS = 45_000;
// Later than this, beyond what a plain answer takes, somebody keeps bytes back.
const LATE_MS = 500;

const now = () => performance.now();

/** Twice as long each time, and never twice the same: clients that fail together come back apart. */
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

/** The same request would be answered so again, so it is not repeated. */
const FINAL = [400, 401, 403, 404, 414, 431];

/** A refusal: what the server said, and when it will hear of us again. */
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

/** Neither an EventSource nor a frame tells why it was refused. The head of the same answer does. */
async function refusal(endpoint, link) {
  const response = await fetch(address(endpoint, link.channel), { method: 'HEAD', signal: link.signal });
  if (!response.ok) throw await Refused.from(response);
  throw new Error('closed');
}

/** The time that a plain answer takes: what all else is compared with. */
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
    return { batch, headMs, bodyMs: now() - start };
  } catch (error) {
    span.end(!link.signal.aborted);
    const heldMs = now() - start;
    if (!link.signal.aborted && !(error instanceof Refused) && heldMs > 5000) {
      link.on.verdict(`broken off after ${shown(heldMs)}: something on the way ends requests that wait`, true);
    }
    throw error;
  }
}

/** A moment of one's own within the time that an audience is asked to come back over. */
const apart = (batch) => Math.random() * (batch.spread || 0);

async function startPolling(link) {
  let since = link.since;
  let advised = 1000;
  await repeat(link, async () => {
    const { batch, bodyMs } = await poll(link, 'poll', { since });
    since = batch.cursor;
    plain.take(bodyMs);
    // While messages come there is no advice: the last one holds, within reason.
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
      link.on.verdict(`the head came with the body, after ${shown(headMs)}: something on the way keeps answers back`, true);
    } else {
      link.on.verdict(`head after ${shown(headMs)}, body after ${shown(bodyMs)}`, false);
    }
    // A hold that ends at once, empty or with a gap, must not be asked for in a tight loop.
    const isHold = batch.messages.length > 0 && !batch.gap;
    empties = isHold || bodyMs > 1000 ? 0 : empties + 1;
    const least = batch.retry || (empties > 1 ? backoff(empties) : 0);
    return least + apart(batch);
  });
}

/**
 * What the three streams have in common: when they opened, and how long they may be silent. Silence
 * is all that tells of some breaks: a frame whose connection is cut goes on loading for ever, and
 * no event says so.
 */
class Stream {
  constructor(link, close) {
    this.link = link;
    this.close = close;
    this.start = now();
    this.span = link.on.asked();
    this.firstMs = null;
    // What is learnt of the heartbeat holds for the next stream too.
    this.pulse = link.pulse ??= { beatMs: null, silenceMs: SILENCE_MS };
    this.wasBeat = false;
    this.last = now();
    this.watch = setInterval(() => this.look(), 1000);
  }

  /** Anything came. */
  heard() {
    this.last = now();
    this.wasBeat = false;
    if (this.firstMs !== null) return;
    this.firstMs = now() - this.start;
    this.span.head();
    if (plain.isLate(this.firstMs)) {
      this.link.on.verdict(`first byte after ${shown(this.firstMs)}, a plain answer takes ${shown(plain.ms)}: something on the way keeps bytes back`, true);
    } else {
      this.link.on.verdict(`first byte after ${shown(this.firstMs)}`, false);
    }
  }

  /** A heartbeat came, or the cursor that opens. One follows another after always the same time. */
  beat() {
    const { pulse, wasBeat } = this;
    const silence = now() - this.last;
    this.heard();
    this.wasBeat = true;
    if (wasBeat && silence < pulse.beatMs / 2 && pulse.beatMs > 900) {
      this.link.on.verdict('heartbeats come in heaps: something on the way keeps bytes back', true);
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
    } else {
      this.beat();
    }
  }

  look() {
    if (this.firstMs === null && plain.isLate(now() - this.start) && now() - this.start > 3000) {
      this.link.on.verdict(`nothing for ${shown(now() - this.start)}: no connection is free, or something on the way keeps bytes back`, true);
    }
    const { pulse } = this;
    if (now() - this.last < pulse.silenceMs) return;
    this.link.on.verdict(`silent for ${shown(pulse.silenceMs)}: given up`, true);
    // It may be that heartbeats are rarer than was thought.
    if (pulse.beatMs === null) pulse.silenceMs *= 2;
    this.close();
  }

  end(failed) {
    clearInterval(this.watch);
    this.span.end(failed);
  }
}

/** An EventSource comes back by itself, when `retry:` says so, with the last id it has seen. */
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
      // Comments are heartbeats here, and an EventSource does not tell of them.
      stream.look = () => { if (stream.firstMs === null) Stream.prototype.look.call(stream); };
    };
    const event = (take) => ({ data, lastEventId, type }) => {
      if (stream === null) open();
      last = lastEventId;
      link.on.bytes(lastEventId.length + type.length + data.length + 24, true);
      take(data);
    };
    const message = event((data) => stream.object(JSON.parse(data)));
    // Events with names are heard by those alone who know the names.
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
    source.addEventListener('error', () => {
      if (link.signal.aborted) return;
      if (source.readyState === EventSource.CLOSED) return finish(() => refusal('sse', link).catch(reject), true);
      const hadOpened = stream !== null && stream.firstMs !== null;
      stream?.end(!hadOpened);
      link.on.lost();
      link.on.waits(null, 'comes back by itself');
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

/** A stream ended: in an orderly way it has said when to come back. */
function comeBack(link, last) {
  if (!last || last.retry === undefined) throw new Error('cut');
  link.on.lost();
  return last.retry;
}

/** Hands over each line as JSON; returns the last. */
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

/** A document that never ends, in an iframe that is never seen; its scripts post what comes. */
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
      if (source !== frame.contentWindow || origin !== location.origin) return;
      last = data;
      since = data.id || data.cursor || since;
      // The script around the object, and once the document around the scripts.
      const around = stream.firstMs === null ? 2400 : 0;
      link.on.bytes(JSON.stringify(data).length + 30 + around, true);
      stream.object(data);
    };
    const stream = new Stream(link, finish);
    window.addEventListener('message', hear);
    link.signal.addEventListener('abort', finish);
    // A document that is whole has ended, or is somebody's error page.
    frame.addEventListener('load', finish);
    frame.src = address('frame', link.channel, { since });
    document.body.append(frame);
  }));
}

const TECHNIQUES = [
  { id: 'poll', kind: 'poll', short: 'poll', name: 'Polling', how: 'Asks, is answered at once, asks again when advised.', start: startPolling },
  { id: 'long-poll', kind: 'hybrid', short: 'long', name: 'Long polling', how: 'The answer waits for an event.', start: (link) => startLongPolling(link, false) },
  { id: 'early', kind: 'hybrid', short: 'early', name: 'Long polling, early head', how: 'The head at once, the body with the event.', start: (link) => startLongPolling(link, true) },
  { id: 'sse', kind: 'stream', short: 'SSE', name: 'Server-sent events', how: 'EventSource: one answer that never ends.', start: startEventSource },
  { id: 'ndjson', kind: 'stream', short: 'NDJSON', name: 'NDJSON', how: 'The same, read by fetch, line by line.', start: startNdjson },
  { id: 'frame', kind: 'stream', short: 'frame', name: 'Forever frame', how: 'A hidden iframe whose scripts post messages.', start: startFrame },
];
