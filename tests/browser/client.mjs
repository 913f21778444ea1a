// The JavaScript client, in Node: its rules, and what it makes of faults on the way.

import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import { connect } from '../../src/core/client/encke.min.js';
import { Encke } from './servers.mjs';
import { Faults, Numbers } from './faults.mjs';
import { Secret, inSeconds } from './token.mjs';
import { until } from './until.mjs';

const TRANSPORTS = ['sse', 'ndjson', 'ws', 'long-poll', 'poll'];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
/** No client makes more requests in a second, whatever the fault. */
const MOST_REQUESTS = 10;

/** A server with a proxy before it, and a client that goes through that. */
async function through(checks, { client: options = {}, server = [] } = {}) {
  const encke = await Encke.start(...server);
  const faults = await Faults.start(encke.port);
  const client = connect(faults.url, options);
  try {
    await checks({ encke, faults, client });
  } finally {
    client.close();
    await faults.end();
    await encke.end();
  }
}

/** Follows from the beginning, and waits until that is so. */
async function follow(client, numbers, options = {}) {
  const sub = client.subscribe('c', { ...numbers.options, ...options });
  await until('it is open', () => client.state === 'open');
  return sub;
}

/** A server of a few lines, where encke cannot be brought to say something. */
async function fake(answer) {
  const server = http.createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    async end() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const token = (claims) => `${btoa('{}')}.${btoa(JSON.stringify(claims))}.x`;

export const client = {
  'client: every transport brings each message once, in order': async () => {
    for (const transport of TRANSPORTS) {
      await through(async ({ encke, client }) => {
        const numbers = new Numbers();
        await follow(client, numbers);
        await numbers.publish(encke, 'c', 200);
        await until(`all by ${transport}`, () => numbers.hasAll, 30);
        assert.deepEqual(numbers.faults(), [], transport);
        assert.equal(client.transport, transport);
      }, { client: { transports: [transport] } });
    }
  },

  'client: a stream that is kept back is left for another transport, and nothing is lost': async () => {
    const without = TRANSPORTS.filter((name) => name !== 'ws');
    for (const [mode, transports, other] of [['buffer', without, 'long-poll'], ['hold-64k', without, 'long-poll'], ['buffer', TRANSPORTS, 'ws']]) {
      await through(async ({ encke, faults, client }) => {
        faults.mode = mode;
        const numbers = new Numbers();
        client.subscribe('c', { ...numbers.options, since: 'earliest' });
        await numbers.publish(encke, 'c', 10);
        await until('another transport', () => client.transport === other && client.state === 'open');
        await numbers.publish(encke, 'c', 10);
        await until('all', () => numbers.hasAll);
        await numbers.publish(encke, 'c', 10, 20);
        await until('all', () => numbers.hasAll);
        assert.deepEqual(numbers.faults(), []);
        assert.equal(numbers.gaps, 0);
        assert.ok(faults.requests.filter(({ path }) => path.startsWith('/sse')).length === 2);
        assert.ok(!faults.requests.some(({ path }) => path.startsWith('/ndjson')));
      }, { client: { transports } });
    }
  },

  'client: responses that are cut cost nothing but time': async () => {
    for (const transport of TRANSPORTS) {
      await through(async ({ encke, faults, client }) => {
        Object.assign(faults, { mode: 'cut', cutMs: 1500 });
        const numbers = new Numbers();
        client.subscribe('c', { ...numbers.options, since: 'earliest' });
        await numbers.publish(encke, 'c', 100, 40);
        faults.mode = 'pass';
        await until(`all by ${transport}`, () => numbers.hasAll, 60);
        assert.deepEqual(numbers.faults(), []);
        assert.equal(numbers.gaps, 0);
        if (transport === 'sse') assert.ok(faults.busiest() <= MOST_REQUESTS, `${faults.busiest()} requests`);
      }, { client: { transports: [transport] } });
    }
  },

  'client: a server that is killed is found again, and the loss is told once': () => through(async ({ encke, faults, client }) => {
    const numbers = new Numbers();
    await follow(client, numbers);
    await numbers.publish(encke, 'c', 5);
    await until('all', () => numbers.hasAll);
    await encke.end();
    await pause(1500);
    await encke.run();
    await until('it is open', () => client.state === 'open', 30);
    await numbers.publish(encke, 'c', 5);
    await until('all', () => numbers.hasAll, 30);
    assert.deepEqual(numbers.seen, [1, 2, 3, 4, 5, 'gap', 6, 7, 8, 9, 10]);
    assert.ok(faults.busiest() <= MOST_REQUESTS);
  }),

  'client: a server that drains sends it away, and it comes back no sooner than told': () => through(async ({ encke, client }) => {
    const numbers = new Numbers();
    const waits = [];
    client.addEventListener('state', ({ detail }) => detail.state === 'waiting' && waits.push(detail.retryInMs));
    await follow(client, numbers);
    await encke.end('SIGTERM');
    await encke.run();
    await until('it is open', () => client.state === 'open', 30);
    await numbers.publish(encke, 'c', 3);
    await until('all', () => numbers.hasAll, 30);
    assert.equal(numbers.gaps, 1);
    assert.ok(waits.length >= 1 && waits[0] >= 100, `${waits}`);
  }, { server: ['--drain=1'] }),

  'client: errors are followed by waits, Retry-After by no shorter one': async () => {
    for (const [status, retryAfter] of [[503, '2'], [429, '1'], [502, ''], [504, '']]) {
      await through(async ({ encke, faults, client }) => {
        Object.assign(faults, { mode: status, retryAfter });
        const numbers = new Numbers();
        client.subscribe('c', { ...numbers.options, since: 'earliest' });
        await pause(2500);
        const waits = faults.requests.slice(1).map(({ at }, index) => at - faults.requests[index].at);
        for (const wait of waits) assert.ok(wait >= (+retryAfter || 0.2) * 1000 - 20, `${status}: ${waits}`);
        assert.ok(faults.busiest() <= 5);
        faults.mode = 'pass';
        await numbers.publish(encke, 'c', 3);
        await until('all', () => numbers.hasAll, 30);
        assert.deepEqual(numbers.faults(), []);
      });
    }
  },

  'client: a server that does not answer is not hammered': () => through(async ({ encke, faults, client }) => {
    faults.mode = 'stall';
    const numbers = new Numbers();
    client.subscribe('c', { ...numbers.options, since: 'earliest' });
    await pause(7000);
    assert.ok(faults.busiest() <= 3 && faults.requests.length <= 4, `${faults.requests.length} requests`);
    faults.mode = 'pass';
    faults.cutAll();
    await numbers.publish(encke, 'c', 3);
    await until('all', () => numbers.hasAll, 30);
    assert.deepEqual(numbers.faults(), []);
  }),

  'client: a WebSocket that something on the way refuses is left for another transport': () => through(async ({ encke, faults, client }) => {
    faults.refusesUpgrades = true;
    const numbers = new Numbers();
    client.subscribe('c', { ...numbers.options, since: 'earliest' });
    await numbers.publish(encke, 'c', 10);
    await until('another transport', () => client.transport === 'long-poll');
    await numbers.publish(encke, 'c', 10);
    await until('all', () => numbers.hasAll);
    assert.deepEqual(numbers.faults(), []);
    assert.ok(faults.busiest() <= MOST_REQUESTS);
  }, { client: { transports: ['ws', 'long-poll'] } }),

  'client: tokens that run out are renewed on each transport, and nothing is lost': async () => {
    const secret = new Secret();
    for (const transport of TRANSPORTS) {
      let asked = 0;
      await through(async ({ encke, client }) => {
        const numbers = new Numbers();
        await follow(client, numbers);
        const key = secret.sign({ exp: inSeconds(600), encke: { publish: ['c'] } });
        const publisher = { publish: (channel, body, fields) => encke.publish(channel, body, { ...fields, Authorization: `Bearer ${key}` }) };
        await numbers.publish(publisher, 'c', 60, 100);
        await until(`all by ${transport}`, () => numbers.hasAll, 30);
        assert.deepEqual(numbers.faults(), [], transport);
        assert.equal(numbers.gaps, 0);
        assert.ok(asked >= 2, `${transport}: ${asked} tokens`);
      }, {
        client: { transports: [transport], token() { asked += 1; return secret.sign({ sub: 'a', exp: inSeconds(3), encke: { subscribe: ['c'] } }); } },
        server: [`--token-key-file=${secret.file}`],
      });
    }
  },

  'client: a token that is refused at the handshake of a WebSocket is asked for again': async () => {
    const secret = new Secret();
    const reasons = [];
    await through(async ({ client }) => {
      const errors = [];
      client.subscribe('c', { onError: (error) => errors.push(error) });
      await until('it is open', () => client.state === 'open', 20);
      assert.deepEqual(reasons, ['first', 'refused']);
      client.subscribe('d', { onError: (error) => errors.push(error) });
      await until('a refusal', () => errors.length > 0, 20);
      assert.equal(errors[0].status, 403);
    }, {
      client: {
        transports: ['ws'],
        token({ reason }) {
          reasons.push(reason);
          const signed = secret.sign({ sub: 'a', exp: inSeconds(600), encke: { subscribe: ['c'] } });
          return reason === 'first' ? `${signed}x` : signed;
        },
      },
      server: [`--token-key-file=${secret.file}`],
    });
  },

  'client: who is slow while others follow gets everything, and polls in peace': () => through(async ({ encke, faults, client }) => {
    const count = 9000;
    const publish = async (from, to) => {
      const lines = [];
      for (let n = from; n <= to; n += 1) lines.push(JSON.stringify({ channel: 'c', data: { n } }));
      await fetch(`${encke.url}publish`, { method: 'POST', body: lines.join('\n') });
    };
    for (let n = 1; n <= 7000; n += 1000) await publish(n, n + 999);
    await follow(client, new Numbers());
    const seen = [];
    let go = () => {};
    const slow = new Promise((done) => { go = done; });
    client.subscribe('c', { since: 'earliest', onMessage: ({ data }) => { seen.push(data.n); return slow; } });
    await until('it has begun', () => seen.length === 1);
    await publish(7001, 8000);
    await publish(8001, 9000);
    const before = faults.requests.length;
    await pause(1000);
    assert.ok(faults.requests.length - before <= 5, `${faults.requests.length - before} requests while it waits`);
    go();
    await until('all', () => seen.length === count, 30);
    assert.deepEqual(seen, Array.from({ length: count }, (_, n) => n + 1));
    assert.ok(faults.requests.length < 60, `${faults.requests.length} requests`);
  }, { server: ['--history-messages=10000'] }),

  'client: a connection that has nothing to follow for a moment begins again': async () => {
    for (const transport of ['sse', 'long-poll']) {
      await through(async ({ encke, faults, client }) => {
        const [one, two] = [new Numbers(), new Numbers()];
        const sub = await follow(client, one);
        await one.publish(encke, 'c', 1);
        await until('one', () => one.hasAll);
        faults.delayMs = 300;
        sub.close();
        client.subscribe('d', { ...two.options, since: 'earliest' });
        await two.publish(encke, 'd', 5, 200);
        await until(`all by ${transport}`, () => two.hasAll);
        assert.deepEqual(two.faults(), []);
      }, { client: { transports: [transport] } });
    }
  },

  'client: bytes are the same for all who follow': () => through(async ({ client }) => {
    const seen = [];
    for (let n = 0; n < 3; n += 1) client.subscribe('c', { onMessage: ({ data }) => seen.push([...data]) });
    await until('it is open', () => client.state === 'open');
    await client.publish('c', new Uint8Array([0, 255]));
    await client.publish('c', new Uint8Array([72]));
    await until('six', () => seen.length === 6);
    assert.deepEqual(seen, [[0, 255], [0, 255], [0, 255], [72], [72], [72]]);
  }),

  'client: a Retry-After of a year is no storm': () => through(async ({ faults, client }) => {
    Object.assign(faults, { mode: 503, retryAfter: '31536000' });
    client.subscribe('c', {});
    await until('a request', () => faults.requests.length === 1);
    await pause(1000);
    assert.equal(faults.requests.length, 1);
  }),

  'client: who follows again when it is refused is refused again, and harms nobody': () => through(async ({ encke, client }) => {
    let refusals = 0;
    const numbers = new Numbers();
    const onError = () => {
      refusals += 1;
      if (refusals < 3) client.subscribe('a*b', { onError });
      else client.subscribe('c', numbers.options);
    };
    client.subscribe('a*b', { onError });
    await until('it follows', async () => (await encke.subscribers('c')).total === 1);
    assert.equal(refusals, 3);
    await numbers.publish(encke, 'c', 2);
    await until('all', () => numbers.hasAll);
  }),

  'client: a name that would be another address is refused': () => through(async ({ encke, faults, client }) => {
    for (const name of ['chat/../admin', '..', '../channels/x', 'a/.', './a']) {
      await assert.rejects(client.publish(name, 'x'), { status: 400 });
      const errors = [];
      client.subscribe(name, { onError: (error) => errors.push(error.status) });
      await until('a refusal', () => errors.length === 1);
    }
    assert.equal(faults.requests.length, 0);
    await client.publish('.hidden/..a', 'x');
    assert.equal((await (await fetch(`${encke.url}channels`)).json()).channels[0].channel, '.hidden/..a');
  }),

  'client: what cannot be JSON is refused at once': () => through(async ({ faults, client }) => {
    const circular = {};
    circular.self = circular;
    await assert.rejects(client.publish('c', circular), TypeError);
    assert.equal(faults.requests.length, 0);
  }),

  'client: it ends by close, by a signal, and by one that has come before': () => through(async ({ encke, faults, client }) => {
    const control = new AbortController();
    const other = connect(faults.url, { signal: control.signal });
    const read = async (from) => { for await (const message of from.messages('c')) assert.fail(message.data); };
    const loops = [read(client), read(other)];
    await until('both follow', async () => (await encke.subscribers('c')).total === 2);
    client.close();
    control.abort();
    await Promise.all(loops);
    await until('nobody', async () => (await encke.subscribers('c')).total === 0);
    assert.deepEqual([client.state, other.state], ['closed', 'closed']);
    assert.equal(connect(faults.url, { signal: control.signal }).state, 'closed');
  }),

  'client: without a token, only what needs one is refused': async () => {
    const secret = new Secret();
    await through(async ({ encke, client }) => {
      const numbers = new Numbers();
      const errors = [];
      client.subscribe('private', { onError: (error) => errors.push(error.status) });
      client.subscribe('open/news', numbers.options);
      await until('it follows', async () => errors.length === 1 && client.state === 'open');
      const key = secret.sign({ exp: inSeconds(600), encke: { publish: ['open/*'] } });
      await encke.publish('open/news', '{"n":1}', { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` });
      numbers.sent = 1;
      await until('one', () => numbers.hasAll);
      assert.deepEqual(errors, [401]);
    }, { server: [`--token-key-file=${secret.file}`, '--anonymous=open/*'] });
  },

  'client: what is refused is not repeated, and harms nobody else': () => through(async ({ encke, faults, client }) => {
    const numbers = new Numbers();
    const errors = [];
    const bad = client.subscribe('a*b', { onError: (error) => errors.push(error) });
    await follow(client, numbers);
    await until('a refusal', () => errors.length > 0);
    assert.ok(bad.closed);
    assert.equal(errors[0].status, 400);
    assert.match(errors[0].message, /channel name/);
    await numbers.publish(encke, 'c', 3);
    await until('all', () => numbers.hasAll);
    assert.deepEqual(numbers.faults(), []);
    // Alone it ends the connection.
    const before = faults.requests.length;
    const other = connect(faults.url);
    other.subscribe('a*b', { onError: (error) => errors.push(error) });
    await until('a refusal', () => errors.length === 2);
    assert.equal(other.state, 'refused');
    await pause(500);
    assert.equal(faults.requests.length, before + 1);
    other.close();
  }),

  'client: subscriptions that come later begin where they ask to, on the same connection': () => through(async ({ encke, faults, client }) => {
    const all = ['early', 'same', 'other', 'newest', 'earliest'].map(() => new Numbers());
    const [early, same, other, newest, earliest] = all;
    await follow(client, early);
    await early.publish(encke, 'c', 10);
    await until('all', () => early.hasAll);
    same.sent = 10;
    await encke.publish('d', JSON.stringify({ n: 0 }), { 'Content-Type': 'application/json' });
    client.subscribe('c', same.options);
    client.subscribe('c', { ...newest.options, since: '-2' });
    client.subscribe('c,d', { ...earliest.options, since: 'earliest' });
    client.subscribe('d', other.options);
    await until('they follow', async () => (await encke.subscribers('d')).total === 1 && earliest.seen.length === 11);
    assert.equal((await encke.subscribers('c')).total, 1);
    await early.publish(encke, 'c', 10);
    await other.publish(encke, 'd', 3);
    await until('all', () => early.hasAll && earliest.seen.length === 24 && other.hasAll);
    same.sent = newest.sent = 20;
    assert.deepEqual(early.faults(), []);
    assert.deepEqual(same.faults(11), []);
    assert.deepEqual(newest.faults(9), []);
    assert.deepEqual(other.faults(), []);
    const n = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
    assert.deepEqual(earliest.seen, [...n(1, 10), 0, ...n(11, 20), 1, 2, 3]);
    assert.ok(!all.some(({ gaps }) => gaps));
    assert.ok(faults.busiest() <= MOST_REQUESTS);
  }),

  'client: a channel that is added brings no gap of what it lost before': () => through(async ({ encke, client }) => {
    const [one, two] = [new Numbers(), new Numbers()];
    await follow(client, one);
    for (let n = 0; n < 20; n += 1) await encke.publish('busy', 'x');
    client.subscribe('busy', two.options);
    await until('it follows', async () => (await encke.subscribers('busy')).total === 1);
    await two.publish(encke, 'busy', 2);
    await one.publish(encke, 'c', 2);
    await until('all', () => one.hasAll && two.hasAll);
    assert.deepEqual([one.seen, two.seen], [[1, 2], [1, 2]]);
  }, { server: ['--history-messages=5'] }),

  'client: state is loaded at first and after a gap, and messages follow it': () => through(async ({ encke, client }) => {
    const log = [];
    let state = 0;
    const sub = client.subscribe('c', {
      async load() {
        const loaded = state;
        await pause(200);
        log.push(`state ${loaded}`);
      },
      onMessage: ({ data }) => log.push(data),
      onGap: () => log.push('gap'),
    });
    await until('it is open', () => client.state === 'open');
    state = 1;
    await encke.publish('c', 'one');
    await until('one', () => log.length === 2);
    assert.deepEqual(log, ['state 0', 'one']);
    await encke.end();
    await encke.run();
    await until('a gap', () => log.length === 4, 30);
    await encke.publish('c', 'two');
    await until('two', () => log.length === 5);
    assert.deepEqual(log.slice(2), ['gap', 'state 1', 'two']);
    assert.match(sub.cursor, /^\w+-1$/);
  }),

  'client: a callback that throws stops nothing': () => through(async ({ encke, client }) => {
    const seen = [];
    const errors = [];
    globalThis.reportError = (error) => errors.push(error.message);
    client.subscribe('c', { onMessage: ({ data }) => { seen.push(data); throw new Error(data); } });
    await until('it is open', () => client.state === 'open');
    for (const text of ['a', 'b']) await encke.publish('c', text);
    await until('both', () => seen.length === 2);
    assert.deepEqual(errors, ['a', 'b']);
    delete globalThis.reportError;
  }),

  'client: a slow loop is waited for, and still gets everything': () => through(async ({ encke, client }) => {
    const count = 6000;
    const seen = [];
    const reading = (async () => {
      for await (const { data } of client.messages('c', { since: 'earliest' })) {
        seen.push(data.n);
        if (seen.length === 1) await pause(1500);
        if (seen.length === count) return;
      }
    })();
    await until('it is open', () => client.state === 'open');
    for (let from = 1; from <= count; from += 500) {
      const lines = Array.from({ length: 500 }, (_, n) => JSON.stringify({ channel: 'c', data: { n: from + n } }));
      await fetch(`${encke.url}publish`, { method: 'POST', body: lines.join('\n') });
    }
    await reading;
    assert.deepEqual(seen, Array.from({ length: count }, (_, n) => n + 1));
    await until('it is over', async () => ((await encke.subscribers('c')).total || 0) === 0);
    assert.equal(client.state, 'idle');
  }, { server: ['--history-messages=10000'] }),

  'client: bytes, text and JSON are published and received as they are': () => through(async ({ faults, client }) => {
    const seen = [];
    client.subscribe('a/b c', { onMessage: ({ data, event, channel }) => seen.push([data, event, channel]) });
    await until('it is open', () => client.state === 'open');
    await client.publish('a/b c', 'ünï\n', { event: 'e' });
    await client.publish('a/b c', new Uint8Array([0, 255]));
    await client.publish('a/b c', { x: [null] });
    const { id } = await client.publish('a/b c', 1, { key: 'once' });
    assert.equal((await client.publish('a/b c', 1, { key: 'once' })).id, id);
    await until('four', () => seen.length === 4);
    const at = 'a/b c';
    assert.deepEqual(seen, [['ünï\n', 'e', at], [new Uint8Array([0, 255]), undefined, at], [{ x: [null] }, undefined, at], [1, undefined, at]]);
    await assert.rejects(client.publish('a*b', 'x'), { status: 400 });
    // It is repeated with the same key until there is an answer.
    Object.assign(faults, { mode: 503, retryAfter: '' });
    const sending = client.publish('a/b c', 'again');
    await pause(300);
    faults.mode = 'pass';
    await sending;
    await until('five', () => seen.length === 5);
    const keys = faults.requests.filter(({ path }) => path.startsWith('/publish')).slice(-2).map(({ headers }) => headers['idempotency-key']);
    assert.equal(keys[0], keys[1]);
  }),

  'client: a token is asked for at first, before it expires, and once after a 401': async () => {
    const reasons = [];
    let accepted = '';
    let expiring = null;
    const server = await fake((request, response) => {
      if (request.headers.authorization !== `Bearer ${accepted}`) {
        response.writeHead(401, { 'Content-Type': 'application/problem+json' });
        return response.end('{"title":"Unauthorized","status":401,"detail":"no"}');
      }
      response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
      response.write('{"cursor":"e-1","heartbeat":15000}\n');
      expiring = () => response.end('{"cursor":"e-1","retry":0,"expired":true}\n');
      return undefined;
    });
    const now = Date.now() / 1000;
    const tokens = ['old', token({ exp: now + 1000, sub: 'a' }), token({ exp: now + 2000, sub: 'a' }), 'bad', 'bad'];
    accepted = tokens[1];
    const client = connect(server.url, {
      transports: ['ndjson'],
      token: ({ reason, channels }) => { reasons.push(`${reason} ${channels}`); return tokens.shift(); },
    });
    const errors = [];
    try {
      client.subscribe('c', { onError: (error) => errors.push(error.status) });
      await until('it is open', () => client.state === 'open');
      assert.deepEqual(reasons, ['first c', 'refused c']);
      accepted = tokens[0];
      const before = expiring;
      expiring();
      await until('it is open again', () => expiring !== before && client.state === 'open');
      assert.deepEqual(reasons.slice(2), ['expires c']);
      expiring();
      await until('it is over', () => client.state === 'unauthorized');
      assert.deepEqual(reasons.slice(3), ['expires c', 'refused c']);
      assert.deepEqual(errors, [401]);
    } finally {
      client.close();
      await server.end();
    }
  },

  'client: it publishes nothing once it is closed, and repeats nothing': () => through(async ({ encke, faults, client }) => {
    faults.mode = 503;
    const repeated = client.publish('c', 'one');
    await until('it has failed once', () => faults.requests.length === 1);
    client.close();
    await assert.rejects(repeated, { message: 'closed', status: 400 });
    faults.mode = 'pass';
    await assert.rejects(client.publish('c', 'two'), { message: 'closed', status: 400 });
    await assert.rejects(client.publishLines('c', ['three']), { message: 'closed', status: 400 });
    assert.equal(faults.requests.length, 1);
    // What is under way is not broken off.
    const other = connect(faults.url);
    const under = other.publish('c', 'four');
    other.close();
    assert.equal((await under).channel, 'c');
  }),

  'client: what can never be a server is refused at once': () => {
    // So is the address of a package's module, where none is given.
    const url = new URL('.', import.meta.url);
    assert.throws(() => connect(url), { message: `no sse to ${url}`, status: 400 });
    assert.throws(() => connect(), { status: 400 });
    assert.throws(() => connect('ws://127.0.0.1/'), { status: 400 });
  },

  'client: a batch may tell a gap and the end': async () => {
    let count = 0;
    const server = await fake((request, response) => {
      count += 1;
      response.end('{"cursor":"e-4","messages":[],"gap":true,"end":true}');
    });
    for (const transport of ['poll', 'long-poll']) {
      const client = connect(server.url, { transports: [transport] });
      const log = [];
      client.subscribe('c', { since: 'd-9', onGap: () => log.push('gap'), onEnd: () => log.push('end') });
      await until(`${transport}: its end`, () => log.includes('end'));
      assert.deepEqual(log, ['gap', 'end'], transport);
      client.close();
    }
    assert.equal(count, 2);
    await server.end();
  },

  'client: a gap may hide that a channel was opened again': async () => {
    const batches = [
      '{"cursor":"e-2","messages":[],"ended":["a","b"]}',
      '{"cursor":"e-4","messages":[],"gap":true,"ended":["b"]}',
      '{"cursor":"e-6","messages":[],"ended":["c"]}',
      '{"cursor":"e-7","messages":[{"id":"e-7","channel":"a","data":"x"}]}',
      '{"cursor":"e-8","messages":[],"ended":["a"]}',
    ];
    const server = await fake((request, response) => {
      response.end(batches.shift() || '{"cursor":"e-8","messages":[]}');
    });
    const client = connect(server.url, { transports: ['poll'] });
    const log = [];
    client.subscribe('a,b,c', {
      since: 'e-0', onMessage: ({ data }) => log.push(data), onGap: () => log.push('gap'), onEnd: () => log.push('end'),
    });
    await until('its end', () => log.includes('end'));
    assert.deepEqual(log, ['gap', 'x', 'end']);
    client.close();
    await server.end();
  },

  'client: subscriptions from different places go on together from the older of what their polls said': async () => {
    const cursors = { a: 'aaaaaaa1-10', b: 'aaaaaaa1-9.3' };
    const polls = [];
    let followed;
    const server = await fake((request, response) => {
      const { pathname, searchParams } = new URL(request.url, 'http://x');
      const [, transport, channels] = pathname.split('/');
      if (transport === 'poll') {
        // The first two are answered together, so that neither place is followed before the other is known.
        const answer = () => response.end(`{"cursor":"${cursors[channels]}","messages":[]}`);
        const count = polls.push(answer);
        if (count === 2) polls.forEach((each) => each());
        if (count > 2) answer();
        return;
      }
      const since = searchParams.get('since');
      // One of them may still be followed alone for a moment.
      if (channels === 'a,b') followed = since;
      response.write(`{"heartbeat":15000,"cursor":"${since}"}\n`);
    });
    const client = connect(server.url, { transports: ['ndjson'] });
    client.subscribe('a', { since: 'aaaaaaa1-2' });
    client.subscribe('b', { since: 'aaaaaaa1-1' });
    await until('both are followed', () => followed !== undefined);
    assert.equal(followed, 'aaaaaaa1-9.3');
    client.close();
    await server.end();
  },

  'client: an answer of a node that is late is not taken for the present': async () => {
    // Epochs of a cluster: the second one is later.
    const [before, now] = ['aaaaaaa1', 'aaaaaaa2'];
    const batches = [
      `{"cursor":"${before}-60","messages":[]}`,
      `{"cursor":"${now}-6","messages":[{"id":"${now}-4","channel":"c","data":4},{"id":"${now}-6","channel":"c","data":6}]}`,
    ];
    const server = await fake((request, response) => {
      if (request.url.includes('/ndjson/')) return response.write(`{"heartbeat":15000,"cursor":"${now}-5"}\n`);
      return response.end(batches.shift());
    });
    const client = connect(server.url, { transports: ['ndjson'] });
    client.subscribe('c', { since: `${now}-5` });
    await until('it is open', () => client.state === 'open');
    const seen = [];
    client.subscribe('c', { since: `${before}-50`, onMessage: ({ data }) => seen.push(data) });
    await until('all of it', () => seen.includes(6));
    assert.deepEqual(seen, [4, 6]);
    client.close();
    await server.end();
  },

  'client: what a connection repeats from before a new epoch of a cluster is not received again': async () => {
    const [before, now] = ['aaaaaaa1', 'aaaaaaa2'];
    const ids = [`${before}-9`, `${before}-9.1`, `${before}-10`, `${now}-1`, `${now}-2`, `${before}-10`, `${now}-2`, `${now}-3`];
    const server = await fake((request, response) => {
      const lines = ids.map((id) => `{"id":"${id}","channel":"c","data":"${id}"}\n`);
      response.write(`{"heartbeat":15000,"cursor":"${before}-8"}\n${lines.join('')}`);
    });
    const client = connect(server.url, { transports: ['ndjson'] });
    const seen = [];
    client.subscribe('c', { since: `${before}-8`, onMessage: ({ data }) => seen.push(data) });
    await until('the last', () => seen.includes(`${now}-3`));
    assert.deepEqual(seen, [...ids.slice(0, 5), `${now}-3`]);
    client.close();
    await server.end();
  },

  'client: a single server that begins anew has an epoch in no order': async () => {
    const batches = [
      '{"cursor":"zzzzzzz9-9","messages":[{"id":"zzzzzzz9-9","channel":"c","data":1}]}',
      '{"cursor":"aaaaaaa1-2","messages":[{"id":"aaaaaaa1-1","channel":"c","data":2},{"id":"aaaaaaa1-2","channel":"c","data":3}],"gap":true}',
      '{"cursor":"aaaaaaa1-3","messages":[{"id":"aaaaaaa1-3","channel":"c","data":4}]}',
    ];
    const asked = [];
    const server = await fake((request, response) => {
      asked.push(new URL(request.url, 'http://x').searchParams.get('since'));
      response.end(batches.shift() || '{"cursor":"aaaaaaa1-3","messages":[]}');
    });
    const client = connect(server.url, { transports: ['poll'] });
    const seen = [];
    client.subscribe('c', { since: 'zzzzzzz9-8', onMessage: ({ data }) => seen.push(data), onGap: () => seen.push('gap') });
    await until('the last', () => seen.includes(4));
    assert.deepEqual(seen, [1, 'gap', 2, 3, 4]);
    assert.deepEqual(asked.slice(0, 3), ['zzzzzzz9-8', 'zzzzzzz9-9', 'aaaaaaa1-2']);
    client.close();
    await server.end();
  },

  'client: channels that are complete end it, in each way': async () => {
    const message = '{"id":"e-1","channel":"c","data":"x"}';
    const sse = `: heartbeat 15000\nretry: 1000\nid: e-0\nevent: cursor\ndata: e-0\n\nid: e-1\ndata: ${message}\n\n`;
    const answers = {
      sse: [200, `${sse}id: e-2\nevent: end\ndata: e-2\n\n`],
      ndjson: [200, `{"cursor":"e-0","heartbeat":15000}\n${message}\n{"cursor":"e-2","end":true}\n`],
      'long-poll': [200, `{"cursor":"e-2","messages":[${message}],"end":true}`],
      poll: [200, `{"cursor":"e-2","messages":[${message}],"end":true}`],
      none: [204, ''],
    };
    for (const [name, [status, body]] of Object.entries(answers)) {
      let count = 0;
      const server = await fake((request, response) => {
        count += 1;
        response.writeHead(status);
        response.end(body);
      });
      const client = connect(server.url, { transports: [name === 'none' ? 'sse' : name] });
      const log = [];
      client.subscribe('c', { since: 'e-0', onMessage: ({ data }) => log.push(data), onEnd: () => log.push('end') });
      await until(`${name}: its end`, () => log.includes('end'));
      assert.deepEqual(log, name === 'none' ? ['end'] : ['x', 'end']);
      await pause(100);
      assert.equal(count, 1, name);
      client.close();
      await server.end();
    }
  },

  'client: answers that would be repeated without end are slowed down': async () => {
    const answers = {
      'ends at once': ['sse', ': heartbeat 15000\nretry: 0\nid: e-0\nevent: cursor\ndata: e-0\n\nid: e-0\nevent: cursor\ndata: e-0\nretry: 1\n\n'],
      'expires at once': ['ndjson', '{"cursor":"e-0","heartbeat":15000}\n{"cursor":"e-0","retry":0,"expired":true}\n'],
      'holds that are none': ['long-poll', '{"cursor":"e-0","messages":[]}'],
      'gap after gap': ['long-poll', '{"cursor":"e-0","messages":[],"gap":true}'],
      'no answer of encke': ['sse', '<html>Log in to the wifi of this hotel</html>'],
    };
    for (const [name, [transport, body]] of Object.entries(answers)) {
      let count = 0;
      const server = await fake((request, response) => {
        count += 1;
        response.end(body);
      });
      const client = connect(server.url, { transports: [transport], token: () => 'x' });
      client.subscribe('c', { since: 'e-0', onGap() {} });
      await pause(2000);
      client.close();
      await server.end();
      assert.ok(count > 1 && count <= 9, `${name}: ${count} requests in two seconds`);
    }
  },
};
