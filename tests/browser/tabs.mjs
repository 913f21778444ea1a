// The JavaScript client in Chromium: tabs, sleep, and the network.
//
// Each check has numbered messages: nothing may be missing, twice or out of order without a gap.

import assert from 'node:assert/strict';
import { Numbers } from './faults.mjs';
import { Encke, Site } from './servers.mjs';
import { until } from './until.mjs';

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Makes a page follow, with its log in `seen`. */
const FOLLOW = `(async (path, options, since) => {
  const { connect } = await import(path + 'encke.js');
  window.seen = [];
  window.times = [];
  window.client = connect(path, options);
  window.sub = client.subscribe('c', {
    since,
    onMessage: ({ data }) => { seen.push(data.n); times.push(performance.timeOrigin + performance.now()); },
    onGap: () => seen.push('gap'),
  });
})`;

export async function follow(page, path, options = {}, since = 'now') {
  await page.value(`${FOLLOW}(${JSON.stringify(path)}, ${JSON.stringify(options)}, ${JSON.stringify(since)})`);
  // The state may be another tab's; this tab follows when it knows where it stands.
  await page.until('client.state === "open" && sub.cursor');
}

/** A site with encke below `/encke/`, and a page of it. */
async function withSite(browser, checks, options = []) {
  const encke = await Encke.start(...options);
  const site = await Site.start(encke);
  const pages = [];
  const open = async () => {
    const page = await browser.open(site.origin, { beside: pages[0] });
    pages.push(page);
    return page;
  };
  const path = `${site.origin}/encke/`;
  try {
    await checks({ encke, site, path, open, pages });
  } finally {
    await pages[0]?.close();
    pages.forEach((page) => browser.sessions.delete(page.sessionId));
    await encke.end();
    await site.end();
  }
}

/** Waits until a page has all that was published, and judges it. */
export async function judge(page, numbers, from = 1, seconds = 30) {
  await page.until(`seen.at(-1) === ${numbers.sent}`, seconds);
  numbers.seen = await page.value('seen');
  assert.deepEqual(numbers.faults(from), []);
  assert.ok(!numbers.seen.includes('gap'), 'there was no reason for a gap');
}

const streams = (page) => page.requests.filter(({ url }) => url.includes('/sse/')).length;

/**
 * Many tabs, of which the one with the connection is closed so many times. Returns how long the others waited for
 * their next message, each time.
 */
export async function closeLeaders(browser, { tabs, times }) {
  const waits = [];
  await withSite(browser, async ({ encke, path, open }) => {
    const numbers = new Numbers();
    let all = [];
    for (let n = 0; n < tabs; n += 1) {
      const page = await open();
      await follow(page, path);
      all.push(page);
    }
    const isOne = async () => (await encke.subscribers('c')).total === 1;
    await until('one connection for all', isOne);
    await numbers.publish(encke, 'c', 50);
    for (const page of all) await judge(page, numbers);
    assert.equal(all.reduce((sum, page) => sum + streams(page), 0), 1);

    for (let n = 0; n < times; n += 1) {
      const before = new Map(all.map((page) => [page, streams(page)]));
      const leader = all.findLast((page) => page.isLeader) ?? all.find((page) => streams(page) > 0);
      all = all.filter((page) => page !== leader);
      const sentBefore = numbers.sent;
      const closing = leader.closeAlone();
      const at = Date.now();
      let isOver = false;
      const publishing = (async () => { while (!isOver) await numbers.publish(encke, 'c', 1, 20); })();
      await closing;
      await until('another leads', () => all.some((page) => streams(page) > before.get(page)));
      for (const page of all) {
        await page.until(`seen.at(-1) > ${sentBefore + 1}`);
        page.isLeader = streams(page) > before.get(page);
      }
      isOver = true;
      await publishing;
      const first = await Promise.all(all.map((page) => page.value(`times[seen.findIndex((n) => n > ${sentBefore})]`)));
      waits.push(Math.max(...first) - at);
      for (const page of all) await judge(page, numbers);
      assert.ok(await isOne());
      if (all.length < tabs) {
        const page = await open();
        await follow(page, path);
        await numbers.publish(encke, 'c', 1);
        await page.until('seen.length === 1');
        // It knows nothing of what was before it.
        await page.value(`seen.unshift(...Array.from({ length: ${numbers.sent - 1} }, (_, n) => n + 1)); times.unshift(...Array(${numbers.sent - 1}).fill(0))`);
        all.push(page);
      }
    }
  });
  return waits;
}

