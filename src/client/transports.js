// Transports: the ways to receive, one function each.
//
// Owns the bytes of each format. A transport makes one request, hands on what it says as the objects of
// NDJSON, and returns when that is over. It never waits, repeats or remembers.
//
// A link has: `receive(query)`, which returns a response; `socket()`, which returns a WebSocket;
// `take(object)`; `heard()`, for each arrival of bytes; and `signal`, which gives up. Another transport is a function,
// and its entry in the table at the end.

/** @typedef {import('./types.js').StreamObject} StreamObject */
/**
 * @typedef {object} Link
 * @property {(query: Record<string, string>) => Promise<Response>} receive
 * @property {() => Promise<WebSocket>} socket
 * @property {(object: StreamObject) => void} take
 * @property {() => void} heard
 * @property {AbortSignal} signal
 */

/** The events of encke's own in an event stream. */
const OWN = /^(cursor|gap|end|expired)$/;

/**
 * The lines of a response that goes on.
 * @param {Link} link
 * @param {Record<string, string>} query
 * @param {(line: string) => void} take
 */
async function readLines(link, query, take) {
  const response = await link.receive(query);
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
  /** @type {Record<string, string>} */
  let fields = {};
  await readLines(link, { envelope: '1' }, (line) => {
    if (line) {
      // The text of a comment has no name.
      const [name, value] = line.split(/: (.*)/s);
      fields[name] = value;
      return;
    }
    const { event, data, retry, '': comment } = fields;
    fields = {};
    if (OWN.test(event)) link.take({ [event]: true, cursor: data, retry: +retry, heartbeat: +comment?.slice(10) });
    else if (data) link.take(JSON.parse(data));
    else if (retry) link.take({ retry: +retry });
  });
}

/** @param {Link} link */
async function ndjson(link) {
  await readLines(link, {}, (line) => link.take(JSON.parse(line)));
}

/** @param {Link} link */
async function ws(link) {
  const socket = await link.socket();
  try {
    await new Promise((done, fail) => {
      // The last object of a stream is the reason of its close frame.
      socket.onclose = socket.onmessage = (/** @type {any} */ { data, reason }) => {
        try {
          if (data) link.heard();
          link.take(JSON.parse(data || reason || '{}'));
          if (!data) done(0);
        } catch (error) {
          fail(error);
        }
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

/** @param {Link} link */
async function poll(link) {
  const batch = await (await link.receive({})).json();
  link.take({ batch });
}

/** @type {Record<string, (link: Link) => Promise<void>>} */
export const TRANSPORTS = { sse, ndjson, ws, 'long-poll': poll, poll };
