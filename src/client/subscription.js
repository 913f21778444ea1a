// Subscriptions: what one part of a page follows.
//
// Owns the order of its callbacks, what waits for `load`, and how far it has come. Invariant: between two gaps
// it is given every message of its channels once, in order.

import { isAfter, isCursor } from './cursor.js';
import { backoff, sleep } from './later.js';

/** @typedef {import('./types.js').StreamObject} StreamObject */
/** @typedef {import('./types.js').Flag} Flag */
/** @typedef {ReturnType<typeof subscription>} Subscription */

/** More messages than these do not wait: they are fetched again when it has caught up. */
const MAX_WAITING = 1_000;

/** @type {Flag} */
let hasWarned;

/** @param {unknown} error */
const report = (error) => (globalThis.reportError || console.error)(error);

/**
 * Starts one. Members with an underscore are the client's own.
 * @param {string[]} channels
 * @param {import('./types.js').SubscribeOptions & { _onClose?: (error?: Error) => unknown }} options
 * @param {() => void} changed it is behind, or closed
 */
export function subscription(channels, { since, load, onMessage, onGap, onEnd, onError, _onClose: onClose }, changed) {
  /** @type {StreamObject[]} */
  let queue = [];
  /** What the connection brought while the backlog is fetched. @type {StreamObject[]} */
  let held = [];
  /** @type {Flag} */
  let isBusy;
  /** The channels that have ended. @type {Set<string | undefined>} */
  const over = new Set();
  /** Something did not fit: nothing after it is taken. @type {Flag} */
  let isBehind;
  /** What did not fit was held. @type {Flag} */
  let hasDropped;
  let mustLoad = load;
  /** @type {(_?: any) => void} */
  let drained = () => {};

  /**
   * @param {((one: any, two: any) => unknown) | undefined} callback
   * @param {unknown} [one]
   * @param {unknown} [two]
   */
  const call = (callback, one, two) => {
    try {
      const waits = /** @type {any} */ (callback?.(one, two));
      return waits?.catch?.(report);
    } catch (error) {
      report(error);
    }
  };

  /** @param {StreamObject} object */
  const tell = (object) => {
    const { id, channel, data, encoding, gap } = object;
    sub.cursor = id || object.cursor || sub.cursor;
    if (id) {
      if (!channels.includes(/** @type {string} */ (channel))) return;
      // Several subscriptions may be given the same.
      if (encoding && !/** @type {any} */ (data).buffer) {
        object.data = Uint8Array.from(atob(/** @type {string} */ (data)), (c) => c.charCodeAt(0));
      }
      return call(onMessage, object, sub);
    }
    if (gap) {
      hasWarned ||= !(onGap || load || console.warn('encke gap: set onGap or load'));
      mustLoad = load;
      return call(onGap);
    }
    if (sub._isDone && !queue[0]) {
      sub.close();
      call(onEnd);
    }
  };

  /** Loads the state, again and again if that fails: without it the messages mean nothing. */
  const reload = async () => {
    for (let failures = 1; mustLoad && !sub.closed; failures += 1) {
      try {
        await mustLoad();
        mustLoad = undefined;
      } catch (error) {
        report(error);
        await sleep(backoff(failures));
      }
    }
  };

  /** Calls back for what is in the queue, unless something is under way. */
  const pump = () => {
    while (!isBusy && !sub.closed) {
      const object = mustLoad && isCursor(sub.at) || queue.shift();
      if (!object) {
        if (isBehind && sub._isReady) {
          isBehind = sub._isReady = false;
          changed();
        }
        return drained();
      }
      const waits = object === true ? reload() : tell(object);
      isBusy = waits?.then(() => {
        isBusy = false;
        pump();
      });
    }
  };

  const sub = {
    channels,
    /** How far it has been told: its last callback is after this. */
    cursor: '',
    closed: false,
    /** Ends it. @param {Error} [error] why, for the client's own */
    close(error) {
      if (sub.closed) return;
      sub.closed = true;
      drained();
      onClose?.(error);
      changed();
    },

    /** Up to where messages are in the queue: a cursor, or where to begin. */
    at: since || 'now',
    /** Whether all from `at` on comes from the connection. */
    _isReady: false,
    _isFetching: false,
    /** Whether all its channels have ended, by what is last in the queue. @type {Flag} */
    _isDone: false,

    /** @param {StreamObject} object from the connection */
    _hear(object) {
      if (sub._isReady) return sub._push(object);
      // What follows a restart does not wait behind what was before.
      if (object.gap) held = [];
      if (held.push(object) > MAX_WAITING) {
        held = [];
        hasDropped = true;
      }
    },

    /** @param {StreamObject} object */
    _push(object) {
      const { id, channel, cursor, end, ended = [], gap } = object;
      const place = id || cursor;
      // What tells of an end may tell nothing else, and so be where it is already.
      const isNew = !place || isAfter(place, sub.at, gap) || place === sub.at && (end || ended[0]);
      if (!isNew || sub._isDone || (isBehind ||= queue[MAX_WAITING])) return;
      if (place) sub.at = place;
      // What is lost may have opened a channel again. Those that have ended are told after it.
      if (gap) over.clear();
      ended.forEach(over.add, over);
      // A message opens its channel again.
      over.delete(channel);
      sub._isDone = end || channels.every((name) => over.has(name));
      queue.push(object);
      pump();
    },

    /** The backlog is in the queue: from here on the connection has the rest. */
    _ready() {
      isBehind ||= hasDropped;
      hasDropped = false;
      sub._isReady = true;
      held.splice(0).forEach(sub._push);
      pump();
    },

    /** It brings itself up to the present before it goes on. */
    _detach() {
      sub._isReady = false;
      held = [];
    },

    /** Waits until the queue is short. What is fetched then is taken. */
    async _room() {
      while (queue.length > MAX_WAITING / 2 && !sub.closed) await new Promise((done) => { drained = done; });
      isBehind = false;
    },

    /** @param {Error} error it is refused, and over */
    _fail(error) {
      sub.close(error);
      call(onError || report, error);
    },
  };
  return sub;
}