/** Freezes a page and thaws it. Returns how long it took, in milliseconds, to have what it missed. */
export async function freeze(browser) {
  let ms = 0;
  await withSite(browser, async ({ encke, path, open }) => {
    const page = await open();
    await follow(page, path);
    const numbers = new Numbers();
    await numbers.publish(encke, 'c', 3);
    await judge(page, numbers);
    await page.value("document.addEventListener('resume', () => { window.resumedAt = performance.timeOrigin + performance.now(); })");
    await page.send('Page.setWebLifecycleState', { state: 'frozen' });
    await until('nobody', async () => ((await encke.subscribers('c')).total || 0) === 0);
    await numbers.publish(encke, 'c', 3);
    await page.send('Page.setWebLifecycleState', { state: 'active' });
    await judge(page, numbers);
    ms = await page.value('times.at(-3) - resumedAt');
  });
  return ms;
}

export const tabs = {
  'tabs: all have one connection, and the next takes over where the first was': async (browser) => {
    await closeLeaders(browser, { tabs: 5, times: 3 });
  },

  'tabs: each follows its own channels on it, and the connection ends with the last': (browser) => withSite(browser, async ({ encke, path, open }) => {
    const [one, two] = [await open(), await open()];
    await follow(one, path);
    await follow(two, path);
    await two.value(`window.other = []; window.second = client.subscribe('d', { since: '-1', onMessage: ({ data }) => other.push(data) })`);
    await until('both are followed', async () => (await encke.subscribers('d')).total === 1);
    assert.equal((await encke.subscribers('c')).total, 1);
    const numbers = new Numbers();
    await numbers.publish(encke, 'c', 3);
    await encke.publish('d', 'x');
    for (const page of [one, two]) await judge(page, numbers);
    await two.until('other.join() === "x"');
    await two.value('client.close()');
    await numbers.publish(encke, 'c', 3);
    await judge(one, numbers);
    assert.equal(await two.value('seen.length'), 3);
    await one.value('sub.close()');
    await until('nobody follows', async () => ((await encke.subscribers('c')).total || 0) === 0);
  }),

  'tabs: without sharing, each has its own': (browser) => withSite(browser, async ({ encke, path, open }) => {
    for (let n = 0; n < 2; n += 1) await follow(await open(), path, { share: false });
    await until('two', async () => (await encke.subscribers('c')).total === 2);
  }),

  'tabs: a page that is frozen lets go, and goes on where it was': (browser) => freeze(browser),

  'tabs: a page that comes back from the cache goes on where it was': (browser) => withSite(browser, async ({ encke, site, path, open }) => {
    const page = await open();
    await follow(page, path);
    const numbers = new Numbers();
    await numbers.publish(encke, 'c', 3);
    await judge(page, numbers);
    await page.value('window.isSame = true');
    await page.go(`${site.origin}/elsewhere`);
    await until('nobody', async () => ((await encke.subscribers('c')).total || 0) === 0);
    await numbers.publish(encke, 'c', 3);
    await page.value('history.back()').catch(() => {});
    await page.until('location.pathname === "/"');
    assert.ok(await page.value('window.isSame === true'), 'the page came from the cache');
    await judge(page, numbers);
  }),

  'tabs: offline it waits, and online it is back at once': (browser) => withSite(browser, async ({ encke, site, path, open }) => {
    const page = await open();
    await follow(page, path);
    const network = (offline) => page.send('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
    const numbers = new Numbers();
    await numbers.publish(encke, 'c', 3);
    await judge(page, numbers);
    await network(true);
    // The browser lets go on what is there already.
    site.server.closeAllConnections();
    await numbers.publish(encke, 'c', 3);
    await page.until('client.state === "offline"', 60);
    await pause(2500);
    await network(false);
    await judge(page, numbers);
    page.complaints.splice(0);
  }),

  'tabs: a page of another origin needs no preflight to follow': async (browser) => {
    const site = await Site.start();
    const encke = await Encke.start(`--cors-origin=${site.origin}`);
    const page = await browser.open(site.origin);
    try {
      const preflights = [];
      const hear = page.hear.bind(page);
      page.hear = (method, params) => {
        if (method === 'Network.requestWillBeSent' && params.request.method === 'OPTIONS') preflights.push(params.request.url);
        hear(method, params);
      };
      await follow(page, encke.url, { token: 'a.e30.b' });
      const numbers = new Numbers();
      await numbers.publish(encke, 'c', 3);
      await judge(page, numbers);
      await page.value('client.subscribe("d", { since: "-1" })');
      await until('d', async () => (await encke.subscribers('d')).total === 1);
      assert.deepEqual(preflights, []);
      assert.ok(page.requests.some(({ url }) => url.includes('token=a.e30.b')));
      assert.deepEqual(page.complaints, []);
    } finally {
      await page.close();
      await encke.end();
      await site.end();
    }
  },
};
