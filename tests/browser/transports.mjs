// The endpoints in a real browser, used by pages of another origin and of encke's own.

import assert from 'node:assert/strict';
import { until } from './until.mjs';
import { Encke, Site, Wire } from './servers.mjs';

// Data with which a publisher could try to break out of a script or of a line.
const HOSTILE = [
  '</script><script>window.hurt=1;parent.hurt=1;alert(1)</script>',
  '<!--<script>', '-->', ']]>', '<img src=x onerror=alert(1)>', '&lt;&amp;',
  'line\u2028separator and paragraph\u2029separator', '\\u003c/script>\\', '"\');alert(1);//', '`${alert(1)}`',
  'CR\rLF\nCRLF\r\nid: forged\ndata: forged', '\u0000\u0001\u001f', '\ufeffbom', '😀 \u{10ffff}',
];
const HOSTILE_JSON = JSON.stringify({
  '</script><script>alert(2)</script>': HOSTILE, list: [{ '\u2028': null }], number: 12345678901234567890,
}).replace('"list"', '"__proto__":{"polluted":true},"__proto__":2,"list"');

const same = (text) => JSON.parse(text);

/** Publishes everything hostile; what should arrive, in order. */
async function publishHostile(encke, channel) {
  const sent = [];
  for (const text of HOSTILE) {
    sent.push(text, text);
    await encke.publish(channel, text, { 'Content-Type': 'text/plain' });
    await encke.publish(channel, JSON.stringify(text), { 'Content-Type': 'application/json' });
  }
  sent.push(same(HOSTILE_JSON));
  await encke.publish(channel, HOSTILE_JSON, { 'Content-Type': 'application/json' });
  return sent;
}

