// The servers of a check: encke itself, a site of another origin, and proxies in between.
//
// Every port is the system's choice; a restart of encke takes the same one again.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { tunnel } from './upgrade.mjs';

export class Encke {
  static async start(...options) {
    const encke = new Encke();
    encke.options = options;
    encke.port = 0;
    await encke.run();
    return encke;
  }

  get address() { return `127.0.0.1:${this.port}`; }
  get url() { return `http://${this.address}/`; }
  /** By a name that shares its cookies with the pages of a `Site`. */
  get siteUrl() { return `http://localhost:${this.port}/`; }
  /** Where a `--control` address serves, or else everything. */
  get controlUrl() { return `http://${this.addresses.at(-1)}/`; }

  /** Starts the process, on the same port as before. */
  async run() {
    const args = [`--listen=127.0.0.1:${this.port}`, ...this.options];
    const env = { PATH: process.env.PATH };
    this.process = spawn(process.env.ENCKE, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.ended = once(this.process, 'exit');
    this.addresses = [];
    const lines = createInterface({ input: this.process.stderr });
    const said = [];
    await new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        said.push(line);
        const address = /listening on (\S+)/.exec(line);
        if (address) this.addresses.push(address[1]);
        if (line.includes('at most')) resolve();
      });
      this.ended.then(() => reject(new Error(`encke ended: ${said.join('\n')}`)));
    });
    this.port = Number(this.addresses[0].split(':')[1]);
  }

  async end(signal = 'SIGKILL') {
    this.process.kill(signal);
    await this.ended;
  }

  async publish(channel, body, headers = {}) {
    const response = await fetch(`${this.controlUrl}publish/${channel}`, { method: 'POST', body, headers });
    if (!response.ok) throw new Error(`publish: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Requests served so far, the one that asks included. */
  async requests() {
    const text = await (await fetch(`${this.controlUrl}metrics`)).text();
    const counts = [...text.matchAll(/^encke_requests_total\{.*\} (\d+)$/gm)];
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  }

  async subscribers(channel) {
    const response = await fetch(`${this.controlUrl}channels/${channel}`);
    return response.ok ? (await response.json()).subscribers : {};
  }
}

/**
 * A site with pages of its own, at an origin of its own. Below `/encke/` it passes on to encke, so
 * that encke is of the same origin there; below `/slow/` it keeps answers back until they are whole,
 * or for `keepMs`, as a proxy that buffers does.
 */
export class Site {
  static async start(encke = null) {
    const site = new Site();
    site.encke = encke;
    site.keepMs = 2500;
    // Answers of its own: by path, a function of request and response.
    site.routes = {};
    site.sockets = new Set();
    site.server = http.createServer((request, response) => site.answer(request, response));
    // A WebSocket is not kept back below either: what buffers responses mostly lets it pass.
    site.server.on('upgrade', (request, socket, head) => {
      const path = request.url.replace(/^\/(encke|slow)/, '');
      site.sockets.add(socket.on('close', () => site.sockets.delete(socket)));
      tunnel(site.encke.port, path, request, socket, head);
    });
    site.server.listen(0, '127.0.0.1');
    await once(site.server, 'listening');
    site.port = site.server.address().port;
    return site;
  }

  /** Not the host of encke: `localhost` is another origin than `127.0.0.1`. */
  get origin() { return `http://localhost:${this.port}`; }

  answer(request, response) {
    const file = this.files?.(request.url);
    if (file) {
      response.setHeader('Content-Type', 'text/javascript');
      return file.pipe(response);
    }
    const through = /^\/(encke|slow)(\/.*)$/.exec(request.url);
    if (through) return this.pass(request, response, through[2], through[1] === 'slow');
    const route = this.routes[request.url];
    if (route) return route(request, response);
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    return response.end('<!DOCTYPE html><link rel="icon" href="data:,"><title>a page of another origin</title><body>');
  }

  pass(request, response, path, isSlow) {
    const { port } = this.encke;
    const onward = http.request({ port, host: '127.0.0.1', path, method: request.method, headers: request.headers });
    request.pipe(onward);
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    onward.on('response', (answer) => {
      answer.on('error', () => response.destroy());
      const isStream = /^\/(sse|ndjson|frame)\//.test(path);
      if (isSlow && isStream) {
        const held = [];
        const let_go = () => {
          if (!response.headersSent) response.writeHead(answer.statusCode, answer.headers);
          for (const part of held.splice(0)) response.write(part);
        };
        const timer = setInterval(let_go, this.keepMs);
        answer.on('data', (part) => held.push(part));
        answer.on('end', () => { let_go(); response.end(); });
        response.on('close', () => clearInterval(timer));
      } else if (isSlow && path.includes('early=1')) {
        const parts = [];
        answer.on('data', (part) => parts.push(part));
        answer.on('end', () => { response.writeHead(answer.statusCode, answer.headers); response.end(Buffer.concat(parts)); });
      } else {
        response.writeHead(answer.statusCode, answer.headers);
        response.flushHeaders();
        answer.pipe(response);
      }
    });
  }

  async end() {
    this.server.closeAllConnections();
    this.sockets.forEach((socket) => socket.destroy());
    this.server.close();
    await once(this.server, 'close');
  }
}

/** Passes connections on as they are, keeps the heads of requests, and can cut. */
export class Wire {
  static async start(port) {
    const wire = new Wire();
    wire.sockets = new Set();
    wire.heads = [];
    wire.isUp = true;
    wire.server = net.createServer((socket) => wire.join(socket, port));
    wire.server.listen(0, '127.0.0.1');
    await once(wire.server, 'listening');
    wire.url = `http://127.0.0.1:${wire.server.address().port}/`;
    return wire;
  }

  join(socket, port) {
    if (!this.isUp) return socket.destroy();
    const onward = net.connect(port, '127.0.0.1');
    for (const [from, to] of [[socket, onward], [onward, socket]]) {
      this.sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => { this.sockets.delete(from); to.destroy(); });
      from.pipe(to);
    }
    socket.on('data', (bytes) => this.heads.push(bytes.toString('latin1')));
  }

  /** Cuts every connection; new ones are cut at once until `mend`. */
  cut() {
    this.isUp = false;
    for (const socket of this.sockets) socket.destroy();
  }

  mend() { this.isUp = true; }

  async end() {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }
}
