// The connection: one request after the other, by the transport that works here.
//
// Owns which transport is used, when a request is given up, and how long it waits before the next. It does not know
// where it is in the sequence: it is told before each request, and hands on what comes.

import { isCursor, unpack } from './cursor.js';
import { POLL_MS } from './http.js';
import { backoff } from './later.js';
import { TRANSPORTS } from './transports.js';

/** @typedef {import('./types.js').StreamObject} StreamObject */
/** @typedef {import('./types.js').Flag} Flag */

// Why a request was cut. What is less than `MUTE` is repeated at once.
const CHANGED = 1;
const WOKEN = 2;
const MUTE = 3;
const FAILED = 4;
const OVER = 5;

/** A stream that has not said anything by then is mute, in milliseconds. */
const MUTE_MS = 3_000;
/** For so long a transport that was left is not tried again. */
const REMEMBER_MS = 600_000;
/** A request that has lived for so long did not fail. */
const ALIVE_MS = 5_000;
/** The longest hold that a server allows by default, and some more. */
const HOLD_MS = 135_000;
/** How often a silent connection is looked at. */
const LOOK_MS = 500;

/**
 * Starts a connection.
 *
 * @param {ReturnType<import('./http.js').http>} http
 * @param {string[]} transports
 * @param {{
 *   plan: () => Promise<{ channels: string[], since: string } | undefined>,
 *   take: (object: StreamObject) => void,
 *   say: (state: string, why?: string, ms?: number) => void,
 *   refused: (error: import('./http.js').EnckeError) => unknown,
 *   restMs: number,
 * }} on `plan`: what to follow next; `take`: what came; `say`: the state of the connection; `refused`: whether there
 *   is something else to follow; `restMs`: the least time between two polls
 */
