// The JavaScript client for longer, and with a clock: what the checks do briefly, until it has had 100,000 messages, and
// the marks that it is to reach. Times are those of the machine: run it on one that has nothing else to do.
//
// node endure.mjs [--messages N] [--leaders N] [--runtimes]
//
// ENCKE: the binary, built for release. --runtimes: in Deno and Bun, too, which npm takes minutes to bring.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { parseArgs, promisify } from 'node:util';
import { connect } from '../../src/core/client/encke.min.js';
import { Browser } from './chrome.mjs';
import { Faults, Numbers } from './faults.mjs';
import { withPackages } from './npm.mjs';
import { Encke, Site } from './servers.mjs';
import { closeLeaders, freeze } from './tabs.mjs';
import { until } from './until.mjs';

const { values } = parseArgs({ options: {
  messages: { type: 'string', default: '100000' },
  leaders: { type: 'string', default: '20' },
  runtimes: { type: 'boolean', default: false },
} });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const report = (what, measured, mark = '') => console.log(`${what.padEnd(64)} ${`${measured}`.padStart(12)}   ${mark}`);
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** Publishes many at once. */
async function publishMany(encke, numbers, count, atOnce = 100) {
  for (const end = numbers.sent + count; numbers.sent < end;) {
    const lines = [];
    while (lines.length < atOnce && numbers.sent < end) lines.push(JSON.stringify({ channel: 'c', data: { n: ++numbers.sent } }));
    const response = await fetch(`${encke.url}publish`, { method: 'POST', body: lines.join('\n') }).catch(() => null);
    if (!response?.ok) {
      // Not known whether it is there: published one by one, it would be twice. The server was down.
      numbers.sent -= lines.length;
      await pause(200);
    }
  }
}

/** Numbered messages through a proxy whose fault changes all the time. */
async function faults(count) {
  const encke = await Encke.start('--history-messages=100000', '--history-bytes=64M', '--heartbeat=2');
  const proxy = await Faults.start(encke.port);
  const client = connect(proxy.url);
  const numbers = new Numbers();
  client.subscribe('c', { ...numbers.options, since: 'earliest' });
  const modes = ['pass', 'cut', 'buffer', 'hold-64k', 503, 502, 429, 'stall'];
  let isOver = false;
  const changing = (async () => {
    for (let turn = 0; !isOver; turn += 1) {
      Object.assign(proxy, { mode: modes[turn % modes.length], cutMs: 3000, retryAfter: turn % 3 ? '1' : '' });
      if (turn % 3 === 2) proxy.cutAll();
      await pause(2000 + 3000 * Math.random());
    }
    proxy.mode = 'pass';
    proxy.cutAll();
  })();
  for (let sent = 0; sent < count; sent += 100) {
    await publishMany(encke, numbers, Math.min(100, count - sent));
    await pause(60_000 * 100 / count);
  }
  isOver = true;
  await changing;
  await until('all', () => numbers.hasAll, 120);
  assert.deepEqual(numbers.faults(), []);
  report(`messages through eight faults, ${numbers.gaps} gaps`, numbers.seen.length, 'none lost, twice or out of order');
  report('requests in the busiest second', proxy.busiest(), '<= 10');
  client.close();
  await proxy.end();
  await encke.end();
}

/** From a stream that is kept back to messages by another transport, the first that is left of these. */
async function mute(transports, other) {
  const encke = await Encke.start();
  const proxy = await Faults.start(encke.port);
  proxy.mode = 'buffer';
  const client = connect(proxy.url, { transports });
  const numbers = new Numbers();
  const begun = performance.now();
  client.subscribe('c', { ...numbers.options, since: 'earliest' });
  await numbers.publish(encke, 'c', 1);
  await until('a message', () => numbers.hasAll);
  const first = performance.now() - begun;
  await until('another transport', () => client.transport === other);
  await numbers.publish(encke, 'c', 1);
  await until('a message', () => numbers.hasAll);
  report('mute stream: first message', `${Math.round(first)} ms`);
  report(`mute stream: messages by ${other}`, `${Math.round(performance.now() - begun)} ms`, '<= 8000 ms');
  client.close();
  await proxy.end();
  await encke.end();
}

/** The processor time of a page for each message: by the client, and by an EventSource of the browser. */
async function cost(browser) {
  const ways = {
    client: `(async () => {
      const { connect } = await import('/encke/encke.js');
      connect('/encke/', { share: false }).subscribe('c', { onMessage: ({ data }) => { count += 1; sum += data.n; } });
    })()`,
    native: `(() => {
      new EventSource('/encke/sse/c?envelope=1').onmessage = (event) => { count += 1; sum += JSON.parse(event.data).data.n; };
    })()`,
  };
  const encke = await Encke.start('--history-messages=100000');
  const site = await Site.start(encke);
  const results = { client: [], native: [] };
  for (let round = 0; round < 5; round += 1) {
    for (const [name, start] of Object.entries(ways)) {
      const page = await browser.open(site.origin);
      await page.value('window.count = window.sum = 0');
      await page.value(start);
      await until('it follows', async () => (await encke.subscribers('c')).total === 1);
      await page.send('Performance.enable');
      const used = async () => {
        const { metrics } = await page.send('Performance.getMetrics');
        return metrics.find((metric) => metric.name === 'TaskDuration').value;
      };
      const before = await used();
      const numbers = new Numbers();
      for (let n = 0; n < 500; n += 1) {
        await publishMany(encke, numbers, 20, 20);
        await pause(4);
      }
      await page.until('count === 10000', 60);
      results[name].push((await used() - before) / 10_000 * 1e6);
      await page.close();
      await until('nobody', async () => ((await encke.subscribers('c')).total || 0) === 0);
    }
  }
  const [client, native] = [median(results.client), median(results.native)];
  report('processor time of the page, client / EventSource', `${client.toFixed(1)} / ${native.toFixed(1)} us`);
  report('', (client / native).toFixed(2), '<= 1.5');
  await site.end();
  await encke.end();
}

/** In other runtimes: each transport, and a server that is killed. */
async function runtimes() {
  const run = promisify(execFile);
  const script = new URL('runtime.mjs', import.meta.url).pathname;
  const check = async (name, command, args) => {
    const encke = await Encke.start();
    const { stdout } = await run(command, [...args, script, encke.url], { timeout: 120_000 });
    report(`${name}: each transport`, stdout.trim());
    await encke.end();
  };
  await check('Node', process.execPath, []);
  if (!values.runtimes) return;
  await withPackages('runtimes', async (modules) => {
    await check('Deno', `${modules}/.bin/deno`, ['run', '--allow-all']);
    await check('Bun', `${modules}/@oven/bun-linux-x64/bin/bun`, ['run']);
  }, 15);
}

const browser = await Browser.start();
await mute(['sse', 'ndjson', 'long-poll', 'poll'], 'long-poll');
await mute(['sse', 'ndjson', 'ws', 'long-poll', 'poll'], 'ws');
const leaders = await closeLeaders(browser, { tabs: 12, times: Number(values.leaders) });
report(`12 tabs, the leader's closed ${leaders.length} times: next message`, `${Math.round(median(leaders))} ms`);
report('  at most', `${Math.round(Math.max(...leaders))} ms`, '<= 1000 ms');
const wakes = [];
for (let n = 0; n < 5; n += 1) wakes.push(await freeze(browser));
report('frozen page: from waking to what it missed', `${Math.round(median(wakes))} ms`, '<= 100 ms and a round trip');
await cost(browser);
await browser.close();
await runtimes();
await faults(Number(values.messages));
