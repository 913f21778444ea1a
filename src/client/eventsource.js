// An EventSource to drop in: the same events, by whichever transport works, on one connection for all tabs.
//
// Owns the translation of addresses and events. Beyond the browser's own it has the events `gap` and `end`, and it
// is no `EventSource` of the same address for each of its users: those of one server share a client.

import { connect } from './encke.js';

/** The clients, by server and options. @type {Map<string, { client: ReturnType<typeof connect>, users: number }>} */
const clients = new Map();

export class EventSource extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;
  CONNECTING = 0;
  OPEN = 1;
  CLOSED = 2;
  readyState = 0;
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onerror = null;

  /**
   * @param {string | URL} url as `/sse/news`
   * @param {import('./encke.js').Options & { withCredentials?: boolean }} [options] of the client
   */
  constructor(url, options = {}) {
    super();
    const { href, searchParams, pathname, origin } = new URL(`${url}`, globalThis.location?.href);
    const [, base, names] = /^(.*\/)sse\/(.+)$/.exec(pathname) || [];
    if (!names) throw new SyntaxError(`${href} is not of the form /sse/CHANNELS`);
    this.url = href;
    this.withCredentials = !!options.withCredentials;
    const token = searchParams.get('token');
    const settings = {
      ...options,
      .../** @type {object} */ (token && { token }),
      .../** @type {object} */ (this.withCredentials && {
        fetch: (/** @type {any} */ to, /** @type {any} */ how) => fetch(to, { ...how, credentials: 'include' }),
      }),
    };
    const plain = Object.entries(options).every(([, value]) => typeof value !== 'function' && typeof value !== 'object');
    const key = plain ? `${origin}${base} ${token} ${JSON.stringify(options)}` : Math.random().toString();
    const shared = clients.get(key) || { client: connect(`${origin}${base}`, settings), users: 0 };
    clients.set(key, shared);
    shared.users += 1;
    const { client } = shared;

    /** @param {any} event */
    const tell = (event) => {
      this.dispatchEvent(event);
      // @ts-ignore Not every type has such a property.
      this[`on${event.type}`]?.(event);
    };
    const show = () => {
      if (this.readyState === 2) return;
      const before = this.readyState;
      this.readyState = client.state === 'open' ? 1 : 0;
      if (this.readyState > before) tell(new Event('open'));
      else if (/waiting|offline/.test(client.state)) tell(new Event('error'));
    };
    this._end = () => {
      if (this.readyState === 2) return;
      this.readyState = 2;
      sub.close();
      client.removeEventListener('state', show);
      if (--shared.users) return;
      clients.delete(key);
      client.close();
    };
    /** @type {import('./encke.js').Subscription} */
    const sub = client.subscribe(decodeURIComponent(names), {
      since: searchParams.get('lastEventId') || searchParams.get('since') || 'now',
      onMessage: ({ id, event = 'message', data, encoding }) => {
        if (encoding) data = btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(''));
        else if (typeof data !== 'string') data = JSON.stringify(data);
        tell(new MessageEvent(event, { data, lastEventId: id, origin }));
      },
      onGap: () => tell(new MessageEvent('gap', { data: sub.cursor, lastEventId: sub.cursor, origin })),
      onEnd: () => {
        tell(new MessageEvent('end', { data: sub.cursor, lastEventId: sub.cursor, origin }));
        this._end();
      },
      onError: () => {
        this._end();
        tell(new Event('error'));
      },
    });
    client.addEventListener('state', show);
    queueMicrotask(show);
  }

  close() { this._end(); }
}
