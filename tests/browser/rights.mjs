// Rights in a real browser: pages of another origin that read by a cookie or by a token, tokens that
// run out while they are used, and users who are logged out. The clients are those of
// src/docs/rights.md.

import assert from 'node:assert/strict';
import { documentedFunction, block } from './blocks.mjs';
import { Encke, Site } from './servers.mjs';
import { Secret } from './token.mjs';
import { until } from './until.mjs';

const COOKIE = 'encke';

/**
 * A page of a site that encke allows, and whose cookies encke gets: both are at `localhost`. The site
 * gives out tokens of user 42 that are good for `site.seconds`: at `/token`, and as a cookie at
 * `/renew-cookie`. `checks(page, encke, site, secret)`.
 */
async function withSite(browser, checks, options = []) {
  const secret = new Secret();
  const site = await Site.start();
  Object.assign(site, { seconds: 600, given: 0, isLoggedOut: false });
  const give = (respond) => (_, response) => {
    site.given += 1;
    if (site.isLoggedOut) response.writeHead(403);
    else respond(response, secret.token(42, site.seconds));
    response.end();
  };
  site.routes['/token'] = give((response, token) => response.write(token));
  site.routes['/renew-cookie'] = give((response, token) => response.setHeader('Set-Cookie', cookie(token)));
  const encke = await Encke.start(
    `--token-key-file=${secret.file}`, `--token-cookie=${COOKIE}`, `--cors-origin=${site.origin}`, '--control=127.0.0.1:0', ...options,
  );
  const page = await browser.open(`${site.origin}/`);
  try {
    await checks(page, encke, site, secret);
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.close();
    await encke.end();
    await site.end();
  }
}

const cookie = (token) => `${COOKIE}=${token}; Path=/; HttpOnly; SameSite=Strict`;

/** That the page complains of nothing but answers with these statuses. */
function expectStatuses(page, statuses) {
  page.complaints.splice(0).forEach((text) => assert.match(text, new RegExp(`status of (${statuses})`)));
}

/** What a page sees of an answer: its status and detail, or that it sees nothing. */
const ask = (page, url, options = '{}') => page.value(`fetch(${JSON.stringify(url)}, ${options}).then(
  async (answer) => [answer.status, answer.ok ? '' : (await answer.json()).detail], () => 'refused')`);

const INCLUDE = `{ credentials: 'include' }`;

/** Has a page follow by `listen` of the documentation, into `got`, `gaps` and `failure`. */
async function listen(page, url, credentials, options) {
  await page.value(`${await block('rights', 'js', 'function listen(')};
    window.got = []; window.gaps = 0; window.failure = null;
    listen(${JSON.stringify(url)}, ${credentials}, (event) => got.push(event.data), () => { gaps += 1; }, ${options})
      .catch((error) => { failure = String(error); }); 0`);
}

const BY_TOKEN = `async () => ({ token: await (await fetch('/token')).text() })`;
const BY_COOKIE = `async () => { await fetch('/renew-cookie'); return {}; }`;

/** Publishes until enough tokens have been given out; what was published. */
async function publishThroughExpiry(encke, site, channel, tokens = 4) {
  await until('a reader', async () => Object.values(await encke.subscribers(channel)).some((count) => count > 0));
  const sent = [];
  while (site.given < tokens) {
    sent.push(String(sent.length));
    await encke.publish(channel, sent.at(-1));
    await until('some time for a token to run out', () => new Promise((done) => setTimeout(done, 20, true)));
    assert.ok(sent.length < 5000, 'tokens do not run out');
  }
  sent.push('last');
  await encke.publish(channel, 'last');
  return sent;
}

const goesOn = (credentials, options) => (browser) => withSite(browser, async (page, encke, site) => {
  site.seconds = 2;
  await listen(page, `${encke.siteUrl}sse/user/42/a`, credentials, options);
  const sent = await publishThroughExpiry(encke, site, 'user/42/a');
  await page.until('got.at(-1) === "last"');
  assert.deepEqual(await page.value('got'), sent);
  assert.deepEqual(await page.value('[gaps, failure]'), [0, null]);
  // It renewed in time, or came back too late and was told so.
  expectStatuses(page, 401);
});