/** JSON as encke sends it: line separators are escaped, as many line readers cut at them. */
const escaped = (json) => json.replace(/[\u0085\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** That a page has received exactly this, and that nothing of it ran. */
async function expectData(page, sent) {
  await page.until(`window.got && got.filter((o) => o.id).length >= ${sent.length}`);
  // As text: an own `__proto__` would not come through the protocol as a value.
  const data = JSON.parse(await page.value('JSON.stringify(got.filter((o) => o.id).map((o) => o.data))'));
  assert.deepEqual(data, sent);
  assert.equal(await page.value('[window.hurt, ({}).polluted].join()'), ',');
}

/** A page of a site whose origin encke allows; `checks(page, encke, site)`. */
async function withSite(browser, checks, options = []) {
  const site = await Site.start();
  const encke = await Encke.start(`--cors-origin=${site.origin}`, ...options);
  site.encke = encke;
  const page = await browser.open(`${site.origin}/`);
  try {
    await checks(page, encke, site);
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.close();
    await encke.end();
    await site.end();
  }
}

const openFrame = (src) => `
  window.got = [];
  window.frame = document.createElement('iframe');
  frame.src = ${JSON.stringify(src)};
  document.body.append(frame);`;

export const transports = {
  'a forever frame calls a function of its own origin, and does not grow': (browser) => withSite(browser, async (page, encke, site) => {
    await page.value(openFrame(`${site.origin}/encke/frame/c?callback=app.hear`) + 'window.app = { hear: (o) => got.push(o) };');
    await page.until('got.length === 1');
    assert.match(await page.value('got[0].cursor'), /^[^-]+-0$/);
    const nodes = 'frame.contentDocument.getElementsByTagName("*").length';
    const before = await page.value(nodes);
    await expectData(page, await publishHostile(encke, 'c'));
    assert.equal(await page.value(nodes), before);
    assert.equal(await page.value('frame.contentDocument.scripts.length'), 0);
    const text = await page.value('frame.contentDocument.documentElement.textContent.trim()');
    assert.equal(text, '');
  }),

  'a function that throws costs a forever frame nothing else': (browser) => withSite(browser, async (page, encke, site) => {
    await page.value(openFrame(`${site.origin}/encke/frame/c?callback=hear`)
      + 'window.hear = (o) => { got.push(o); if (o.data === "bad") throw new Error("meant"); };');
    await page.until('got.length === 1');
    for (const text of ['good', 'bad', 'better']) await encke.publish('c', text);
    await page.until('got.length === 4');
    assert.equal(await page.value('frame.contentDocument.scripts.length'), 0);
    const complaints = page.complaints.splice(0);
    assert.equal(complaints.length, 1, complaints.join());
    assert.match(complaints[0], /meant/);
  }),

  'a forever frame posts to a page of another origin that is allowed': (browser) => withSite(browser, async (page, encke, site) => {
    const src = `${encke.url}frame/c?origin=${encodeURIComponent(site.origin)}`;
    await page.value(`window.addEventListener('message', (e) => {
        if (e.source === frame.contentWindow && e.origin === ${JSON.stringify(encke.url.slice(0, -1))}) got.push(e.data);
      });` + openFrame(src));
    await page.until('got.length === 1');
    await expectData(page, await publishHostile(encke, 'c'));
  }),

  'a forever frame posts nothing to a page that is not named': (browser) => withSite(browser, async (page, encke, site) => {
    // Two frames: what reaches the named one proves that the other had its chance.
    await page.value(`
      window.got = [];
      window.addEventListener('message', (e) => got.push([e.source === named.contentWindow, e.data]));
      window.unnamed = document.createElement('iframe');
      window.named = document.createElement('iframe');
      unnamed.src = '${encke.url}frame/c';
      named.src = '${encke.url}frame/c?origin=${site.origin}';
      document.body.append(unnamed, named);`);
    await until('both frames are read', async () => (await encke.subscribers('c')).frame === 2);
    // Both run in one process, in turn: when the last comes, the first was posted or never will be.
    for (const text of ['secret', 'more', 'last']) {
      await encke.publish('c', text);
      await page.until(`got.some(([, o]) => o.data === '${text}')`);
    }
    assert.ok(await page.value('got.every(([isNamed]) => isNamed)'));
    // The browser may say that it did not post.
    page.complaints.splice(0).forEach((text) => assert.match(text, /postMessage/));
  }),

  'a frame for an origin that is not allowed is refused': (browser) => withSite(browser, async (page, encke) => {
    const status = `fetch('${encke.url}frame/c?origin=https://else.example').then((r) => r.status)`;
    assert.equal(await page.value(status), 403);
    page.complaints.splice(0).forEach((text) => assert.match(text, /403/));
  }),

  'hostile messages arrive intact by poll, NDJSON and JSONP': (browser) => withSite(browser, async (page, encke) => {
    const sent = await publishHostile(encke, 'c');
    await page.value(`fetch('${encke.url}poll/c').then((r) => r.json()).then((b) => { window.got = b.messages; })`);
    await expectData(page, sent);

    await page.value(`(async () => {
      window.got = [];
      const reader = (await fetch('${encke.url}ndjson/c?since=earliest')).body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const lines = (rest + (await reader.read()).value).split('\\n');
        rest = lines.pop();
        got.push(...lines.map((line) => JSON.parse(line)));
      }
    })(); 0`);
    await expectData(page, sent);

    await page.value(`
      window.got = null;
      window.app = { hear: (b) => { window.got = b.messages; } };
      document.body.append(Object.assign(document.createElement('script'), { src: '${encke.url}poll/c?callback=app.hear' }));`);
    await expectData(page, sent);
  }),

  'hostile messages arrive intact by EventSource, but for the kind of line end': (browser) => withSite(browser, async (page, encke) => {
    const sent = await publishHostile(encke, 'c');
    const listen = (query) => `
      window.got = [];
      window.source?.close();
      window.source = new EventSource('${encke.url}sse/c?since=earliest${query}');
      source.onmessage = (e) => got.push({ id: e.lastEventId, data: e.data });`;
    await page.value(listen(''));
    const texts = HOSTILE.flatMap((text) => [text.replace(/\r\n?/g, '\n'), escaped(JSON.stringify(text))]);
    await expectData(page, [...texts, escaped(HOSTILE_JSON)]);
    await page.value(listen('&envelope=1'));
    await page.until(`got.length === ${sent.length}`);
    const data = JSON.parse(await page.value('JSON.stringify(got.map((o) => JSON.parse(o.data).data))'));
    assert.deepEqual(data, sent);
  }),

  'JSONP works from a page of any origin, errors included': async (browser) => {
    const site = await Site.start();
    const encke = await Encke.start();
    const page = await browser.open(`${site.origin}/`);
    try {
      await page.value(`
        window.got = [];
        window.app = { hear: (b) => got.push(b) };
        window.ask = (path) => document.body.append(Object.assign(document.createElement('script'), { src: '${encke.url}' + path + 'callback=app.hear' }));
        ask('long-poll/c?');`);
      await until('the poll is held', async () => (await encke.subscribers('c'))['long-poll'] === 1);
      await encke.publish('c', 'hello');
      await page.until('got.length === 1 && got[0].messages[0].data === "hello"');
      await page.value('ask("poll/a*b?"); 0');
      await page.until('got.length === 2 && got[1].error.status === 400');
      assert.deepEqual(page.complaints, []);
    } finally {
      await page.close();
      await encke.end();
      await site.end();
    }
  },

  'a page of an origin that is not allowed reads nothing': async (browser) => {
    const site = await Site.start();
    const encke = await Encke.start();
    const page = await browser.open(`${site.origin}/`);
    try {
      const read = (path) => `fetch('${encke.url}${path}').then(() => 'read', () => 'refused')`;
      for (const path of ['poll/c', 'channels', 'ndjson/c']) assert.equal(await page.value(read(path)), 'refused');
      const publish = `fetch('${encke.url}publish/c', { method: 'POST', mode: 'no-cors', body: 'forged' }).then(() => 'sent')`;
      assert.equal(await page.value(publish), 'sent');
      const batch = await (await fetch(`${encke.url}poll/c`)).json();
      assert.deepEqual(batch.messages, [], 'a page that may not publish has published');
    } finally {
      await page.close();
      await encke.end();
      await site.end();
    }
  },

  'a page of one of several allowed origins reads why it is refused, even where the connection is closed': (browser) => withSite(browser, async (page, encke) => {
    const ask = (path, options) => page.value(`fetch(${JSON.stringify(encke.url + path)}, ${options}).then(async (answer) => {
      const { status } = await answer.json();
      return [answer.status, status, answer.headers.get('Retry-After')].join();
    }, (error) => String(error))`);
    assert.equal(await ask('publish/a', '{ method: "POST", body: "x".repeat(5000) }'), '413,413,');
    assert.equal(await ask(`poll/${'x'.repeat(2000)}`, '{}'), '414,414,');
    assert.equal(await ask('poll/a', '{ headers: { Authorization: "x".repeat(2000) } }'), '431,431,');
    assert.equal(await ask('publish/a', '{ method: "POST", body: "x", headers: { "Content-Encoding": "gzip" } }'), '415,415,');
    assert.equal(await ask('poll/*', '{}'), '400,400,');
    await encke.publish('only', 'x');
    assert.match(await ask('publish/other', '{ method: "POST", body: "x" }'), /^503,503,\d+$/);
    page.complaints.splice(0).forEach((text) => assert.match(text, /the server responded with a status of (4..|503)/));
  }, ['--cors-origin=https://other.example', '--max-body-bytes=1000', '--max-head-bytes=1500', '--max-channels=1']),

  'a page of another origin may send the headers that clients add unasked': (browser) => withSite(browser, async (page, encke) => {
    const headers = ['Cache-Control', 'traceparent', 'tracestate', 'X-Requested-With', 'baggage', 'Pragma', 'Idempotency-Key', 'Encke-Event'];
    const given = JSON.stringify(Object.fromEntries(headers.map((name) => [name, 'x'])));
    const status = await page.value(`fetch(${JSON.stringify(`${encke.url}publish/c`)}, { method: 'PUT', body: 'x', headers: ${given} }).then((answer) => answer.status)`);
    assert.equal(status, 200);
  }),

  'a poll from another origin takes one request, with its cursor too': (browser) => withSite(browser, async (page, encke) => {
    const { id } = await encke.publish('c', 'one');
    let before = await encke.requests();
    const poll = (query) => `fetch('${encke.url}poll/c${query}').then(async (r) => [(await r.json()).messages.length, r.headers.get('Encke-Cursor')])`;
    assert.deepEqual(await page.value(poll('')), [1, id]);
    assert.deepEqual(await page.value(poll(`?since=${id}`)), [0, id]);
    // The two polls, and the question for the count.
    assert.equal(await encke.requests() - before, 3);
    // A publish as JSON needs leave first: so the count above can tell.
    before = await encke.requests();
    const publish = `fetch('${encke.url}publish/c', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '1' }).then((r) => r.status)`;
    assert.equal(await page.value(publish), 200);
    assert.equal(await encke.requests() - before, 3);
  }),

  'an EventSource that was cut off comes back with Last-Event-ID and misses nothing': (browser) => withSite(browser, async (page, encke) => {
    const wire = await Wire.start(encke.port);
    try {
      await page.value(`
        window.got = []; window.gaps = 0; window.opened = 0;
        window.source = new EventSource('${wire.url}sse/c');
        source.onopen = () => { opened += 1; };
        source.onmessage = (e) => got.push(e.data);
        source.addEventListener('cursor', (e) => { window.cursor = e.lastEventId; });
        source.addEventListener('gap', () => { gaps += 1; });`);
      await page.until('opened === 1 && window.cursor');
      // Cut before it has seen any message: the cursor of the opening is what it comes back with.
      for (const [index, text] of ['first', 'second'].entries()) {
        const expected = await page.value('source.readyState === 1 && (got.length ? null : cursor)');
        wire.cut();
        await page.until('source.readyState === 0');
        const { id } = await encke.publish('c', text);
        wire.mend();
        await page.until(`got.length === ${index + 1}`);
        const heads = wire.heads.filter((head) => head.startsWith('GET /sse/'));
        const given = /^Last-Event-ID: (\S+)\r$/im.exec(heads.at(-1))?.[1];
        assert.ok(given && given !== id, `came back with ${given}`);
        if (expected) assert.equal(given, expected);
      }
      await encke.publish('c', 'third');
      await page.until('got.length === 3');
      assert.deepEqual(await page.value('got'), ['first', 'second', 'third']);
      assert.equal(await page.value('gaps'), 0);
      assert.equal(await page.value('opened'), 3);
      page.complaints.splice(0).forEach((text) => assert.match(text, /net::ERR_/));
    } finally {
      await wire.end();
    }
  }),

  'a stream that comes during a drain is sent away with the cursor that it came with': (browser) => withSite(browser, async (page, encke, site) => {
    const { id } = await encke.publish('c', 'seen');
    await encke.publish('c', 'not seen');
    encke.process.kill('SIGTERM');
    await until('the drain', async () => (await fetch(`${encke.url}readyz`)).status === 503);
    const told = async (since) => {
      const lines = (await (await fetch(`${encke.url}ndjson/c?since=${since}`)).text()).trim().split('\n');
      await page.value(openFrame(`${encke.url}frame/c?since=${since}&origin=${site.origin}`));
      await page.until('got.some((o) => o.retry)');
      const objects = await page.value('got');
      await page.value('frame.remove()');
      return [lines.map((line) => JSON.parse(line)), objects];
    };
    await page.value(`window.addEventListener('message', (e) => got.push(e.data))`);
    for (const objects of await told(id)) {
      assert.equal(objects.at(-1).cursor, id);
      assert.ok(objects.every(({ gap }) => !gap));
    }
    for (const objects of await told('foreign-7')) assert.ok(objects.some(({ gap }) => gap));
  }, ['--drain-delay=100']),

  'streams that have grown old end in order, and nothing is lost': (browser) => withSite(browser, async (page, encke) => {
    await page.value(`
      window.got = []; window.opened = 0; window.gaps = 0;
      window.source = new EventSource('${encke.url}sse/c');
      source.onopen = () => { opened += 1; };
      source.onmessage = (e) => got.push(e.data);
      source.addEventListener('gap', () => { gaps += 1; });`);
    await page.until('opened === 1');
    const sent = [];
    for (let n = 0; n < 2 || await page.value('opened') < 4; n += 1) {
      sent.push(String(n));
      await encke.publish('c', String(n));
      await until('some time, or another stream', async () => page.value('new Promise((r) => setTimeout(r, 50, true))'));
      assert.ok(n < 1000, 'streams do not end');
    }
    await page.until(`got.length >= ${sent.length}`);
    assert.deepEqual(await page.value('got'), sent);
    assert.equal(await page.value('gaps'), 0);
  }, ['--stream-max-age=500ms']),
};
