// A proxy with faults, for clients that have to live with it.
//
// Owns what it does to responses, by `mode`, and when each request came. It is plain HTTP, and knows of encke only
// which responses are streams.

import { once } from 'node:events';
import http from 'node:http';
import { tunnel } from './upgrade.mjs';

export class Faults {
  static async start(port) {
    const faults = new Faults();
    Object.assign(faults, { port, mode: 'pass', requests: [], messages: 0, sockets: new Set() });
    faults.server = http.createServer((request, response) => faults.answer(request, response));
    faults.server.on('upgrade', (request, socket, head) => faults.upgrade(request, socket, head));
    faults.server.listen(0, '127.0.0.1');
    await once(faults.server, 'listening');
    faults.url = `http://127.0.0.1:${faults.server.address().port}/`;
    return faults;
  }

  /**
   * `mode`: `pass`; `buffer`: a stream is kept back until its end; `hold-64k`: until 64 KiB of it are there;
   * `cut`: each response is cut after a random time up to `cutMs`; `stall`: no answer; a status.
   * `delayMs`: plain polls are passed on later.
   */
  answer(request, response) {
    this.requests.push({ at: performance.now(), path: request.url, headers: request.headers });
    const { mode } = this;
    if (typeof mode === 'number') {
      response.writeHead(mode, this.retryAfter ? { 'Retry-After': this.retryAfter } : {});
      return response.end('not now');
    }
    if (mode === 'stall') return undefined;
    if (this.delayMs && request.url.startsWith('/poll/')) {
      return setTimeout(() => this.pass(request, response), this.delayMs);
    }
    return this.pass(request, response);
  }

  pass(request, response) {
    const { mode } = this;
    const isStream = /^\/(sse|ndjson)\//.test(request.url);
    const onward = http.request({ port: this.port, host: '127.0.0.1', path: request.url, method: request.method, headers: request.headers });
    request.pipe(onward);
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    if (mode === 'cut') setTimeout(() => response.destroy(), Math.random() * this.cutMs);
    onward.on('response', (answer) => {
      const { statusCode, headers } = answer;
      answer.on('error', () => response.destroy());
      if (!isStream || mode === 'pass' || mode === 'cut') {
        response.writeHead(statusCode, headers);
        response.flushHeaders();
        return answer.pipe(response);
      }
      let parts = [];
      let isHeld = true;
      const release = () => {
        if (isHeld) response.writeHead(statusCode, headers);
        isHeld = false;
        for (const part of parts.splice(0)) response.write(part);
      };
      answer.on('data', (part) => {
        parts.push(part);
        if (!isHeld || mode === 'hold-64k' && parts.reduce((sum, { length }) => sum + length, 0) > 65_536) release();
      });
      answer.on('end', () => { release(); response.end(); });
      return undefined;
    });
    return undefined;
  }

  /** A WebSocket is never kept back; what has no other mode lets it pass. */
  upgrade(request, socket, head) {
    const { mode } = this;
    this.requests.push({ at: performance.now(), path: request.url, headers: request.headers });
    this.sockets.add(socket.on('close', () => this.sockets.delete(socket)));
    socket.on('error', () => {});
    if (typeof mode === 'number') return socket.end(`HTTP/1.1 ${mode} Not Now\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    if (mode === 'stall') return undefined;
    if (this.refusesUpgrades) return socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    if (mode === 'cut') setTimeout(() => socket.destroy(), Math.random() * this.cutMs);
    return tunnel(this.port, request.url, request, socket, head);
  }

  /** Breaks all that is open. */
  cutAll() {
    this.server.closeAllConnections();
    this.sockets.forEach((socket) => socket.destroy());
  }

  /** The most requests in any second. */
  busiest() {
    let most = 0;
    for (let from = 0, to = 0; to < this.requests.length; to += 1) {
      while (this.requests[to].at - this.requests[from].at > 1000) from += 1;
      most = Math.max(most, to - from + 1);
    }
    return most;
  }

  async end() {
    this.cutAll();
    this.server.close();
    await once(this.server, 'close');
  }
}

/** Numbered messages, and the judgement on what came of them. */
export class Numbers {
  constructor() {
    this.sent = 0;
    this.seen = [];
    this.gaps = 0;
  }

  /** The options of a subscription that is judged. */
  get options() {
    return {
      onMessage: ({ data }) => { this.seen.push(data.n); },
      onGap: () => { this.gaps += 1; this.seen.push('gap'); },
    };
  }

  /** Publishes so many, some at a time. */
  async publish(encke, channel, count, restMs = 0) {
    for (const end = this.sent + count; this.sent < end;) {
      await encke.publish(channel, JSON.stringify({ n: ++this.sent }), { 'Content-Type': 'application/json' });
      if (restMs) await new Promise((done) => setTimeout(done, restMs));
    }
  }

  /** What is wrong; empty if each came once, in order, and nothing is missing without a gap before. */
  faults(from = 1) {
    const faults = [];
    let next = from;
    for (const n of this.seen) {
      if (n === 'gap') next = null;
      else if (next === null) next = n + 1;
      else if (n !== next) {
        faults.push(`${n} where ${next} was due`);
        next = n + 1;
      } else next += 1;
    }
    if (next !== null && next !== this.sent + 1) faults.push(`it ends before ${next} of ${this.sent}`);
    return faults;
  }

  get hasAll() { return this.seen.at(-1) === this.sent; }
}