export function connection(http, transports, on) {
  /** @type {Flag} */
  let isOver;
  /** Whether the last request was answered. @type {Flag} */
  let isUp;
  /** Requests in a row that brought nothing. */
  let failures = 0;
  /** How often in a row this transport failed, and a plain poll then worked. */
  let strikes = 0;
  /** @type {Flag} */
  let isSuspect;
  /** @type {Flag} */
  let wasMute;
  /** The time of a plain poll, which is answered at once. */
  let plainMs = 0;
  /** When to come back after a stream that broke, as the server says. */
  let reconnectMs = 0;
  /** The server's last advice for polls. */
  let idleMs = 1000;
  let wokenAt = 0;
  let lookedAt = Date.now();

  // Of the present request.
  let heardAt = lookedAt;
  /** It has brought something beyond its opening, or has lived. @type {Flag} */
  let hasProgress;
  /** A silence longer than this, after a sleep, means that the connection is dead. */
  let beatMs = 0;
  /** Silence after which it is mute. */
  let patienceMs = POLL_MS;
  /** The server asks not to come back sooner. */
  let leastMs = 0;
  /** @param {number} _ why */
  let cut = (_) => {};
  let stopResting = () => {};

  // What this tab remembers of the server: the transport that works.
  const memory = `encke ${http.base}`;
  /** @param {object} [what] */
  const remember = (what) => {
    try {
      if (what) sessionStorage[memory] = JSON.stringify(what);
      return JSON.parse(sessionStorage[memory]);
    } catch {
      // There is no storage here, or nothing in it, or no room.
      return {};
    }
  };
  let { name, until = 0 } = remember();
  let place = Math.max(0, transports.indexOf(name));

  /** @type {any} */
  let later;
  /** Something has woken the page, or the network may be another. */
  function wake(isNewNetwork = false) {
    const now = Date.now();
    if (isNewNetwork) until = 0;
    // Whatever wakes the page, it does not make a request each time.
    clearTimeout(later);
    if (now - wokenAt < 1000) {
      later = setTimeout(wake, 1000);
      return;
    }
    wokenAt = now;
    stopResting();
    if (now - heardAt > beatMs) cut(WOKEN);
  }

  /** Looks for silence. The clock tells it, since timers stand still in a page that sleeps. */
  const watch = setInterval(() => {
    const now = Date.now();
    if (now - lookedAt > ALIVE_MS) wake();
    else if (now - heardAt > patienceMs) cut(MUTE);
    lookedAt = now;
  }, LOOK_MS);

  function end() {
    isOver = true;
    clearInterval(watch);
    clearTimeout(later);
    cut(OVER);
    stopResting();
  }

  /** Goes on to the next transport. What keeps back one response keeps back the other. */
  function leave() {
    const next = transports.findIndex((name, at) => at > place && (!wasMute || /poll|ws/.test(name)));
    place = next < 0 ? (place + 1) % transports.length : next;
    until = Date.now() + REMEMBER_MS;
    strikes = 0;
    // Where there is no other, nothing was left.
    if (transports[1]) remember({ name: transports[place], until });
  }

  /**
   * @param {string} name
   * @param {import('./types.js').Batch} batch
   * @param {number} tookMs
   */
  function takeBatch(name, batch, tookMs) {
    const { messages, gap, more, retry, spread = 0 } = batch;
    const isPoll = name === 'poll';
    const { length } = messages;
    if (isPoll) plainMs = tookMs;
    unpack(batch, on.take);
    // Gaps that follow each other, and holds that end at once, would be repeated without end.
    hasProgress = !gap && (length || isPoll || tookMs > 1000);
    if (retry) idleMs = retry;
    leastMs = more ? 0 : Math.max(
      retry || Math.random() * spread,
      +isPoll && (length ? Math.min(idleMs, 1000) : idleMs),
      on.restMs,
    );
  }

  /**
   * One request. Returns why it was cut, or nothing if it ended in order.
   * @param {string} name
   * @param {string[]} channels
   * @param {string} since
   */
  async function attempt(name, channels, since) {
    const isStream = !/poll/.test(name);
    const control = new AbortController();
    const begun = Date.now();
    let reason = 0;
    /** @type {Flag} */
    let isOpen;
    /** @type {Flag} */
    let isOrderly = !isStream;
    cut = (why) => {
      reason ||= why;
      control.abort();
    };
    heardAt = begun;
    hasProgress = false;
    leastMs = 0;
    beatMs = isStream ? MUTE_MS : ALIVE_MS;
    patienceMs = isStream ? Math.max(MUTE_MS, 4 * plainMs) : name === 'poll' ? POLL_MS : HOLD_MS;
    on.say(isUp ? 'open' : 'connecting');
    try {
      await TRANSPORTS[name]({
        signal: control.signal,
        receive: (query) => http.receive(name, channels, { ...query, since }, control.signal),
        socket: () => http.socket(name, channels, since),
        heard: () => {
          heardAt = Date.now();
          hasProgress ||= isOpen;
        },
        take: (object) => {
          const { batch, id, heartbeat, retry = 0, end, expired } = object;
          if (reason) return;
          if (batch || heartbeat) {
            isOpen = isUp = true;
            on.say('open');
          }
          if (batch) return takeBatch(name, batch, Date.now() - begun);
          if (heartbeat) {
            beatMs = heartbeat;
            patienceMs = 2 * heartbeat + 5000;
            reconnectMs = retry;
          } else {
            hasProgress ||= id;
            isOrderly ||= end || expired || retry;
            leastMs = retry;
          }
          if (expired) {
            http.expire();
            leastMs = 0;
          }
          on.take(object);
        },
      });
      if (!isOrderly && !reason) throw Error('cut');
    } catch (error) {
      if (!reason) {
        isUp = false;
        throw error;
      }
    } finally {
      control.abort();
      if (isStream && reason !== CHANGED) isUp = false;
      hasProgress ||= isOpen && Date.now() - begun > ALIVE_MS;
    }
    return reason;
  }

  /**
   * Waits before the next request: as long as the server says, and so long that clients do not come together. What
   * wakes the page cuts short only the latter.
   * @param {number} backoffMs
   * @param {string} why
   */
  async function rest(backoffMs, why) {
    const ms = Math.max(leastMs, backoffMs);
    if (!ms || isOver) return;
    if (!isUp) on.say('waiting', why, ms);
    const notBefore = Date.now() + leastMs;
    await new Promise((done) => {
      let timer = setTimeout(done, ms);
      stopResting = () => {
        clearTimeout(timer);
        timer = setTimeout(done, isOver ? 0 : notBefore - Date.now());
      };
    });
  }

  async function run() {
    for (;;) {
      const planned = await on.plan();
      if (isOver) return;
      if (!planned) return end();
      const { channels, since } = planned;
      if (Date.now() > until) place = 0;
      const isCheck = isSuspect;
      isSuspect = false;
      // The answer to a long poll from now on would have to wait for a message to say where it begins.
      const isPlain = isCheck || transports[place] === 'long-poll' && !isCursor(since);
      let reason = 0;
      let why = '';
      try {
        reason = await attempt(isPlain ? 'poll' : transports[place], channels, since);
      } catch (error) {
        if (isOver) return;
        if (error.isFinal) {
          if (on.refused(error)) continue;
          return end();
        }
        why = error.message;
        leastMs = Math.max(error.leastMs || 0, reconnectMs);
        reason = FAILED;
      }
      if (reason && reason < MUTE) continue;
      if (isPlain && !reason) {
        if (isCheck && ++strikes > 1) leave();
        continue;
      }
      const isMute = reason === MUTE && !isPlain;
      if (hasProgress && !isMute) failures = strikes = 0;
      else if (!isPlain) {
        isSuspect = reason;
        wasMute = isMute;
      }
      if (isMute) continue;
      if (reason || !hasProgress) failures += 1;
      // What ends in order without having brought anything is repeated at once the first time.
      await rest(failures > (reason ? 0 : 1) ? backoff(failures) : 0, why);
    }
  }

  // Its owner has to know it first.
  queueMicrotask(run);
  return {
    stop: end,
    wake,
    /** There is something else to follow. */
    change: () => cut(CHANGED),
    used: () => transports[place],
  };
}
