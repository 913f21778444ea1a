// The client: subscriptions on one connection, shared by all tabs.
//
// Owns what is followed, by which role of this tab, and from where. It displays and stores nothing. Nothing here
// touches a page before `connect` is called, so that it can be imported anywhere.

import { TRANSPORTS } from './transports.js';
import { publisher } from './publish.js';
import { connection as begin } from './connection.js';
import { EnckeError, http as requests } from './http.js';
import { backoff, sleep } from './later.js';
import { ALONE, FOLLOWER, LEADER, STARTING, canShare, tabs as takePart } from './tabs.js';
import { isAfter, isCursor, oldest, unpack } from './cursor.js';
import { subscription } from './subscription.js';

/** @typedef {import('./types.js').StreamObject} StreamObject */
/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Flag} Flag */
/** @typedef {import('./subscription.js').Subscription} Subscription */

export { EnckeError };

/** The most channels of one request. */
const MAX_CHANNELS = 64;
/** Changes within this time make one request, in milliseconds. */
const GATHER_MS = 10;
/** The least time between two polls of a hidden page, with `hidden: 'poll'`. */
const HIDDEN_REST_MS = 15_000;

/** @param {{ channels: string[] }[]} all */
const channelsOf = (all) => [...new Set(all.flatMap(({ channels }) => channels))];

/**
 * A connection to an encke server, made when there is something to follow.
 * @param {string | URL} url default: where this module came from
 * @param {Options} options
 */
