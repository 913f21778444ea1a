// WebSockets of encke, used by the package `ws` from npm. Owns what such a client sees: texts, bytes,
// large messages, pings, closes, and refused handshakes.
//
//   node clients.mjs ws://127.0.0.1:7711
import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import { createRequire } from 'node:module';

const { default: WebSocket } = await import(createRequire(process.cwd() + '/').resolve('ws'));
const base = process.argv[2] ?? 'ws://127.0.0.1:7711';
const name = `npm/${process.pid}`;

/** Opens a socket; `next` is the next message, a string or a Buffer. */
async function open(target, options = {}) {
  const socket = new WebSocket(`${base}/ws/${target}`, options.protocols, options);
  const queue = [], waiting = [];
  socket.on('message', (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    waiting.length ? waiting.shift()(message) : queue.push(message);
  });
  socket.next = () => queue.length
    ? queue.shift()
    : new Promise(resolve => waiting.push(resolve));
  await once(socket, 'open');
  return socket;
}
const object = async socket => JSON.parse(await socket.next());
const closed = async socket => {
  const [code, reason] = await once(socket, 'close');
  return [code, reason.toString()];
};

const checks = {
  async 'objects, commands and the subprotocol'() {
    const socket = await open(name, { protocols: ['encke'] });
    assert.equal(socket.protocol, 'encke');
    assert.equal(socket.extensions, '');
    assert.match((await object(socket)).cursor, /^[0-9a-z]+-\d+$/);
    socket.send(JSON.stringify({ publish: name, data: { a: 'ü' }, ref: 1 }));
    const answer = await object(socket);
    assert.equal(answer.ref, 1);
    assert.deepEqual(await object(socket), { id: answer.published.id, channel: name, data: { a: 'ü' } });
    socket.send(JSON.stringify({ channels: [name, `${name}/2`] }));
    assert.deepEqual((await object(socket)).channels, [name, `${name}/2`]);
    socket.send('nonsense');
    assert.equal((await object(socket)).error.status, 400);
    socket.close(1000, 'done');
    assert.deepEqual(await closed(socket), [1000, '']);
  },
  async 'raw texts and bytes of every size'() {
    const socket = await open(`${name}/raw?raw=1&publish=1`);
    for (const length of [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000]) {
      socket.send('x'.repeat(length));
      assert.equal(await socket.next(), 'x'.repeat(length));
      const bytes = Buffer.alloc(length, 0xff);
      socket.send(bytes);
      assert.ok(bytes.equals(await socket.next()));
    }
    socket.send('first,', { fin: false });
    socket.send('second', { fin: true });
    assert.equal(await socket.next(), 'first,second');
    socket.close();
    await closed(socket);
  },
  async 'pings'() {
    const socket = await open(name);
    for (const payload of ['', 'p', 'p'.repeat(125)]) {
      socket.ping(payload);
      const [pong] = await once(socket, 'pong');
      assert.equal(pong.toString(), payload);
    }
    socket.close();
    await closed(socket);
  },
  async 'a message that is too large'() {
    const socket = await open(`${name}?raw=1&publish=1`);
    socket.send(Buffer.alloc((1 << 20) + 1));
    assert.equal((await closed(socket))[0], 1009);
  },
  async 'compression is declined'() {
    const socket = await open(name, { perMessageDeflate: true });
    assert.equal(socket.extensions, '');
    socket.terminate();
  },
  async 'handshakes that are refused'() {
    const shake = headers => new Promise((resolve, reject) => {
      const url = `${base.replace('ws:', 'http:')}/ws/${name}`;
      const request = http.get(url, { headers }, answer => resolve(answer.resume()));
      request.on('upgrade', answer => { answer.socket.destroy(); resolve(answer); });
      request.on('error', reject);
    });
    const good = {
      Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    };
    assert.equal((await shake(good)).statusCode, 101);
    const key = Buffer.alloc(3).toString('base64');
    assert.equal((await shake({ ...good, 'Sec-WebSocket-Key': key })).statusCode, 400);
    const other = await shake({ ...good, 'Sec-WebSocket-Version': '12' });
    assert.equal(other.statusCode, 426);
    assert.equal(other.headers['sec-websocket-version'], '13');
    assert.equal((await shake({})).statusCode, 400);
  },
};

for (const [title, check] of Object.entries(checks)) {
  const late = setTimeout(() => { console.error(`${title}: too late`); process.exit(1); }, 20_000);
  await check();
  clearTimeout(late);
  console.log(`ok  ${title}`);
}
process.exit(0);
