// The live page, used as a person would use it.

import assert from 'node:assert/strict';
import { until } from './until.mjs';
import { Encke, Site } from './servers.mjs';

const ALL = ['poll', 'long-poll', 'early', 'sse', 'ndjson', 'frame', 'ws'];

/** What the page shows, read off its elements. */
const SHOWN = `({
  lines: [...document.querySelectorAll('#messages tbody tr')].reverse().map((row) => ({
    text: row.querySelector('.data').textContent,
    times: Object.fromEntries([...row.cells].slice(1).map((cell) => [cell.dataset.of, Number(cell.dataset.times || 0)])),
    cells: [...row.cells].slice(1).map((cell) => cell.textContent),
  })),
  techniques: Object.fromEntries([...document.querySelectorAll('article')].map((row) => [row.id.slice('technique-'.length), {
    ...Object.fromEntries([...row.querySelectorAll('dd')].map((dd) => [dd.dataset.of, dd.textContent])),
    state: row.querySelector('.pill').textContent,
    verdict: row.querySelector('.verdict').textContent,
    isBad: row.querySelector('.verdict').classList.contains('bad'),
  }])),
})`;

const shown = (page) => page.value(SHOWN);
const EACH_ONCE = Object.fromEntries(ALL.map((id) => [id, 1]));

/** Types a text, and presses the button. */
async function publish(page, text) {
  await page.value(`document.getElementById('text').value = ${JSON.stringify(text)};
    document.querySelector('#publish-line button').click();`);
}

/** Waits until everything that waits is waiting at the server. */
async function settled(page, encke, channel = 'demo') {
  await until('six wait', async () => {
    const { 'long-poll': held, sse, ndjson, frame, ws } = await encke.subscribers(channel);
    return held === 2 && sse === 1 && ndjson === 1 && frame === 1 && ws === 1;
  });
  await page.until('document.querySelector("#technique-poll [data-of=requests]").textContent >= 1');
}

/** Waits until the newest of so many messages was received by each technique. */
async function received(page, count) {
  await until(`${count} messages in each way`, async () => {
    const { lines } = await shown(page);
    return lines.length === count && lines.every(({ times }) => ALL.every((id) => times[id] >= 1));
  }, 60);
  const { lines } = await shown(page);
  for (const { text, times } of lines) assert.deepEqual(times, EACH_ONCE, text);
  return lines;
}

async function withPage(browser, checks, options = [], path = '', look = {}) {
  const encke = await Encke.start(...options);
  const page = await browser.open(encke.url + path, look);
  try {
    await checks(page, encke);
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.close();
    await encke.end();
  }
}

