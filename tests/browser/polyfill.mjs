// The EventSource polyfill that is used most, from npm, against a server that ends its streams often.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packages } from './packages.mjs';
import { Encke, Site, Wire } from './servers.mjs';
import { until } from './until.mjs';

/** Runs `check` with the path of the polyfill's source. */
async function withPolyfill(check) {
  await check(join(await packages(), 'node_modules/event-source-polyfill/src/eventsource.js'));
}

/** Publishes until streams have ended several times; returns the texts that were published. */
async function publishThroughRecycling(encke, streams) {
  const sent = [];
  while (sent.length < 2 || await streams() < 4) {
    sent.push(String(sent.length));
    await encke.publish('c', sent.at(-1));
    await until('some time for a stream to end', async () => new Promise((done) => setTimeout(done, 20, true)));
    assert.ok(sent.length < 5000, 'streams do not end');
  }
  return sent;
}

/** The heads of requests for a stream, as they passed a wire. */
const requestsOf = (wire) => wire.heads.filter((head) => head.startsWith('GET /sse/'));

/** That the polyfill came back by the parameter, and that the check so tested what it is for. */
function expectParameter(wire) {
  const again = requestsOf(wire).slice(1);
  assert.ok(again.length >= 3);
  for (const head of again) assert.match(head, /^GET \S*[?&]lastEventId=[^&\s]+/);
}

export const polyfill = {
  'a polyfill that can send no header misses nothing and gets nothing twice, in node': () => withPolyfill(async (source) => {
    const encke = await Encke.start('--stream-max-age=1s');
    const wire = await Wire.start(encke.port);
    const { EventSourcePolyfill } = createRequire(import.meta.url)(source);
    const got = [];
    let gaps = 0;
    let opened = 0;
    // The `since` stays in the URL; it must not count when the polyfill reconnects.
    const stream = new EventSourcePolyfill(`${wire.url}sse/c?since=now`);
    try {
      stream.onopen = () => { opened += 1; };
      stream.onmessage = ({ data }) => got.push(data);
      stream.addEventListener('gap', () => { gaps += 1; });
      await until('it is connected', async () => opened === 1 && (await encke.subscribers('c')).sse === 1);
      const sent = await publishThroughRecycling(encke, async () => opened);
      await until('all are received', async () => got.length >= sent.length, 60);
      assert.deepEqual(got, sent);
      assert.equal(gaps, 0);
      expectParameter(wire);
    } finally {
      stream.close();
      await wire.end();
      await encke.end();
    }
  }),

  'a polyfill that can send no header misses nothing and gets nothing twice, in Chromium': (browser) => withPolyfill(async (source) => {
    const site = await Site.start();
    const encke = await Encke.start(`--cors-origin=${site.origin}`, '--stream-max-age=1s');
    const wire = await Wire.start(encke.port);
    const page = await browser.open(`${site.origin}/`);
    try {
      await page.value(`${await readFile(source, 'utf8')}; 0`);
      await page.value(`
        window.got = []; window.gaps = 0; window.opened = 0;
        window.source = new EventSourcePolyfill('${wire.url}sse/c?since=now');
        source.onopen = () => { opened += 1; };
        source.onmessage = (e) => got.push(e.data);
        source.addEventListener('gap', () => { gaps += 1; });`);
      await page.until('opened === 1');
      const sent = await publishThroughRecycling(encke, () => page.value('opened'));
      await page.until(`got.length >= ${sent.length}`, 60);
      assert.deepEqual(await page.value('got'), sent);
      assert.equal(await page.value('gaps'), 0);
      expectParameter(wire);
      page.complaints.splice(0).forEach((text) => assert.match(text, /net::ERR_|No activity|Reconnecting/i));
    } finally {
      await page.close();
      await wire.end();
      await encke.end();
      await site.end();
    }
  }),
};
