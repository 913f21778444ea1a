// Transports: the ways to receive, one function each.
//
// Owns the bytes of each format. A transport makes one request, hands on what it says as the objects of
// NDJSON, and returns when that is over. It never waits, repeats or remembers.
//
// A link has: `receive(endpoint, query)`, which returns a response; `socket(endpoint)`, which returns a WebSocket;
// `take(object)`; `heard()`, for each arrival of bytes; and `signal`, which gives up. Another transport is a function,
// and its entry in the table at the end.

/** @typedef {import('./types.js').StreamObject} StreamObject */
/**
 * @typedef {object} Link
 * @property {(endpoint: string, query?: Record<string, string>) => Promise<Response>} receive
 * @property {(endpoint: string) => Promise<WebSocket>} socket
 * @property {(object: StreamObject) => void} take
 * @property {() => void} heard
 * @property {AbortSignal} signal
 */

/** The events of encke's own in an event stream. */
const OWN = ['cursor', 'gap', 'end', 'expired'];

/**
 * The lines of a response that goes on.
 * @param {Link} link
 * @param {Response} response
 * @param {(line: string) => void} take
 */
async function readLines(link, response, take) {
  if (response.status === 204) return link.take({ end: true });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    link.heard();
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = /** @type {string} */ (lines.pop());
    lines.forEach(take);
  }
}

/** @param {Link} link */
async function sse(link) {
  const response = await link.receive('sse', { envelope: '1' });
  /** @type {Record<string, string>} */
  let fields = {};
  await readLines(link, response, (line) => {
    const colon = line.indexOf(':');
    if (line) {
      const value = line.slice(colon + 2);
      if (colon) fields[line.slice(0, colon)] = value;
      else if (value) fields.heartbeat = value.slice(10);
      return;
    }
    const { event, data, retry, heartbeat } = fields;
    fields = {};
    if (OWN.includes(event)) link.take({ [event]: true, cursor: data, retry: +retry, heartbeat: +heartbeat });
    else if (data) link.take(JSON.parse(data));
    else if (retry) link.take({ retry: +retry });
  });
}

/** @param {Link} link */
async function ndjson(link) {
  await readLines(link, await link.receive('ndjson'), (line) => link.take(JSON.parse(line)));
}

/** @param {Link} link */
async function ws(link) {
  const socket = await link.socket('ws');
  try {
    await new Promise((done, fail) => {
      /** @param {string} text */
      const take = (text) => {
        try {
          link.take(JSON.parse(text));
        } catch (error) {
          fail(error);
        }
      };
      socket.onmessage = ({ data }) => {
        link.heard();
        take(data);
      };
      socket.onclose = ({ reason }) => {
        // The last object of a stream is the reason of its close frame.
        take(reason || '{}');
        done(0);
      };
      link.signal.onabort = fail;
      if (link.signal.aborted) fail();
    });
  } finally {
    // The other end may be gone: its answer is not waited for.
    socket.onclose = socket.onmessage = null;
    socket.close();
  }
}

/** @param {string} endpoint */
const poll = (endpoint) => /** @param {Link} link */ async (link) => {
  const batch = await (await link.receive(endpoint)).json();
  link.heard();
  link.take({ batch });
};

/** @type {Record<string, (link: Link) => Promise<void>>} */
export const TRANSPORTS = { sse, ndjson, ws, 'long-poll': poll('long-poll'), poll: poll('poll') };