export const rights = {
  'a page of another origin reads its own channel by a cookie, and not its neighbour\'s': (browser) => withSite(browser, async (page, encke, site, secret) => {
    const url = (path) => `${encke.siteUrl}${path}`;
    await page.value(`fetch('/renew-cookie').then(() => 0)`);
    await page.value(`
      window.got = [];
      window.source = new EventSource('${url('sse/user/42/a')}', { withCredentials: true });
      source.onmessage = (event) => got.push(event.data);
      window.without = new EventSource('${url('sse/user/42/a')}');
      window.neighbour = new EventSource('${url('sse/user/43/a')}', { withCredentials: true });`);
    await page.until('source.readyState === 1 && without.readyState === 2 && neighbour.readyState === 2');
    await encke.publish('user/42/a', 'for 42');
    await encke.publish('user/43/a', 'for 43');
    await page.until('got.length === 1');
    assert.deepEqual(await page.value('got'), ['for 42']);

    assert.deepEqual(await ask(page, url('poll/user/42/a'), INCLUDE), [200, '']);
    const [status, detail] = await ask(page, url('poll/user/43/a'), INCLUDE);
    assert.equal(status, 403);
    assert.match(detail, /user\/43\/a/);
    assert.match((await ask(page, url('poll/user/42/a'))).join(), /^401,.*needs a token/);
    assert.match((await ask(page, url('poll/user/42/a,user/43/a'), INCLUDE)).join(), /^403,.*user\/43\/a/);
    // The cookie lets a page publish what its token grants, and no more.
    assert.deepEqual(await ask(page, url('publish/chat/7'), `{ method: 'POST', body: 'hi', credentials: 'include' }`), [200, '']);
    assert.match((await ask(page, url('publish/news'), `{ method: 'POST', body: 'hi', credentials: 'include' }`)).join(), /^403,/);
    // A cookie that has become bad is no silent anonymous.
    const bad = secret.sign({ exp: 1, encke: {} });
    site.routes['/bad'] = (_, response) => response.setHeader('Set-Cookie', cookie(bad)).end();
    await page.value(`fetch('/bad').then(() => 0)`);
    assert.match((await ask(page, url('poll/open'), INCLUDE)).join(), /^401,.*expired/);
    assert.deepEqual(await ask(page, url('poll/open')), [200, '']);
    expectStatuses(page, '(401|403)');
  }, ['--anonymous=open']),

  'a cookie does not help a page of an origin that is not allowed': (browser) => withSite(browser, async (page, encke) => {
    const stranger = await Site.start();
    try {
      await page.value(`fetch('/renew-cookie').then(() => 0)`);
      // The same browser, and the same site by the rules of cookies: only the port differs.
      await page.go(`${stranger.origin}/`);
      const url = (path) => `${encke.siteUrl}${path}`;
      assert.equal(await ask(page, url('poll/user/42/a'), INCLUDE), 'refused');
      assert.equal(await ask(page, url('ndjson/user/42/a'), INCLUDE), 'refused');
      const publish = `fetch('${url('publish/chat/7')}', { method: 'POST', mode: 'no-cors', credentials: 'include', body: 'forged' }).then(() => 'sent')`;
      assert.equal(await page.value(publish), 'sent');
      const response = await fetch(`${encke.controlUrl}channels/chat/7`);
      assert.equal(response.status, 404, 'a page that may not publish has published');
      // Scripts are loaded without an origin: by JSONP, and as they are.
      await encke.publish('user/42/a', 'secret');
      await page.value(`
        window.got = [];
        window.hear = (batch) => got.push(batch);
        for (const query of ['?callback=hear', '?c%61llback=hear', '']) {
          const script = Object.assign(document.createElement('script'), { src: '${url('poll/user/42/a')}' + query });
          script.onerror = script.onload = () => got.push(null);
          document.body.append(script);
        }`);
      await page.until('got.length === 5');
      const got = (await page.value('got')).filter((batch) => batch);
      assert.deepEqual(got.map(({ error }) => error.status), [401, 401]);
      page.complaints.splice(0);
    } finally {
      await stranger.end();
    }
  }),

  'answers to pages of any origin never allow credentials': async (browser) => {
    const secret = new Secret();
    const site = await Site.start();
    const headers = (options) => ({ headers: { Origin: site.origin, ...options } });
    const of = async (encke, path, options) => {
      const answer = await fetch(`${encke.url}${path}`, options);
      await answer.body?.cancel();
      return ['Origin', 'Credentials'].map((name) => answer.headers.get(`Access-Control-Allow-${name}`)).join();
    };
    const common = [`--token-key-file=${secret.file}`, `--token-cookie=${COOKIE}`, '--anonymous=open'];
    const token = { Cookie: `${COOKIE}=${secret.token(42)}` };
    const preflight = { method: 'OPTIONS', headers: { Origin: site.origin, 'Access-Control-Request-Method': 'GET' } };
    for (const [cors, expected] of [
      [['--cors-origin=*'], '*,'],
      [[`--cors-origin=${site.origin}`], `${site.origin},true`],
      [[`--cors-origin=${site.origin}`, '--cors-origin=https://other.example'], `${site.origin},true`],
    ]) {
      const encke = await Encke.start(...common, ...cors);
      for (const path of ['poll/open', 'poll/user/42/a', 'poll/user/43/a', 'sse/user/42/a', 'ndjson/open', 'poll/a*', 'long-poll/open?hold=0.1']) {
        for (const options of [headers({}), headers(token), preflight]) assert.equal(await of(encke, path, options), expected, path);
      }
      if (cors[0].endsWith('*')) {
        const page = await browser.open(`${site.origin}/`);
        assert.equal(await ask(page, `${encke.siteUrl}poll/open`, INCLUDE), 'refused');
        assert.deepEqual(await ask(page, `${encke.siteUrl}poll/open`), [200, '']);
        await page.close();
      }
      await encke.end();
    }
    // Without a cookie to look at, there is nothing to allow.
    const encke = await Encke.start(`--cors-origin=${site.origin}`);
    assert.equal(await of(encke, 'poll/a', headers({})), `${site.origin},`);
    await encke.end();
    await site.end();
  },

  'a page of another origin reads by a token, and a poll with it takes one request': (browser) => withSite(browser, async (page, encke, site, secret) => {
    const token = secret.token(42);
    const url = (path) => `${encke.url}${path}`;
    const before = await encke.requests();
    for (const since of ['earliest', 'now']) {
      assert.deepEqual(await ask(page, url(`poll/user/42/a?since=${since}&token=${token}`)), [200, '']);
    }
    // The two polls, and the question for the count.
    assert.equal(await encke.requests() - before, 3);
    const header = `{ headers: { Authorization: 'Bearer ${token}' } }`;
    assert.deepEqual(await ask(page, url('poll/user/42/a'), header), [200, '']);
    assert.equal(await encke.requests() - before, 6, 'a header needs a preflight');

    assert.match((await ask(page, url(`poll/user/43/a?token=${token}`))).join(), /^403,.*user\/43\/a/);
    assert.match((await ask(page, url('poll/user/43/a'), header)).join(), /^403,/);
    assert.match((await ask(page, url(`poll/user/42/a?token=${token}x`))).join(), /^401,.*signature/);
    assert.match((await ask(page, url(`poll/user/42/a?token=${secret.token(42, -40)}`))).join(), /^401,.*expired 4\d s ago/);

    // What can set no header.
    await page.value(`
      window.got = [];
      window.source = new EventSource('${url(`sse/user/42/a?token=${token}`)}');
      source.onmessage = (event) => got.push(event.data);
      window.addEventListener('message', (event) => { if (event.data.id) got.push(event.data.data); });
      window.frame = document.createElement('iframe');
      frame.src = '${url(`frame/user/42/a?origin=${site.origin}&token=${token}`)}';
      document.body.append(frame);
      window.hear = ({ messages }) => got.push(messages[0].data);
      document.body.append(Object.assign(document.createElement('script'), { src: '${url(`long-poll/user/42/a?callback=hear&token=${token}`)}' }));`);
    await until('all three wait', async () => {
      const { sse, frame, 'long-poll': held } = await encke.subscribers('user/42/a');
      return sse === 1 && frame === 1 && held === 1;
    });
    await encke.publish('user/42/a', 'hello');
    await page.until('got.length === 3');
    assert.deepEqual(await page.value('got'), ['hello', 'hello', 'hello']);
    expectStatuses(page, '(401|403)');
  }),

  'tokens run out while a page streams, and it goes on: nothing lost, by token': goesOn(BY_TOKEN, '{}'),
  'tokens run out while a page streams, and it goes on: nothing lost, by cookie': goesOn(BY_COOKIE, '{ withCredentials: true }'),

  'tokens run out while the documented clients follow, and they go on: nothing lost': async () => {
    const secret = new Secret();
    const encke = await Encke.start(`--token-key-file=${secret.file}`, '--control=127.0.0.1:0');
    const site = { given: 0 };
    const withTokens = await documentedFunction('rights', 'withTokens');
    const authorized = withTokens(async () => {
      site.given += 1;
      return secret.token(42, 2);
    });
    let isOver = false;
    const surroundings = {
      fetch: authorized,
      console: { warn() {} },
      // Once the check is over the client waits for ever, so that it does not keep node from its end.
      setTimeout: (done, ms) => { if (!isOver) setTimeout(done, ms); },
    };
    const base = encke.url.slice(0, -1);
    const [polled, streamed] = [[], []];
    const follow = await documentedFunction('http', 'follow', surroundings);
    const stream = await documentedFunction('http', 'stream', surroundings);
    follow(base, 'user/42/a', ({ data }) => polled.push(data), () => polled.push('gap'));
    let expired = 0;
    (async () => {
      for (let since = 'now'; !isOver;) {
        await stream(base, 'user/42/a', since, (line) => {
          since = line.id ?? line.cursor;
          if (line.expired) expired += 1;
          if (line.id) streamed.push(line.data);
          if (line.gap) streamed.push('gap');
        }).catch(() => {});
      }
    })();
    try {
      await until('both wait', async () => {
        const { 'long-poll': held, ndjson } = await encke.subscribers('user/42/a');
        return held === 1 && ndjson === 1;
      });
      const sent = await publishThroughExpiry(encke, site, 'user/42/a', 6);
      await until('all is received', () => [polled, streamed].every((got) => got.at(-1) === 'last'));
      assert.deepEqual(polled, sent);
      assert.deepEqual(streamed, sent);
      assert.ok(expired >= 1);
    } finally {
      isOver = true;
      await encke.end();
    }
  },

  'a user who is logged out is disconnected and kept out, and nobody else': (browser) => withSite(browser, async (page, encke, site, secret) => {
    await listen(page, `${encke.siteUrl}sse/user/42/a,news`, BY_TOKEN, '{}');
    const neighbour = await browser.open(`${site.origin}/`);
    await neighbour.value(`
      window.got = []; window.expired = 0;
      window.source = new EventSource('${encke.siteUrl}sse/user/43/a,news?token=${secret.token(43)}');
      source.onmessage = (event) => got.push(event.data);
      source.addEventListener('expired', () => { expired += 1; });`);
    await until('both read', async () => (await encke.subscribers('news')).sse === 2);
    const connections = async (query, method = 'GET') => (await fetch(`${encke.controlUrl}connections?${query}`, { method })).json();
    assert.deepEqual(await connections('sub=user-42'), { connections: 1 });
    assert.deepEqual(await connections('sub=user-44'), { connections: 0 });
    assert.deepEqual(await connections('sub=user-42&channel=user/43/a', 'DELETE'), { ended: 0 });

    // Without a block, a client that has a token comes back.
    const before = site.given;
    assert.deepEqual(await connections('sub=user-42&channel=news', 'DELETE'), { ended: 1 });
    await until('it is back', async () => site.given === before + 1 && (await encke.subscribers('news')).sse === 2);

    assert.deepEqual(await connections('sub=user-42&block=600', 'DELETE'), { ended: 1 });
    await page.until('failure');
    assert.match(await page.value('failure'), /refused/);
    assert.match((await ask(page, `${encke.siteUrl}poll/news?token=${secret.token(42)}`)).join(), /^401,.*blocked/);
    assert.deepEqual(await connections('sub=user-42'), { connections: 0 });
    await encke.publish('news', 'still here');
    await neighbour.until('got.length === 1');
    assert.deepEqual(await neighbour.value('[got, expired]'), [['still here'], 0]);
    assert.deepEqual(neighbour.complaints, []);
    await neighbour.close();
    expectStatuses(page, 401);
  }),
};
