// Answers that come in pieces: channels that end, readers that stop by themselves, and publishers of lines.
//
// The client in Node and in Chromium, against encke; and the code of src/docs/answers.md as it is printed.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connect } from '../../src/core/client/encke.min.js';
import { block } from './blocks.mjs';
import { needPython } from './documented.mjs';
import { Faults } from './faults.mjs';
import { Encke, Site } from './servers.mjs';
import { until } from './until.mjs';

const run = promisify(execFile);
const TRANSPORTS = ['sse', 'ndjson', 'ws', 'long-poll', 'poll'];
const CLIENT = new URL('../../src/core/client/encke.min.js', import.meta.url).href;
const numbers = (count) => Array.from({ length: count }, (_, n) => n);

/** A server with a proxy before it, and as many clients as are asked for. */
async function through(checks, ...server) {
  const encke = await Encke.start(...server);
  const faults = await Faults.start(encke.port);
  const clients = [];
  const client = (options = {}) => {
    clients.push(connect(faults.url, options));
    return clients.at(-1);
  };
  try {
    await checks({ encke, faults, client });
  } finally {
    clients.forEach((one) => one.close());
    await faults.end();
    await encke.end();
  }
}

/** Follows, and keeps what it is told. */
function follow(client, channels, since = 'now') {
  const log = [];
  const sub = client.subscribe(channels, {
    since,
    onMessage: ({ data }) => { log.push(data); },
    onGap: () => log.push('gap'),
    onEnd: () => log.push('end'),
    onError: (error) => log.push(error.message),
  });
  return { log, sub };
}

const end = (encke, channel, text = '') => encke.publish(`${channel}?end=1`, text);
const following = async (encke, channel) => (await encke.subscribers(channel)).total || 0;

/** A generator that gives each of these when it is told to go on. */
function byHand() {
  const steps = [];
  let go = () => {};
  return {
    give(item) { steps.push({ value: item }); go(); },
    finish() { steps.push({ done: true }); go(); },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        while (!steps.length) await new Promise((done) => { go = done; });
        const { value, done } = steps.shift();
        if (done) return;
        yield value;
      }
    },
  };
}

