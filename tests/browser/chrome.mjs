// Chromium by the Chrome DevTools Protocol over a pipe, without packages.
//
// Owns the browser's process, its profile, and the sessions of its pages. Everything that a page
// complains of is kept: console errors, exceptions, dialogs, and violations of its policy.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.mjs';

const FLAGS = [
  '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--remote-debugging-pipe', '--hide-scrollbars',
  '--disable-dev-shm-usage',
];

export class Browser {
  static async start(path = process.env.CHROMIUM || '/usr/bin/chromium') {
    const browser = new Browser();
    browser.profile = await mkdtemp(join(tmpdir(), 'encke-browser-'));
    const flags = [...FLAGS, `--user-data-dir=${browser.profile}`];
    // Chromium's sandbox refuses to work for root.
    if (process.getuid() === 0) flags.push('--no-sandbox');
    const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'];
    browser.process = spawn(path, [...flags, 'about:blank'], { stdio });
    browser.ended = once(browser.process, 'exit');
    browser.sessions = new Map();
    browser.waiting = new Map();
    browser.lastId = 0;
    let rest = '';
    browser.process.stdio[4].setEncoding('utf8').on('data', (text) => {
      const parts = (rest + text).split('\0');
      rest = parts.pop();
      for (const part of parts) browser.hear(JSON.parse(part));
    });
    browser.process.stdio[3].on('error', () => {});
    await browser.send('Browser.getVersion');
    return browser;
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.lastId;
    this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, method });
      this.ended.then(() => reject(new Error(`the browser ended during ${method}`)));
    });
  }

  hear({ id, result, error, method, params, sessionId }) {
    if (id !== undefined) {
      const { resolve, reject, method: asked } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(new Error(`${asked}: ${error.message}`));
      else resolve(result);
    } else {
      this.sessions.get(sessionId)?.hear(method, params);
    }
  }

  /**
   * Opens a page at an address, in a profile of its own, so that no page takes another's connections; or in the
   * profile of another page, as its neighbour.
   */
  async open(url, { width = 1280, height = 900, dark = false, beside = null } = {}) {
    const { browserContextId } = beside ?? await this.send('Target.createBrowserContext');
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId, browserContextId, targetId);
    this.sessions.set(sessionId, page);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network', 'Audits']) await page.send(`${domain}.enable`);
    await page.send('Emulation.setDeviceMetricsOverride', {
      width, height, deviceScaleFactor: width < 500 ? 2 : 1, mobile: width < 500,
    });
    const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
    await page.send('Emulation.setEmulatedMedia', { features });
    await page.go(url);
    return page;
  }

  async close() {
    // The answer may or may not come before the end.
    this.send('Browser.close').catch(() => {});
    await this.ended;
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Page {
  constructor(browser, sessionId, browserContextId, targetId) {
    Object.assign(this, { browser, sessionId, browserContextId, targetId, complaints: [], requests: [] });
  }

  send(method, params) { return this.browser.send(method, params, this.sessionId); }

  hear(method, params) {
    const complain = (text) => this.complaints.push(text);
    if (method === 'Runtime.exceptionThrown') {
      const { text, exception } = params.exceptionDetails;
      complain(`exception: ${text} ${exception?.description ?? ''}`);
    } else if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) {
      complain(`console: ${params.args.map((arg) => arg.value ?? arg.description).join(' ')}`);
    } else if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) {
      complain(`log: ${params.entry.text} ${params.entry.url ?? ''}`);
    } else if (method === 'Audits.issueAdded' && params.issue.code === 'ContentSecurityPolicyIssue') {
      complain(`policy: ${JSON.stringify(params.issue.details.contentSecurityPolicyIssueDetails)}`);
    } else if (method === 'Page.javascriptDialogOpening') {
      complain(`dialog: ${params.message}`);
      this.send('Page.handleJavaScriptDialog', { accept: false });
    } else if (method === 'Network.requestWillBeSent') {
      this.requests.push({ url: params.request.url, at: params.timestamp });
    }
  }

  async go(url) {
    const { errorText } = await this.send('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.until(`document.readyState !== 'loading' && location.href.startsWith(${JSON.stringify(url.split('#')[0])})`);
  }

  /** The value of an expression, awaited. */
  async value(expression) {
    const params = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', params);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits for an expression to be true. */
  until(expression, seconds) {
    return until(expression, () => this.value(expression).catch((error) => {
      // While a page is being replaced, there is nothing to ask.
      if (/context|navigated/i.test(error.message)) return false;
      throw error;
    }), seconds);
  }

  async screenshot(full = true) {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: full });
    return Buffer.from(data, 'base64');
  }

  /** Closes this page, and not those beside it. */
  async closeAlone() {
    await this.browser.send('Target.closeTarget', { targetId: this.targetId });
    this.browser.sessions.delete(this.sessionId);
  }

  /** Closes its profile, and so this page and those beside it. */
  async close() {
    await this.browser.send('Target.disposeBrowserContext', { browserContextId: this.browserContextId });
    this.browser.sessions.delete(this.sessionId);
  }
}