export function connect(url = new URL('.', import.meta.url), options = {}) {
  const base = new URL(`${url}`.replace(/\/?$/, '/'), globalThis.location?.href);
  // A WebSocket sends no fields of an application's own.
  const canSocket = globalThis.WebSocket && !options.headers && !options.fetch;
  const { transports = Object.keys(TRANSPORTS).filter((name) => canSocket || name !== 'ws'), signal, hidden, share = true } = options;
  for (const name of transports) {
    // A package's module comes from a file, and so from no server.
    if (!TRANSPORTS[name] || !/^http/.test(base.href)) throw new EnckeError(`no ${name} to ${base}`, 400);
  }

  /** @type {Set<Subscription>} */
  const subs = new Set();
  const http = requests(base.href, options, () => channelsOf([...subs]));
  const over = new AbortController();
  const page = globalThis.document;
  /** None yet, or one of those of tabs. */
  let role = 0;
  /** @type {Flag} */
  let isSuspended;
  let isHidden = false;
  /** @type {ReturnType<typeof begin> | null} */
  let connection = null;
  /** @type {ReturnType<typeof takePart> | null} */
  let tabs = null;
  /** Ends what this role has begun. */
  let stop = new AbortController();
  /** Up to where everything of `follows` has come: a cursor, or where to begin. */
  let at = '';
  /** What the connection, of whichever tab, follows. @type {string[]} */
  let follows = [];
  /** From where on it does. @type {string | undefined} */
  let followsSince = '';
  /** @type {Flag} */
  let hasSplit;
  /** @type {any} */
  let timer;

  /**
   * @param {string} state
   * @param {string} [why]
   * @param {number} [retryInMs]
   */
  function say(state, why, retryInMs, transport = connection?.used() || encke.transport) {
    if (state === 'waiting' && globalThis.navigator?.onLine === false) state = 'offline';
    if (over.signal.aborted || state === encke.state && transport === encke.transport && !why) return;
    Object.assign(encke, { state, transport });
    const detail = { state, transport, why, retryInMs };
    if (role === LEADER) tabs?.tell({ state: detail });
    encke.dispatchEvent(Object.assign(new Event('state'), { detail }));
  }

  /** Something has changed. */
  function refresh(ms = GATHER_MS) {
    clearTimeout(timer);
    timer = setTimeout(arrange, ms);
  }

  /** Forgets its role and what it follows, and keeps the subscriptions with their places. */
  function reset() {
    tabs?.stop();
    stop.abort();
    stop = new AbortController();
    tabs = null;
    role = 0;
    hasSplit = false;
    drop();
  }

  /** Forgets the connection. Each subscription brings itself up to the present before it goes on. */
  const drop = () => {
    connection?.stop();
    connection = null;
    at = '';
    follows = [];
    subs.forEach((sub) => sub._detach());
  };

  function suspend() {
    isSuspended = true;
    reset();
    say('suspended');
  }

  /** Whether it has no connection because the page is hidden. */
  const mustClose = () => hidden === 'close' && page?.hidden;

  function wake(isNewNetwork = false) {
    if (mustClose()) return;
    if (!isSuspended) return connection?.wake(isNewNetwork);
    isSuspended = false;
    arrange();
  }

  /** Takes up a role, as there is something to follow. */
  async function start() {
    if (isHidden || !share || !canShare()) {
      role = ALONE;
      return arrange();
    }
    role = STARTING;
    const { signal } = stop;
    const subject = await http.subject().catch(() => '');
    if (signal.aborted) return;
    tabs = takePart(`encke ${http.base} ${subject} `, {
      role(next) {
        if (next === ALONE) reset();
        // What the others follow is not followed yet by this tab's connection.
        follows = [];
        role = next;
        arrange();
      },
      changed() {
        if (isCursor(at)) tabs?.tell({ follows, since: at });
        tabs?.tell({ state: { state: encke.state, transport: encke.transport } });
        refresh();
      },
      own() {
        const all = ready();
        return { channels: channelsOf(all), at: oldest(all.map((one) => one.at)) };
      },
      told({ follows, since, object, state }) {
        if (follows) live(follows, since);
        if (object) hear(object);
        if (state) say(state.state, state.why, state.retryInMs, state.transport);
      },
    });
  }

  /** Makes this tab follow what its subscriptions ask for. */
  function arrange() {
    if (isSuspended || role === STARTING) return;
    if (!subs.size) {
      if (role) reset();
      if (!/^[ru]/.test(encke.state)) say('idle');
    } else if (!role) start();
    else if (role === FOLLOWER || isCursor(at)) subs.forEach(fetchUp);
    else open([...subs]);
    tabs?.enter();
    if (!role || role > LEADER) return;
    const wanted = ready();
    if (connection) {
      if (!wanted.every(isFollowed)) connection.change();
    } else if (wanted[0]) {
      connection = begin(http, isHidden ? ['poll'] : transports, {
        plan, take, say, refused, restMs: isHidden ? HIDDEN_REST_MS : 0,
      });
    }
  }

  /** Nothing is followed yet. @param {Subscription[]} all */
  function open(all) {
    const places = [...all, ...members()].map((one) => one.at);
    // The newest of several channels are not those of each.
    const isOne = places.every((place) => place === places[0]) && (places[0][0] !== '-' || !all[1]);
    if (isOne && !all.some((sub) => sub._isFetching)) {
      [at] = places;
      all.forEach((sub) => sub._ready());
      return;
    }
    // Each begins elsewhere: with what a poll says, and then together.
    if (at) drop();
    all.forEach(fetchUp);
  }

  /** @param {{ channels: string[] }} one */
  const isFollowed = ({ channels }) => channels.every((name) => follows.includes(name));

  /** What other tabs follow by this one's connection. */
  const members = () => tabs?.members() || [];

  /** What the connection is to follow, each with its place. */
  const ready = () => [
    ...[...subs].filter((sub) => sub._isReady && !sub._isDone), ...members(),
  ];

  /** What the next request is to follow, and from where. */
  async function plan() {
    const { signal } = stop;
    const planned = connection;
    await tabs?.sweep();
    const all = ready();
    const added = all.filter((one) => !isFollowed(one)).map((one) => one.at).filter(isCursor);
    // What is followed already is brought up to date first: else the others' history since then would come too.
    while (added[0] && follows[0] && isCursor(at)) {
      try {
        const batch = await http.batch(follows, at, signal);
        unpack(batch, take);
        if (!batch.more) break;
      } catch {
        break;
      }
    }
    const channels = channelsOf(all);
    if (connection !== planned) return;
    // It ends, and another begins when there is something to follow.
    if (!channels[0]) connection = null;
    else {
      at = oldest([at, ...added]);
      live(channels, at);
      if (isCursor(at)) tabs?.tell({ follows, since: at });
      return { channels, since: at };
    }
  }

  /**
   * From here on all of these channels comes.
   * @param {string[]} channels
   * @param {string} since
   */
  function live(channels, since) {
    follows = channels;
    followsSince = since;
    for (const sub of subs) {
      if (isFollowed(sub) && sub._isReady && isAfter(since, sub.at, true)) {
        sub._isReady = false;
        refresh();
      }
    }
  }

  /** @param {StreamObject} object from this tab's own connection */
  function take(object) {
    const place = object.id || object.cursor;
    const isFirst = !isCursor(at);
    if (isAfter(place, at, true)) at = place;
    hasSplit = false;
    if (isFirst) tabs?.tell({ follows, since: at });
    tabs?.relay(object);
    hear(object);
  }

  /** @param {StreamObject} object */
  function hear(object) {
    // From here on it brings all, in an epoch that may be another.
    if (object.gap) followsSince = object.cursor;
    for (const sub of subs) if (isFollowed(sub)) sub._hear(object);
  }

  /**
   * Brings a subscription up to the present by polls, after which it goes with the others.
   * @param {Subscription} sub
   */
  async function fetchUp(sub) {
    if (sub._isFetching || sub._isReady) return;
    sub._isFetching = true;
    const { signal } = stop;
    for (let failures = 0; !sub.closed && !sub._isReady && !signal.aborted;) {
      try {
        await sub._room();
        const batch = await http.batch(sub.channels, sub.at, signal);
        const { cursor, more } = batch;
        failures = 0;
        unpack(batch, sub._push);
        // Before the connection began to bring it, something may have been missed: the answer may be of a node that is late.
        if (isAfter(followsSince, cursor)) await sleep(backoff(1));
        else if (!more && !signal.aborted) sub._ready();
      } catch (error) {
        if (signal.aborted) break;
        if (error.isFinal) refused(error, sub);
        else {
          const ms = backoff(failures += 1, error.leastMs);
          if (!connection && role !== FOLLOWER) say('waiting', error.message, ms);
          await sleep(ms);
        }
      }
    }
    sub._isFetching = false;
    refresh(0);
  }

  /**
   * What is followed together, or by one, is refused. Returns whether the connection goes on with something else.
   * @param {EnckeError} error
   * @param {Subscription} [sub]
   */
  function refused(error, sub) {
    const isUnknown = error.status === 401 && options.token;
    if (!isUnknown) {
      if (sub) return sub._fail(error);
      if (members()[0]) {
        tabs?.abandon();
        return true;
      }
      if (subs.size > 1 && !hasSplit) {
        // One of them is refused. Each finds out by itself.
        drop();
        hasSplit = true;
        subs.forEach(fetchUp);
        return;
      }
    }
    const all = [...subs];
    reset();
    say(error.status === 401 ? 'unauthorized' : 'refused', error.message);
    all.forEach((sub) => sub._fail(error));
  }

  const encke = Object.assign(new EventTarget(), publisher(http.ask, over.signal), {
    /** connecting, open, waiting, offline, suspended, unauthorized, refused, closed; idle without subscriptions */
    state: 'idle',
    /** The transport in use, of whichever tab. */
    transport: transports[0],

    /**
     * Follows channels.
     * @param {string | string[]} channels
     * @param {import('./types.js').SubscribeOptions} [options]
     */
    subscribe(channels, options = {}) {
      const names = [...new Set(`${channels}`.split(','))];
      const sub = subscription(names, options, () => {
        if (sub.closed) subs.delete(sub);
        refresh();
      });
      subs.add(sub);
      const why = over.signal.aborted ? 'closed'
        : channelsOf([...subs])[MAX_CHANNELS] && `over ${MAX_CHANNELS} channels`;
      if (why) queueMicrotask(() => sub._fail(new EnckeError(why, 400)));
      refresh();
      return sub;
    },

    /**
     * The messages of channels, for `for await`. While the loop is busy, none is read.
     * @param {string | string[]} channels
     * @param {import('./types.js').SubscribeOptions} [options]
     */
    async *messages(channels, options) {
      // Holds one: it takes another when that is read.
      const { readable, writable } = new TransformStream();
      const writer = writable.getWriter();
      const reader = readable.getReader();
      const sub = encke.subscribe(channels, /** @type {any} */ ({
        ...options,
        onMessage: (/** @type {any} */ message) => writer.write(message).catch(() => {}),
        onError: () => {},
        _onClose: (/** @type {Error} */ error) => error ? writer.abort(error) : writer.close(),
      }));
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return;
          yield value;
        }
      } finally {
        sub.close();
      }
    },

    /** Ends all subscriptions, for good. */
    close() {
      reset();
      // From here on nothing begins.
      isSuspended = true;
      say('closed');
      subs.forEach((sub) => sub.close());
      over.abort();
    },
  });

  /** @param {any} target @param {string} types @param {(event: any) => void} heard */
  const listen = (target, types, heard) => {
    for (const type of types.split(' ')) target?.addEventListener?.(type, heard, { signal: over.signal, capture: true });
  };
  listen(globalThis, 'pagehide freeze', suspend);
  listen(globalThis, 'pageshow resume', () => wake());
  listen(globalThis, 'online', () => wake(true));
  // Not every browser has it, nor TypeScript.
  listen(/** @type {any} */ (globalThis.navigator)?.connection, 'change', () => wake(true));
  listen(signal, 'abort', encke.close);
  if (signal?.aborted) encke.close();
  /** Sees whether the page is hidden. */
  const look = () => {
    const wasHidden = isHidden;
    isHidden = hidden === 'poll' && page.hidden;
    if (mustClose()) suspend();
    else if (isHidden !== wasHidden) {
      reset();
      arrange();
    } else if (!page.hidden) wake();
  };
  listen(globalThis, 'visibilitychange', look);
  if (page) look();
  return encke;
}
