// The client's EventSource in the place of the browser's own: in htmx, and in Turbo.

import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { withPackages } from './npm.mjs';
import { Encke, Site } from './servers.mjs';
import { until } from './until.mjs';

const CLIENT = fileURLToPath(new URL('../../src/client/', import.meta.url));

/** A page that has the client's EventSource, and a library from npm. */
async function withPage(browser, modules, checks) {
  const encke = await Encke.start();
  const site = await Site.start(encke);
  site.files = (url) => {
    if (/^\/client\/[a-z]+\.js$/.test(url)) return createReadStream(CLIENT + url.slice('/client/'.length));
    return url.startsWith('/modules/') && !url.includes('..') ? createReadStream(modules + url.slice('/modules'.length)) : null;
  };
  const page = await browser.open(site.origin);
  try {
    await page.value("import('/client/eventsource.js').then(({ EventSource }) => { window.Source = EventSource; })");
    await checks(page, encke);
    await page.value('window.source?.close()');
    // htmx logs each error event.
    assert.deepEqual(page.complaints.filter((text) => !/net::ERR_|^console: Event$/.test(text)), []);
  } finally {
    await page.close();
    await encke.end();
    await site.end();
  }
}

/** Messages arrive, before and after a restart of the server. */
async function works(page, encke, wrap, shown) {
  await until('it follows', async () => (await encke.subscribers('c')).total === 1);
  await encke.publish('c', wrap('one'), { 'Content-Type': 'text/html' });
  await page.until(`${shown} === 'one'`);
  await encke.end();
  await encke.run();
  await until('it follows again', async () => (await encke.subscribers('c')).total === 1);
  await encke.publish('c', wrap('two'), { 'Content-Type': 'text/html' });
  await page.until(`${shown} === 'two'`);
}

export const dropin = {
  'drop-in: it has the properties and events of an EventSource': (browser) => withPage(browser, '', async (page, encke) => {
    await page.value(`{
      window.log = [];
      window.source = new Source('encke/sse/c');
      const note = (event) => log.push([event.type, event.data, event.lastEventId]);
      Object.assign(source, { onopen: note, onmessage: note, onerror: note });
      source.addEventListener('named', note);
      source.addEventListener('gap', note);
    }`);
    assert.deepEqual(await page.value('[source.readyState, source.url, source.withCredentials, Source.OPEN]'), [0, `${await page.value('location.href')}encke/sse/c`, false, 1]);
    await page.until('source.readyState === 1');
    await until('it follows', async () => (await encke.subscribers('c')).total === 1);
    const text = await encke.publish('c', 'a\nb');
    const json = await encke.publish('c?event=named', '{"x":1}', { 'Content-Type': 'application/json' });
    const bytes = await encke.publish('c', new Uint8Array([0, 255]), { 'Content-Type': 'application/octet-stream' });
    await page.until('log.length === 4');
    const expected = [['open', null, null], ['message', 'a\nb', text.id], ['named', '{"x":1}', json.id], ['message', 'AP8=', bytes.id]];
    assert.deepEqual((await page.value('log')).map((row) => row.map((one) => one ?? null)), expected);
    await encke.end();
    await page.until('source.readyState === 0');
    await encke.run();
    await page.until('log.some(([type]) => type === "gap")');
    await page.value('source.close()');
    assert.equal(await page.value('source.readyState'), 2);
    await until('nobody follows', async () => ((await encke.subscribers('c')).total || 0) === 0);
    await page.value('window.refused = new Source("encke/sse/a*b"); refused.onerror = () => { window.failed = 1; }');
    await page.until('window.failed && refused.readyState === 2');
    page.complaints.splice(0).forEach((complaint) => assert.match(complaint, /net::ERR_|400/));
  }),

  'drop-in: htmx swaps what comes': (browser) => withPackages('packages', (modules) => withPage(browser, modules, async (page, encke) => {
    await page.value(`(async () => {
      for (const src of ['htmx.org/dist/htmx.js', 'htmx-ext-sse/sse.js']) {
        const script = Object.assign(document.createElement('script'), { src: '/modules/' + src });
        document.head.append(script);
        await new Promise((done) => { script.onload = done; });
      }
      htmx.createEventSource = (url) => (window.source = new Source(url));
      document.body.innerHTML = '<div hx-ext="sse" sse-connect="/encke/sse/c" sse-swap="message"></div>';
      htmx.process(document.body);
    })()`);
    await works(page, encke, (text) => `<b>${text}</b>`, 'document.querySelector("div b")?.textContent');
  })),

  'drop-in: Turbo applies the streams that come': (browser) => withPackages('packages', (modules) => withPage(browser, modules, async (page, encke) => {
    await page.value(`(async () => {
      document.body.innerHTML = '<ul id="list"></ul>';
      const Turbo = await import('/modules/@hotwired/turbo/dist/turbo.es2017-esm.js');
      window.source = new Source('/encke/sse/c');
      Turbo.connectStreamSource(source);
    })()`);
    const wrap = (text) => `<turbo-stream action="append" target="list"><template><li>${text}</li></template></turbo-stream>`;
    await works(page, encke, wrap, 'document.querySelector("li:last-child")?.textContent');
    assert.equal(await page.value('document.querySelectorAll("li").length'), 2);
  })),
};
