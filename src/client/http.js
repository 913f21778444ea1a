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
   * @param {number} [leastMs] the server asks not to come back sooner
   */
  constructor(detail, status, leastMs) {
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

/** @param {string} name */
export const encoded = (name) => {
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
  let token = given;
  /** From when on the token is not used for another request. */
  let renewAt = 0;
  /** @type {Promise<string> | null} */
  let asking = null;
  // A request with an Authorization field to another origin takes a preflight for each address.
  const isFar = globalThis.location?.origin && !url.startsWith(`${location.origin}/`);

  /**
   * The token, a new one where the last is about to expire or is refused.
   * @param {unknown} isRefused
   */
  async function theToken(isRefused) {
    const reason = isRefused ? 'refused' : token === given ? 'first' : Date.now() > renewAt && 'expires';
    if (isAsked && reason) {
      asking ||= (async () => given({ reason, channels: names() }))().finally(() => { asking = null; });
      token = await asking || '';
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
      if (used) {
        if (isFar && !init.method) parameters.set('token', used);
        else headers.Authorization = `Bearer ${used}`;
      }
      const response = await get(`${url}${path}?${parameters}`, { cache: 'no-store', ...init, headers });
      const { status } = response;
      if (response.ok) return response;
      if (status !== 401 || tries || !isAsked) {
        const { detail = `status ${status}` } = await response.json().catch(() => ({}));
        const after = /** @type {any} */ (response.headers.get('Retry-After'));
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
    base: url,
    ask,
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
     * A poll: the batch after a cursor, at once. Gives up after the longest time of one.
     * @param {string[]} channels
     * @param {string} since
     * @param {AbortSignal} signal gives up, too
     * @returns {Promise<import('./types.js').Batch>}
     */
    async batch(channels, since, signal) {
      const control = new AbortController();
      const stop = () => control.abort();
      const timer = setTimeout(stop, POLL_MS);
      signal.addEventListener('abort', stop, control);
      try {
        return await (await receive('poll', channels, { since }, control.signal)).json();
      } finally {
        clearTimeout(timer);
        // The listener goes with it.
        stop();
      }
    },
  };
}
