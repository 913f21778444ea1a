// Requests: addresses, tokens, refusals.
//
// Owns when a token is asked for, where it travels, and what a status means.

/** How long before its end a token is asked for anew, in milliseconds; less for one that is short-lived. */
const RENEW_MS = 30_000;
/** The longest time of a poll that is answered at once, on a slow network too, in milliseconds. */
export const POLL_MS = 30_000;
/** The longest wait that a server can ask for. A timer has no place for one of a month. */
const LONGEST_WAIT_MS = 1e9;

/** A response that is not a success. */
export class EnckeError extends Error {
  /**
   * @param {string} detail what to do, in the server's words
   * @param {number} status
   * @param {number} leastMs the server asks not to come back sooner
   */
  constructor(detail, status, leastMs = 0) {
    super(detail);
    this.status = status;
    this.leastMs = leastMs;
    /** The same request would be refused again. */
    this.isFinal = status < 500 && status !== 408 && status !== 429;
  }
}

/**
 * The claims of a token, unverified.
 * @param {string} token
 * @returns {{ sub?: string, exp?: number }}
 */
function claims(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
  } catch {
    return {};
  }
}

/**
 * Gives up after the longest time of a poll.
 * @template T
 * @param {AbortSignal} signal gives up, too
 * @param {(signal: AbortSignal) => Promise<T>} run
 */
async function within(signal, run) {
  const control = new AbortController();
  const stop = () => control.abort();
  const timer = setTimeout(stop, POLL_MS);
  signal.addEventListener('abort', stop, control);
  try {
    return await run(control.signal);
  } finally {
    clearTimeout(timer);
    // The listener goes with it.
    stop();
  }
}

/** @param {string} name */
const encoded = (name) => {
  // It would be the address of something else.
  if (/(^|\/)\.\.?(\/|$)/.test(name)) throw new EnckeError(`no channel ${name}`, 400);
  return encodeURIComponent(name).replace(/%2F/g, '/');
};

/**
 * @param {string} endpoint
 * @param {string[]} channels
 */
const path = (endpoint, channels) => `${endpoint}/${channels.map(encoded).join()}`;

/**
 * @param {string} url
 * @param {import('./types.js').Options} options
 * @param {() => string[]} names those for which a token is asked
 */
export function http(url, { token: given, headers: added, fetch: get = fetch }, names) {
  const isAsked = typeof given === 'function';
  /** Not asked for yet; empty if there is none. @type {any} */
  let token = isAsked ? undefined : given;
  /** From when on the token is not used for another request. */
  let renewAt = 0;
  /** @type {Promise<string> | null} */
  let asking = null;
  // A request with an Authorization field to another origin takes a preflight for each address.
  const isFar = globalThis.location?.origin && new URL(url).origin !== location.origin;

  /**
   * The token, a new one where the last is about to expire or is refused.
   * @param {unknown} isRefused
   */
  async function theToken(isRefused) {
    const reason = isRefused ? 'refused' : token === undefined ? 'first' : Date.now() > renewAt && 'expires';
    if (isAsked && reason) {
      asking ||= (async () => given({ reason, channels: names() }))();
      try {
        token = await asking || '';
      } finally {
        asking = null;
      }
      const leftMs = (claims(token).exp || Infinity) * 1000 - Date.now();
      renewAt = Date.now() + leftMs - Math.min(RENEW_MS, leftMs / 10);
    }
    return token;
  }

  /**
   * A response with a status of success.
   * @param {string} path
   * @param {Record<string, string>} query
   * @param {RequestInit & { headers?: Record<string, string> }} init
   * @returns {Promise<Response>}
   */
  async function ask(path, query, init) {
    for (let used = '', tries = 0; ; tries += 1) {
      used = await theToken(tries && token === used);
      /** @type {Record<string, string>} */
      const headers = { ...typeof added === 'function' ? await added() : added, ...init.headers };
      const parameters = new URLSearchParams(query);
      if (used && isFar && !init.method) parameters.set('token', used);
      else if (used) headers.Authorization = `Bearer ${used}`;
      const response = await get(`${url}${path}?${parameters}`, { cache: 'no-store', ...init, headers });
      const { status } = response;
      if (response.ok) return response;
      if (status !== 401 || tries || !isAsked) {
        const { detail = `status ${status}` } = await response.json().catch(() => ({}));
        const after = response.headers.get('Retry-After') || '';
        throw new EnckeError(detail, status, Math.min(+after * 1000 || Date.parse(after) - Date.now() || 0, LONGEST_WAIT_MS));
      }
    }
  }

  /**
   * One way to receive.
   * @param {string} endpoint
   * @param {string[]} channels
   * @param {Record<string, string>} query
   * @param {AbortSignal} signal
   */
  const receive = (endpoint, channels, query, signal) =>
    ask(path(endpoint, channels), query, { signal });

  return {
    url,
    receive,
    /**
     * A WebSocket, which can have no fields: its token is in the address.
     * @param {string} endpoint
     * @param {string[]} channels
     * @param {string} since
     */
    async socket(endpoint, channels, since) {
      const token = await theToken(0);
      const query = new URLSearchParams({ since, ...token && { token } });
      return new WebSocket(`${url}${path(endpoint, channels)}?${query}`.replace('http', 'ws'));
    },
    /** The server says that the token ends. */
    expire() { renewAt = 0; },
    /** Whom the token is for. */
    subject: async () => claims(await theToken(0)).sub || '',
    /**
     * A poll: the batch after a cursor, at once.
     * @param {string[]} channels
     * @param {string} since
     * @param {AbortSignal} signal
     * @returns {Promise<import('./types.js').Batch>}
     */
    poll: (channels, since, signal) =>
      within(signal, async (signal) => (await receive('poll', channels, { since }, signal)).json()),
    /**
     * What publishes, each time it is called.
     * @param {string} channel
     * @param {any} data
     * @param {{ event?: string, key: string, signal?: AbortSignal }} options
     */
    publish(channel, data, { event, key, signal }) {
      const isText = typeof data === 'string';
      const isBytes = data instanceof ArrayBuffer || ArrayBuffer.isView(data) || data instanceof Blob;
      const type = isBytes ? 'application/octet-stream' : isText ? 'text/plain' : 'application/json';
      const to = `publish/${encoded(channel)}`;
      const body = isBytes || isText ? /** @type {BodyInit} */ (data) : JSON.stringify(data);
      const headers = { 'Content-Type': type, 'Idempotency-Key': key };
      return async () => (await ask(to, event ? { event } : {}, { method: 'POST', body, headers, signal })).json();
    },
  };
}
