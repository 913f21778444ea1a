// The clients that src/docs/http.md prints, run as they are printed.
//
// Their waits take no time here: each is noted, and adds to a clock of the check's own. So the checks
// count requests for each answer and each wait, and never for each second.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { documentedFunction } from './blocks.mjs';
import { Encke } from './servers.mjs';
import { Skipped, until } from './until.mjs';

const PYTHON = new URL('follow.py', import.meta.url).pathname;

/** The client in JavaScript of this name, with `setTimeout` and `console` of the check. */
const client = (name, setTimeout) => documentedFunction('http', name, { setTimeout, console: { warn() {} } });

/** What the client in Python whose code begins so yields, sleeps and raises: at most so many things. */
async function* python(words, base, channels, most) {
  const child = spawn('python3', [PYTHON, words, base, channels, String(most)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  try {
    for await (const line of createInterface({ input: child.stdout })) yield JSON.parse(line);
    assert.deepEqual(await ended, [0, null]);
  } finally {
    child.kill();
  }
}

export async function needPython(...modules) {
  await promisify(execFile)('python3', ['-c', `import ${['json', ...modules].join()}`]).catch((error) => {
    throw new Skipped(`python3 or one of its modules is missing: ${error.message.trim().split('\n').at(-1)}`);
  });
}

/** A server that passes requests to several in turn, or answers them itself, and counts them. */
async function balancer(answer) {
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push(request.url);
    answer(request, response, requests.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const end = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { requests, url: `http://127.0.0.1:${server.address().port}`, end };
}

/** Two servers in turn. `advice`: the `retry` of each answer, with what came before it. */
async function withTwoServers(check) {
  const servers = [await Encke.start(), await Encke.start()];
  const batches = [];
  const inTurn = await balancer((request, response, count) => {
    const { port } = servers[count % 2];
    http.get({ port, host: '127.0.0.1', path: request.url, agent: false }, async (answer) => {
      const body = (await answer.toArray()).join('');
      batches.push(JSON.parse(body));
      response.writeHead(answer.statusCode, answer.headers);
      response.end(body);
    });
  });
  try {
    await check(servers, inTurn, batches);
  } finally {
    await inTurn.end();
    for (const server of servers) await server.end();
  }
}

/** What a client that waits `waited` milliseconds in all may ask: an answer says at least 450 ms. */
const most = (waited) => 3 + waited / 400;

/** Follows in JavaScript until it has waited for so long in all, or asked absurdly often. */
async function followFor(waitMs, url, requests) {
  const state = { waited: 0, gaps: 0, messages: [], error: null };
  let stop = null;
  const stopped = new Promise((resolve) => { stop = resolve; });
  const follow = await client('follow', (done, ms) => {
    state.waited += ms;
    if (state.waited >= waitMs) stop();
    else setImmediate(done);
  });
  const never = new Promise(() => {});
  const onGap = () => {
    state.gaps += 1;
    if (requests.length < 1000) return undefined;
    stop();
    return never;
  };
  const failed = follow(url, 'news', (message) => state.messages.push(message), onGap).catch((error) => { state.error = error; });
  await Promise.race([stopped, failed]);
  return state;
}

// JSON as deep as may be published, and all that some reader takes for the end of a line.
const NESTED = '['.repeat(128) + '1' + ']'.repeat(128);
const ACCEPTED = [
  [NESTED, 'application/json'],
  [JSON.stringify({ '__proto__': '\u2028\u2029\u0085', 'a\r\nb': '\r' }), 'application/json'],
  ['\ufeff\r\r\n\n\r \u2028\u2029\u0085\v\f\u001c\u001e\0', 'text/plain'],
  ['', 'text/plain'],
  [new Uint8Array([0, 255, 13, 10]), 'application/octet-stream'],
];
const EXPECTED = ACCEPTED.map(([body, type]) => ({
  'application/json': () => JSON.parse(body),
  'text/plain': () => body,
  'application/octet-stream': () => Buffer.from(body).toString('base64'),
}[type]()));

async function publishAll(encke) {
  for (const [body, type] of ACCEPTED) await encke.publish('news', body, { 'Content-Type': type });
}

const STATUSES = [400, 401, 403, 404, 414, 431];

export const documented = {
  'the client in JavaScript waits as two servers behind a balancer advise': () => withTwoServers(async (servers, { url, requests }, batches) => {
    const { waited, gaps } = await followFor(60_000, url, requests);
    assert.ok(gaps > 3, 'the servers do not know each other\'s cursors');
    assert.ok(batches.slice(1).every(({ gap, retry }) => gap && retry >= 450), JSON.stringify(batches));
    assert.ok(requests.length <= most(waited), `${requests.length} requests in ${waited} ms`);
  }),

  'the client in JavaScript waits where each of two servers has messages that the other has not': () => withTwoServers(async (servers, { url, requests }) => {
    for (const server of servers) await server.publish('news', 'hello');
    const { waited, gaps } = await followFor(60_000, url, requests);
    assert.ok(gaps > 3, 'the servers do not know each other\'s cursors');
    assert.ok(requests.length <= most(waited), `${requests.length} requests in ${waited} ms`);
  }),

  'the client in JavaScript does not repeat what is refused for good': async () => {
    for (const status of STATUSES) {
      const refusing = await balancer((_, response) => response.writeHead(status).end('refused'));
      const { error } = await followFor(60_000, refusing.url, refusing.requests);
      assert.equal(error?.message, `${status} refused`);
      assert.equal(refusing.requests.length, 1, `${status}`);
      await refusing.end();
    }
  },

  'the client in JavaScript heeds Retry-After': async () => {
    for (const status of [408, 429, 500, 503]) {
      const refusing = await balancer((_, response) => response.writeHead(status, { 'Retry-After': '7' }).end());
      const { error, waited } = await followFor(70_000, refusing.url, refusing.requests);
      assert.equal(error, null);
      assert.ok(refusing.requests.length <= waited / 7000 + 1, `${status}: ${refusing.requests.length} in ${waited} ms`);
      await refusing.end();
    }
  },

  'the clients in JavaScript survive whatever may be published': async () => {
    const encke = await Encke.start();
    // Once the check is over the client waits for ever, so that it does not keep node from its end.
    let isOver = false;
    const follow = await client('follow', (done, ms) => { if (!isOver) setTimeout(done, ms); });
    const stream = await client('stream', setTimeout);
    const got = [];
    const lines = [];
    const begins = (await (await fetch(`${encke.url}poll/news`)).json()).cursor;
    const base = encke.url.slice(0, -1);
    follow(base, 'news', ({ data }) => got.push(data), () => got.push('gap'));
    const streaming = stream(base, 'news', begins, (line) => { if (line.id) lines.push(line.data); });
    await until('both wait', async () => {
      const { 'long-poll': held, ndjson } = await encke.subscribers('news');
      return held === 1 && ndjson === 1;
    });
    await publishAll(encke);
    await until('all is received', async () => got.length >= EXPECTED.length && lines.length >= EXPECTED.length);
    assert.deepEqual(got, EXPECTED);
    assert.deepEqual(lines, EXPECTED);
    isOver = true;
    await encke.end();
    // It may or may not say that it was cut.
    await streaming.catch(() => {});
  },

  'the client in Python waits as two servers behind a balancer advise': () => withTwoServers(async (servers, { url, requests }) => {
    await needPython();
    for (const hasMessages of [false, true]) {
      requests.length = 0;
      if (hasMessages) for (const server of servers) await server.publish('news', 'hello');
      let waited = 0;
      for await (const { slept } of python('import http.client', url, 'news', 60)) waited += 1000 * (slept ?? 0);
      assert.ok(requests.length > 10);
      assert.ok(requests.length <= most(waited), `${requests.length} requests in ${waited} ms`);
    }
  }),

  'the client in Python does not repeat what is refused for good, and heeds Retry-After': async () => {
    await needPython();
    for (const status of [...STATUSES, 408, 429, 500, 503]) {
      const refusing = await balancer((_, response) => response.writeHead(status, { 'Retry-After': '7' }).end('refused'));
      const things = [];
      for await (const thing of python('import http.client', refusing.url, 'news', 5)) things.push(thing);
      if (STATUSES.includes(status)) {
        assert.match(things[0].raised, new RegExp(status));
        assert.equal(refusing.requests.length, 1, `${status}`);
      } else {
        assert.equal(things.length, 5);
        assert.ok(things.every(({ slept }) => slept >= 7), JSON.stringify(things));
      }
      await refusing.end();
    }
  },

  'the client in Python survives whatever may be published': async () => {
    await needPython();
    const encke = await Encke.start();
    const running = (async () => {
      const got = [];
      for await (const { yielded } of python('import http.client', encke.url.slice(0, -1), 'news', 60)) {
        if (yielded) got.push(yielded.data);
        if (got.length === EXPECTED.length) return got;
      }
      return got;
    })();
    await until('it waits', async () => (await encke.subscribers('news'))['long-poll'] === 1);
    await publishAll(encke);
    assert.deepEqual(await running, EXPECTED);
    await encke.end();
  },

  'the client with sseclient-py reads UTF-8, skips what is no message, and comes back': async () => {
    await needPython('requests', 'sseclient');
    const encke = await Encke.start('--stream-max-age=1s');
    const told = [];
    const running = (async () => {
      for await (const thing of python('import random', encke.url.slice(0, -1), 'news', 60)) {
        told.push(thing);
        if (thing.yielded === 'last' || 'raised' in thing) return;
      }
    })();
    const texts = ['grüße 😀', 'two\nlines', 'a\u2028b'];
    await until('it waits', async () => (await encke.subscribers('news')).sse === 1);
    for (const text of texts) await encke.publish('news', text);
    await until('a stream has ended', async () => told.some((thing) => 'slept' in thing || 'raised' in thing));
    await encke.publish('news', 'last');
    await running;
    await encke.end();
    assert.deepEqual(told.filter((thing) => !('slept' in thing)).map((thing) => thing.yielded ?? thing), [...texts, 'last']);
  },
};