export const answers = {
  'answers: an end ends readers on each transport, and nothing is asked again': async () => {
    for (const transport of TRANSPORTS) {
      await through(async ({ encke, faults, client }) => {
        await encke.publish('c', 'one');
        const late = follow(client({ transports: [transport] }), 'c', 'earliest');
        const live = follow(client({ transports: [transport] }), 'c');
        const loop = (async () => {
          const seen = [];
          for await (const { data } of client({ transports: [transport] }).messages('c', { since: '-1' })) seen.push(data);
          return seen;
        })();
        await until('all know where they stand', () => late.log.length === 1 && live.sub.cursor);
        await encke.publish('c', 'two');
        await end(encke, 'c', 'three');
        await until(`${transport}: their ends`, () => late.sub.closed && live.sub.closed);
        assert.deepEqual(late.log, ['one', 'two', 'three', 'end'], transport);
        assert.deepEqual(live.log, ['two', 'three', 'end'], transport);
        assert.deepEqual(await loop, ['one', 'two', 'three'], transport);
        // One that comes after it has all of it, and its end.
        const after = client({ transports: [transport] });
        const replay = follow(after, 'c', 'earliest');
        const none = follow(client({ transports: [transport] }), 'c');
        await until(`${transport}: the replay`, () => replay.sub.closed && none.sub.closed);
        assert.deepEqual(replay.log, ['one', 'two', 'three', 'end'], transport);
        assert.deepEqual(none.log, ['end'], transport);
        await until('it is idle', () => after.state === 'idle');
        const count = faults.requests.length;
        await new Promise((done) => setTimeout(done, 1200));
        assert.equal(faults.requests.length, count, `${transport}: ${faults.requests.at(-1).path}`);
        // Of each of the five readers one, where a request is as long as the answer.
        if (!/poll/.test(transport)) assert.equal(count, 5, transport);
      });
    }
  },

  'answers: one that is cut again and again has every token and the end once': async () => {
    for (const transport of TRANSPORTS) {
      await through(async ({ encke, faults, client }) => {
        Object.assign(faults, { mode: 'cut', cutMs: 700 });
        const { log, sub } = follow(client({ transports: [transport] }), 'c', 'earliest');
        for (const n of numbers(60)) {
          await encke.publish('c', `${n}`);
          await new Promise((done) => setTimeout(done, 20));
        }
        await end(encke, 'c');
        faults.mode = 'pass';
        await until(`${transport}: its end`, () => sub.closed, 60);
        assert.deepEqual(log, [...numbers(60).map(String), 'end'], transport);
      });
    }
  },

  'answers: of several on one connection each ends with its own, and the others go on': async () => {
    for (const transport of TRANSPORTS) {
      await through(async ({ encke, client }) => {
        const one = client({ transports: [transport] });
        const [a, b, both] = [follow(one, 'a'), follow(one, 'b'), follow(one, 'a,b')];
        await until('they follow', () => [a, b, both].every(({ sub }) => sub.cursor));
        await encke.publish('a', 'a1');
        await end(encke, 'a', 'a2');
        await until(`${transport}: the end of one`, () => a.sub.closed);
        await encke.publish('b', 'b1');
        await until(`${transport}: the others go on`, () => b.log.length && both.log.length === 3);
        // One that has ended before it is followed here ends as well.
        const again = follow(one, 'a', 'earliest');
        await until(`${transport}: the replay`, () => again.sub.closed);
        assert.deepEqual(again.log, ['a1', 'a2', 'end'], transport);
        await end(encke, 'b', 'b2');
        await until(`${transport}: the end of all`, () => b.sub.closed && both.sub.closed);
        assert.deepEqual(a.log, ['a1', 'a2', 'end'], transport);
        assert.deepEqual(b.log, ['b1', 'b2', 'end'], transport);
        assert.deepEqual(both.log, ['a1', 'a2', 'b1', 'b2', 'end'], transport);
        await until('it is idle', () => one.state === 'idle');
        // It is open again for who comes now.
        await encke.publish('a', 'a3');
        const anew = follow(one, 'a', '-1');
        await until(`${transport}: the new message`, () => anew.log.length === 1);
        assert.deepEqual(anew.log, ['a3'], transport);
        assert.equal(await following(encke, 'a'), transport === 'poll' ? 0 : 1);
      });
    }
  },

  'answers: one that is slow has the rest before the end': () => through(async ({ encke, client }) => {
    const seen = [];
    let go;
    const gate = new Promise((done) => { go = done; });
    const log = [];
    client().subscribe('c', { onMessage: ({ data }) => { seen.push(data); return gate; }, onEnd: () => log.push(seen.length) });
    await until('it follows', async () => await following(encke, 'c') === 1);
    for (const n of numbers(1500)) await encke.publish('c', `${n}`);
    await end(encke, 'c');
    await until('nobody follows', async () => await following(encke, 'c') === 0);
    go();
    await until('its end', () => log.length > 0);
    assert.deepEqual(seen, numbers(1500).map(String));
    assert.deepEqual(log, [1500]);
  }, '--history-messages=2000'),

  'answers: one that is slow has the end, and asks no more while it works': () => through(async ({ encke, faults, client }) => {
    let go;
    const gate = new Promise((done) => { go = done; });
    const log = [];
    client().subscribe('c', { onMessage: ({ data }) => { log.push(data); return gate; }, onEnd: () => log.push('end') });
    await until('it follows', async () => await following(encke, 'c') === 1);
    await encke.publish('c', 'one');
    await end(encke, 'c', 'two');
    await until('nobody follows', async () => await following(encke, 'c') === 0);
    await new Promise((done) => setTimeout(done, 1200));
    assert.equal(faults.requests.length, 1);
    go();
    await until('its end', () => log.includes('end'));
    assert.deepEqual(log, ['one', 'two', 'end']);
  }),

  'answers: a channel that is open again ends again': async () => {
    for (const transport of TRANSPORTS) {
      await through(async ({ encke, client }) => {
        const { log, sub } = follow(client({ transports: [transport] }), 'a,b', 'earliest');
        await until('it follows', () => sub.cursor);
        await end(encke, 'a', 'a1');
        await until(`${transport}: its message`, () => log.length === 1);
        await encke.publish('a', 'a2');
        await until(`${transport}: the next`, () => log.length === 2);
        await end(encke, 'b', 'b1');
        await until(`${transport}: the other`, () => log.length === 3);
        await encke.publish('a', 'a3');
        await until(`${transport}: more of the first`, () => log.length === 4);
        await end(encke, 'a');
        await until(`${transport}: the end`, () => sub.closed);
        assert.deepEqual(log, ['a1', 'a2', 'b1', 'a3', 'end'], transport);
      });
    }
  },

  'answers: tabs that share a connection end each with its own channels': async (browser) => {
    const encke = await Encke.start();
    const site = await Site.start(encke);
    const pages = [await browser.open(site.origin)];
    for (let n = 0; n < 2; n += 1) pages.push(await browser.open(site.origin, { beside: pages[0] }));
    try {
      for (const [n, page] of pages.entries()) {
        await page.value(`(async () => {
          const { connect } = await import('${site.origin}/encke/encke.js');
          window.client = connect('${site.origin}/encke/');
          window.logs = {};
          window.follow = (channel, since) => {
            const log = logs[channel] = [];
            return client.subscribe(channel, { since, onMessage: ({ data }) => log.push(data), onEnd: () => log.push('end') });
          };
          window.sub = follow('${['a', 'a', 'b'][n]}');
        })()`);
        await page.until('client.state === "open" && sub.cursor');
      }
      await until('both are followed', async () => await following(encke, 'a') === 1 && await following(encke, 'b') === 1);
      await encke.publish('a', 'a1');
      await end(encke, 'a');
      for (const page of pages.slice(0, 2)) await page.until('sub.closed && logs.a.join() === "a1,end"');
      await encke.publish('b', 'b1');
      await pages[2].until('logs.b.join() === "b1"');
      // One more, of an answer that is over; and the connection ends while two tabs have it.
      await pages[1].value('window.late = follow("b", "earliest")');
      await pages[1].until('logs.b.join() === "b1"');
      await end(encke, 'b');
      await pages[2].until('sub.closed && logs.b.join() === "b1,end"');
      await pages[1].until('late.closed && logs.b.join() === "b1,end"');
      for (const page of pages) await page.until('client.state === "idle"');
      const before = await encke.requests();
      await new Promise((done) => setTimeout(done, 1000));
      assert.equal(await encke.requests(), before + 1);
      // They go on together with something else.
      for (const page of pages) await page.value('window.next = follow("d")');
      for (const page of pages) await page.until('next.cursor');
      await until('one follows for all', async () => await following(encke, 'd') === 1);
      await end(encke, 'd', 'd1');
      for (const page of pages) await page.until('next.closed && logs.d.join() === "d1,end"');
      for (const page of pages) assert.deepEqual(page.complaints, []);
    } finally {
      await pages[0].close();
      pages.forEach((page) => browser.sessions.delete(page.sessionId));
      await encke.end();
      await site.end();
    }
  },

  'answers: publishLines publishes each when it comes, in order, once, and ends': () => through(async ({ faults, client }) => {
    const one = client();
    const { log, sub } = follow(one, 'c', 'earliest');
    const texts = ['Comets', '\n\n', ' are ', 'ünï\r\n', '', '{"n":1}'];
    const tokens = byHand();
    const sending = client().publishLines('c', tokens, { event: 'token', end: true });
    for (const [n, text] of texts.entries()) {
      tokens.give(text);
      await until('it is there', () => log.length === n + 1);
    }
    tokens.finish();
    const { published, last } = await sending;
    await until('its end', () => sub.closed);
    assert.deepEqual(log, [...texts, 'end']);
    assert.equal(published, texts.length);
    assert.match(last, /^\w+-\d+$/);
    // Many at once go in few requests, whatever happens to these.
    faults.requests.length = 0;
    const many = follow(one, 'd', 'earliest');
    const breaking = setInterval(() => faults.cutAll(), 150);
    const slowly = async function* () {
      for (const n of numbers(3000)) {
        if (n % 10 === 0) await new Promise((done) => setTimeout(done, 3));
        yield { n };
      }
    };
    const result = await client().publishLines('d', slowly(), { end: true });
    clearInterval(breaking);
    assert.equal(result.published, 3000);
    await until('all', () => many.sub.closed, 60);
    assert.deepEqual(many.log.map((data) => data.n ?? data), [...numbers(3000), 'end']);
    const posts = faults.requests.filter(({ path }) => path.startsWith('/publish'));
    assert.ok(posts.length < 200, `${posts.length} requests for 3000 lines`);
  }, '--history-messages=10000'),

  'answers: publishLines that is refused says why, and takes no more': () => through(async ({ faults, client }) => {
    let taken = 0;
    let isClosed = false;
    const endless = async function* () {
      try {
        for (;;) {
          await new Promise((done) => setTimeout(done, 5));
          yield `${taken += 1}`;
        }
      } finally {
        isClosed = true;
      }
    };
    await assert.rejects(client().publishLines('a*b', endless()), { status: 400, message: /line 1: channel "a\*b"/ });
    assert.ok(isClosed && taken < 100, `${taken} taken`);
    assert.equal(faults.requests.length, 1);
    const control = new AbortController();
    faults.mode = 'stall';
    const sending = client().publishLines('c', endless(), { signal: control.signal });
    await until('it is under way', () => faults.requests.length === 2);
    control.abort();
    await assert.rejects(sending, { name: 'AbortError' });
  }),

  'answers: a page publishes lines over HTTP/1.1, and others follow': async (browser) => {
    const encke = await Encke.start();
    const site = await Site.start(encke);
    const page = await browser.open(site.origin);
    const reader = connect(encke.url);
    try {
      const { log, sub } = follow(reader, 'c', 'earliest');
      const result = await page.value(`(async () => {
        const { connect } = await import('${site.origin}/encke/encke.js');
        const tokens = async function* () {
          for (let n = 0; n < 50; n += 1) {
            await new Promise((done) => setTimeout(done, 5));
            yield 'token ' + n + '\\n';
          }
        };
        return connect('${site.origin}/encke/').publishLines('c', tokens(), { end: true });
      })()`);
      await until('its end', () => sub.closed);
      assert.deepEqual(log, [...numbers(50).map((n) => `token ${n}\n`), 'end']);
      assert.equal(result.published, 50);
      assert.deepEqual(page.complaints, []);
    } finally {
      reader.close();
      await page.close();
      await encke.end();
      await site.end();
    }
  },

  'answers: an EventSource of the browser that is left open stops for good': async (browser) => {
    const encke = await Encke.start();
    const page = await browser.open(encke.url);
    try {
      await encke.publish('c', 'one');
      await page.value(`
        window.got = []; window.errors = 0;
        window.source = new EventSource('${encke.url}sse/c?since=earliest');
        source.onmessage = ({ data }) => got.push(data);
        source.addEventListener('end', () => got.push('end'));
        source.onerror = () => { errors += 1; }; 0`);
      await page.until('got.length === 1');
      await end(encke, 'c', 'two');
      // It is not closed by the page: it comes back once, is told that there is nothing, and gives up.
      await page.until('source.readyState === 2');
      assert.deepEqual(await page.value('got'), ['one', 'two', 'end']);
      const requests = page.requests.filter(({ url }) => url.includes('/sse/c')).length;
      assert.equal(requests, 2);
    } finally {
      await page.close();
      await encke.end();
    }
  },

  'answers: the code in Node publishes a program that prints slowly, follows and replays it': async () => {
    const encke = await Encke.start();
    const directory = await mkdtemp(join(tmpdir(), 'encke-answers-'));
    try {
      const code = (await block('answers', 'js', 'export async function publish('))
        .replace("'encke'", `'${CLIENT}'`).replace('http://127.0.0.1:7711/', encke.url);
      await writeFile(join(directory, 'answer.mjs'), code);
      const program = `let n = 0; const timer = setInterval(() => { console.log('line ' + n); if (++n === 20) clearInterval(timer); }, 15)`;
      await writeFile(join(directory, 'main.mjs'), `
        import { publish, follow } from './answer.mjs';
        const seen = [[], []];
        const live = follow('chat/42', (text) => seen[0].push(text));
        const published = await publish('chat/42', process.execPath, '-e', ${JSON.stringify(program)});
        await live;
        await follow('chat/42', (text) => seen[1].push(text));
        console.log(JSON.stringify({ published, seen }));
      `);
      const { stdout } = await run(process.execPath, [join(directory, 'main.mjs')], { timeout: 60_000 });
      const lines = numbers(20).map((n) => `line ${n}`);
      assert.deepEqual(JSON.parse(stdout), { published: 20, seen: [lines, lines] });
    } finally {
      await rm(directory, { recursive: true });
      await encke.end();
    }
  },

  'answers: the code in Python publishes slow tokens, follows through cuts, and replays': async () => {
    await needPython();
    await through(async ({ encke, faults }) => {
      const code = await block('answers', 'python', 'def publish(');
      const python = (...lines) => ['-c', `${code}\n${lines.join('\n')}`];
      const tokens = numbers(40).map((n) => `${n}\n\u2028 `);
      Object.assign(faults, { mode: 'cut', cutMs: 800 });
      const base = faults.url.slice(0, -1);
      const follower = spawn('python3', python(`print(json.dumps(list(follow("${base}", "chat/42"))))`), { stdio: ['ignore', 'pipe', 'inherit'] });
      const text = follower.stdout.setEncoding('utf8').toArray();
      const exit = once(follower, 'exit');
      await until('it follows', async () => await following(encke, 'chat/42') === 1);
      const { stdout } = await run('python3', python(
        'def slow():',
        `    for token in json.loads(${JSON.stringify(JSON.stringify(tokens))}):`,
        '        time.sleep(0.03)',
        '        yield token',
        `print(publish("${encke.url.slice(0, -1)}", "chat/42", slow()))`,
      ), { timeout: 60_000 });
      assert.equal(stdout.trim(), '40');
      assert.deepEqual(await exit, [0, null]);
      assert.deepEqual(JSON.parse((await text).join('')), tokens);
      const replay = await run('python3', python(`print(json.dumps(list(follow("${encke.url.slice(0, -1)}", "chat/42"))))`), { timeout: 60_000 });
      assert.deepEqual(JSON.parse(replay.stdout), tokens);
    });
  },

  'answers: the command line of the page publishes as a program prints': async () => {
    const encke = await Encke.start();
    try {
      const command = (await block('answers', 'sh', 'lines=1')).replace('http://127.0.0.1:7711/', encke.url)
        .replace("llm 'Tell me about comets'", "(echo one; cat; echo two)");
      const shell = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] });
      const exit = once(shell, 'exit');
      const client = connect(encke.url);
      const { log, sub } = follow(client, 'chat/42', 'earliest');
      // The first line is there while the program still runs.
      await until('the first line', () => log.length === 1);
      shell.stdin.end();
      await until('its end', () => sub.closed);
      assert.deepEqual(log, ['one', 'two', 'end']);
      assert.deepEqual(await exit, [0, null]);
      client.close();
    } finally {
      await encke.end();
    }
  },
};
