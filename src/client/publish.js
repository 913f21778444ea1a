// Publishing: messages, and lines as they come.
//
// Owns what a body is, and how often it is sent: with one key, so that it is published once.

import { EnckeError, encoded } from './http.js';
import { backoff, sleep } from './later.js';

/** @typedef {import('./types.js').PublishOptions} PublishOptions */
/** @typedef {import('./types.js').Flag} Flag */

/** How often a body is sent again if it is not known whether it arrived. */
const MAX_RETRIES = 5;
/** The least time between two requests with lines, in milliseconds. */
const GATHER_MS = 10;
/** If more characters than these wait to be published, no more lines are taken. */
const MAX_WAITING = 100_000;

/**
 * @param {ReturnType<import('./http.js').http>['ask']} ask
 * @param {AbortSignal} over the client is closed
 */
export function publisher(ask, over) {
  /**
   * @param {string} path
   * @param {Record<string, string>} query
   * @param {BodyInit} body
   * @param {AbortSignal} [signal]
   * @param {string} [key]
   */
  async function post(path, query, body, signal, key = `${Math.random()}${Date.now()}`) {
    for (let failures = 1; ; failures += 1) {
      if (over.aborted) throw new EnckeError('closed', 400);
      try {
        return await (await ask(path, query, { method: 'POST', body, headers: { 'Idempotency-Key': key }, signal })).json();
      } catch (error) {
        if (error.isFinal || failures > MAX_RETRIES || signal?.aborted) throw error;
        await sleep(backoff(failures, error.leastMs));
      }
    }
  }

  /**
   * Publishes a message.
   * @param {string} channel
   * @param {any} data text, bytes, or what becomes JSON
   * @param {PublishOptions} [options]
   * @returns {Promise<import('./types.js').Published>}
   */
  async function publish(channel, data, { event, end, key, signal } = {}) {
    let type = 'application/octet-stream';
    if (typeof data === 'string') type = 'text/plain';
    else if (!(data instanceof ArrayBuffer || ArrayBuffer.isView(data) || data instanceof Blob)) {
      type = 'application/json';
      data = JSON.stringify(data);
    }
    const body = new Blob([data], { type });
    return post(`publish/${encoded(channel)}`, { ...event && { event }, ...end && { end: '1' } }, body, signal, key);
  }

  /**
   * Publishes each of these as it comes. What comes during a request goes with the next.
   * @param {string} channel
   * @param {Iterable<unknown> | AsyncIterable<unknown>} lines
   * @param {PublishOptions} [options]
   */
  async function publishLines(channel, lines, { event, end, signal } = {}) {
    const sum = { published: 0, last: '' };
    let waiting = '';
    let sending = Promise.resolve();
    /** @type {Flag} */
    let hasFailed;
    for await (const data of lines) {
      sum.published += 1;
      waiting += `${JSON.stringify({ channel, data, event })}\n`;
      sending = sending.then(async () => {
        if (!waiting) return;
        const batch = waiting;
        waiting = '';
        sum.last = (await post('publish', { lines: '1' }, batch, signal)).last;
        await sleep(GATHER_MS);
      });
      sending.catch(() => { hasFailed = true; });
      if (hasFailed || waiting[MAX_WAITING]) await sending;
    }
    await sending;
    if (end) await publish(channel, '', { end, signal });
    return sum;
  }

  return { publish, publishLines };
}