export const livePage = {
  'every technique receives what the page publishes, once': (browser) => withPage(browser, async (page, encke) => {
    await settled(page, encke);
    // One after another: requests that are under way together have no order.
    let lines;
    for (const [before, text] of ['one', 'two', 'three'].entries()) {
      await publish(page, text);
      lines = await received(page, before + 1);
    }
    assert.deepEqual(lines.map(({ text }) => text), ['one', 'two', 'three']);
    for (const { cells } of lines) for (const cell of cells) assert.match(cell, /^[\d.]+ m?s$/);
    const { techniques } = await shown(page);
    for (const id of ALL) {
      const { latency, messages, reconnects, gaps, isBad, verdict } = techniques[id];
      assert.deepEqual({ messages, reconnects, gaps }, { messages: '3', reconnects: '0', gaps: '0' }, id);
      assert.match(latency, /^[\d.]+ m?s$/, id);
      assert.ok(!isBad, `${id}: ${verdict}`);
    }
    for (const id of ['sse', 'ndjson', 'frame', 'ws']) assert.equal(techniques[id].requests, '1');
    assert.match(await page.value('document.getElementById("choice").textContent'), /receives by server-sent events here\./);
    assert.ok(Number(techniques['long-poll'].requests) > 1);
  }),

  'hostile messages are shown as text, and nothing of them runs': (browser) => withPage(browser, async (page, encke) => {
    const hostile = ['</script><script>alert(1)</script>', '<img src=x onerror=alert(1)>', 'a\u2028b<!--'];
    await settled(page, encke, 'x');
    for (const text of hostile) await encke.publish('x', text, { 'Content-Type': 'text/plain' });
    await publish(page, hostile[0]);
    const lines = await received(page, 4);
    assert.deepEqual(lines.map(({ text }) => text), [...hostile, hostile[0]]);
    const nodes = 'document.querySelectorAll("main img, main script").length';
    assert.equal(await page.value(nodes), 0);
  }, [], '#x'),

  'its policy stops what is not its own': (browser) => withPage(browser, async (page) => {
    const run = (make) => page.value(`(() => { const s = document.createElement('script'); try { ${make} } catch { return; } document.body.append(s); })()`);
    await page.value('window.ran = () => { window.hurt = 1; }');
    await run("s.textContent = 'ran()'");
    await run("s.src = 'poll/c?callback=ran'");
    await until('violations', () => page.complaints.some((text) => text.startsWith('policy:')));
    assert.equal(await page.value('window.hurt'), undefined);
    page.complaints.splice(0);
  }),

  'after a restart all come back, and show the gap': (browser) => withPage(browser, async (page, encke) => {
    await settled(page, encke);
    await publish(page, 'before');
    await received(page, 1);
    assert.deepEqual(page.complaints, []);
    // A frame learns of its end from a heartbeat that does not come, so it must know one.
    await until('a heartbeat', async () => /heartbeat/.test((await shown(page)).techniques.frame.state));
    await encke.end('SIGKILL');
    await page.until('["poll", "ndjson", "sse", "frame", "ws"].every((id) => document.querySelector(`#technique-${id} [data-of=reconnects]`).textContent >= 1)');
    await encke.run();
    await settled(page, encke);
    await until('a gap each', async () => Object.values((await shown(page)).techniques).every(({ gaps }) => gaps === '1'), 60);
    await publish(page, 'after');
    const lines = await received(page, 2);
    assert.deepEqual(lines.map(({ text }) => text), ['before', 'after']);
    // The browser itself tells of each connection that could not be had, and of nothing else.
    page.complaints.splice(0).forEach((text) => assert.match(text, /net::ERR_/));
  }, ['--heartbeat=1']),

  'a server that drains sends all away in order, and the next one has them': (browser) => withPage(browser, async (page, encke) => {
    await settled(page, encke);
    await encke.end('SIGTERM');
    await encke.run();
    await settled(page, encke);
    await publish(page, 'after');
    await received(page, 1);
    page.complaints.splice(0).forEach((text) => assert.match(text, /net::ERR_|503/));
  }, ['--drain=1']),

  'it does not hammer a server that is gone': (browser) => withPage(browser, async (page, encke) => {
    await settled(page, encke);
    await encke.end('SIGKILL');
    await page.until('Number(document.querySelector("#technique-poll [data-of=reconnects]").textContent) >= 5', 60);
    const polls = page.requests.filter(({ url }) => url.includes('/poll/')).slice(-5).map(({ at }) => at);
    const waits = polls.slice(1).map((at, index) => at - polls[index]);
    // At least a quarter of a second, then twice as long each time; the clocks may differ a little.
    waits.forEach((wait, index) => assert.ok(wait >= 0.24 * 2 ** index, waits.join()));
    page.complaints.splice(0).forEach((text) => assert.match(text, /net::ERR_/));
  }),

  'it does not repeat what is refused for good': (browser) => withPage(browser, async (page, encke) => {
    await settled(page, encke);
    // The page asks once before it starts its techniques, and starts none. So each is started by hand.
    await page.value(`{
      const channel = document.getElementById('channel');
      channel.value = 'a*b';
      channel.dispatchEvent(new Event('change'));
    }`);
    await page.until('!document.getElementById("crowded").hidden');
    await page.value('document.querySelectorAll("article .toggle").forEach((button) => button.click())');
    const states = () => page.value('[...document.querySelectorAll("article .pill")].map((pill) => pill.textContent)');
    const isRefused = (state) => /^(a channel name must not contain.*|status 400)$/.test(state);
    await until('each is refused, and waits for nothing', async () => (await states()).every(isRefused));
    page.complaints.splice(0).forEach((text) => assert.match(text, /400/));
  }),

  'where publishing takes a key, it asks for it': (browser) => withPage(browser, async (page, encke) => {
    const visible = (id) => `document.getElementById('${id}').offsetParent !== null`;
    await page.until(visible('key-line'));
    assert.equal(await page.value(visible('publish-line')), false);
    const use = (key) => page.value(`document.getElementById('key').value = '${key}'; document.getElementById('use-key').click()`);
    await use('wrong');
    await page.until('document.getElementById("publish-note").textContent.includes("not the publish key")');
    await use('right');
    await page.until(visible('publish-line'));
    page.complaints.splice(0).forEach((text) => assert.match(text, /401/));
    await publish(page, 'with a key');
    await until('a line', async () => (await shown(page)).lines.length === 1);
  }, ['--publish-key=right']),

  'where publishing is not served, it says so': async (browser) => {
    const encke = await Encke.start('--control=127.0.0.1:0');
    const page = await browser.open(encke.url);
    try {
      await page.until('document.getElementById("publish-line").offsetParent === null');
      assert.match(await page.value('document.getElementById("publish-note").textContent'), /does not serve publishing/);
      await page.until('document.querySelector("#technique-sse .pill").textContent.startsWith("open")');
      await fetch(`http://${encke.addresses[1]}/publish/demo`, { method: 'POST', body: 'from elsewhere' });
      await received(page, 1);
      page.complaints.splice(0).forEach((text) => assert.match(text, /404/));
    } finally {
      await page.close();
      await encke.end();
    }
  },

  'it stops and starts each technique, and changes the channel': (browser) => withPage(browser, async (page, encke) => {
    await settled(page, encke);
    await page.value('document.querySelector("#technique-sse .toggle").click()');
    await until('one less', async () => (await encke.subscribers('demo')).sse === 0);
    await publish(page, 'without');
    await until('the others', async () => (await shown(page)).lines[0]?.times['long-poll'] === 1);
    assert.equal((await shown(page)).lines[0].times.sse, 0);
    await page.value('document.getElementById("toggle-all").click()');
    await until('nobody', async () => Object.values(await encke.subscribers('demo')).every((n) => n === 0));
    await page.value(`document.getElementById('channel').value = 'rooms/1,rooms/2'; document.getElementById('channel').dispatchEvent(new Event('change'))`);
    await settled(page, encke, 'rooms%2F2');
    await encke.publish('rooms/1', 'a');
    await encke.publish('rooms/2', 'b');
    const lines = await received(page, 2);
    assert.deepEqual(lines.map(({ text }) => text), ['a', 'b']);
  }),

  'an answer comes word by word, and each technique stops at its end': (browser) => withPage(browser, async (page, encke) => {
    await settled(page, encke);
    await page.value(`document.getElementById('text').value = 'Comets are snowballs.'; document.getElementById('answer').click()`);
    await until('all have stopped', async () => Object.values((await shown(page)).techniques).every(({ state }) => state === 'the channel has ended'));
    const lines = await received(page, 3);
    assert.deepEqual(lines.map(({ text }) => text), ['Comets ', 'are ', 'snowballs.']);
    const { techniques } = await shown(page);
    for (const id of ALL) {
      const { messages, reconnects, gaps, isBad, verdict } = techniques[id];
      assert.deepEqual({ messages, reconnects, gaps }, { messages: '3', reconnects: '0', gaps: '0' }, id);
      assert.ok(!isBad, `${id}: ${verdict}`);
    }
    assert.ok(Object.values(await encke.subscribers('demo')).every((count) => count === 0));
    // It can be replayed.
    await page.value('document.getElementById("earliest").click()');
    await received(page, 3);
  }),

  'it begins with history where that is asked for': (browser) => withPage(browser, async (page, encke) => {
    await encke.publish('demo', 'old');
    await page.value('document.getElementById("earliest").click()');
    await received(page, 1);
  }),

  'below a path of a proxy it works, and finds a proxy that keeps bytes back': async (browser) => {
    const encke = await Encke.start('--hold=2');
    const site = await Site.start(encke);
    const verdicts = async (path) => {
      const page = await browser.open(`${site.origin}/${path}/`);
      try {
        await until('all have been answered', async () => {
          const { techniques } = await shown(page);
          return ALL.every((id) => /after|answered|held/.test(techniques[id].verdict));
        });
        const { techniques } = await shown(page);
        assert.deepEqual(page.complaints, []);
        return Object.fromEntries(ALL.map((id) => [id, techniques[id].isBad]));
      } finally {
        await page.close();
      }
    };
    try {
      const none = Object.fromEntries(ALL.map((id) => [id, false]));
      assert.deepEqual(await verdicts('encke'), none);
      assert.deepEqual(await verdicts('slow'), { ...none, early: true, sse: true, ndjson: true, frame: true });
    } finally {
      await encke.end();
      await site.end();
    }
  },

  'it fits a phone, and its head tells what the body is': (browser) => withPage(browser, async (page, encke) => {
    assert.equal(await page.value('document.documentElement.scrollWidth'), 390);
    const response = await fetch(encke.url, { method: 'HEAD' });
    assert.equal(response.status, 200);
    const whole = await (await fetch(encke.url)).arrayBuffer();
    assert.equal(Number(response.headers.get('Content-Length')), whole.byteLength);
    assert.match(response.headers.get('Content-Security-Policy'), /^default-src 'none'; script-src 'sha256-/);
    assert.equal(response.headers.get('Referrer-Policy'), 'no-referrer');
    assert.equal(response.headers.get('X-Content-Type-Options'), 'nosniff');
    assert.equal(response.headers.get('Cache-Control'), 'no-store, no-transform');
  }, [], '', { width: 390, height: 844 }),

  'without it, there is nothing at its place': async () => {
    const encke = await Encke.start('--no-page');
    try {
      const response = await fetch(encke.url);
      assert.equal(response.status, 404);
      assert.equal(response.headers.get('Content-Type'), 'application/problem+json');
    } finally {
      await encke.end();
    }
  },
};
