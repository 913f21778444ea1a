// A page that follows several nodes of one cluster through a balancer, while what it relies on is killed.
//
// Owns Redis and nginx. The nodes are started as src/docs/nodes.md says, nginx runs the recipe that users copy.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Numbers } from './faults.mjs';
import { Encke } from './servers.mjs';
import { follow, judge } from './tabs.mjs';
import { Skipped, until } from './until.mjs';

const RECIPE = new URL('../../tools/proxies/nginx/nodes.conf', import.meta.url);
const PUBLISH_EVERY_MS = 20;
/** So many messages must come to the page between two faults. */
const QUIET_COUNT = 50;

async function find(program) {
  const folders = [...process.env.PATH.split(delimiter), '/usr/sbin'];
  for (const folder of folders) {
    const path = join(folder, program);
    if (await access(path).then(() => true, () => false)) return path;
  }
  throw new Skipped(`${program} is not installed`);
}

/** A port that stays free until it is used: the system gives those from 32768 on to connections. */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = net.createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(() => true, () => false);
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

const answers = (url) => fetch(url).then(({ ok }) => ok, () => false);

/** A process that can be killed and started again. */
class Program {
  static async start(path, args, port) {
    const program = new Program();
    Object.assign(program, { path, args, port });
    await program.run();
    return program;
  }

  async run() {
    const said = [];
    this.process = spawn(this.path, this.args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const output of [this.process.stdout, this.process.stderr]) output.on('data', (text) => said.push(text));
    this.ended = once(this.process, 'exit');
    let hasEnded = false;
    this.ended.then(() => { hasEnded = true; });
    await until(`${this.path} listens`, () => {
      if (hasEnded) throw new Error(`${this.path} ended: ${said.join('')}`);
      const socket = net.connect(this.port, '127.0.0.1');
      return Promise.race([once(socket, 'connect').then(() => true), once(socket, 'close').then(() => false)])
        .catch(() => false).finally(() => socket.destroy());
    });
  }

  async end(signal = 'SIGKILL') {
    this.process.kill(signal);
    await this.ended;
  }
}

/** Everything but the page. */
class Cluster {
  static async start() {
    const [redis, nginx] = await Promise.all(['redis-server', 'nginx'].map(find));
    const cluster = new Cluster();
    Object.assign(cluster, { nodes: new Map(), answers: {}, numbers: new Numbers() });
    cluster.directory = await mkdtemp(join(tmpdir(), 'encke-story-'));
    // nginx's workers have a user of their own.
    await chmod(cluster.directory, 0o755);
    try {
      const port = await freePort();
      cluster.engine = `redis://127.0.0.1:${port}`;
      const settings = ['--port', port, '--save', '', '--appendonly', 'no', '--dir', cluster.directory];
      cluster.redis = await Program.start(redis, settings, port);
      await Promise.all(['a', 'b', 'c'].map((name) => cluster.add(name)));
      cluster.port = await freePort();
      await cluster.configure();
      const options = ['-p', cluster.directory, '-c', cluster.config, '-e', 'stderr',
        '-g', `daemon off; pid ${cluster.directory}/pid;`];
      cluster.nginx = await Program.start(nginx, options, cluster.port);
    } catch (error) {
      await cluster.end();
      throw error;
    }
    return cluster;
  }

  get url() { return `http://127.0.0.1:${this.port}/encke/`; }

  /** Starts a node, and waits until it is ready. */
  async add(name) {
    const node = await Encke.start(`--engine=${this.engine}`, `--node=${name}`, '--drain=1s');
    this.nodes.set(name, node);
    await until(`node ${name} is ready`, () => answers(`${node.url}readyz`));
  }

  async remove(name, signal) {
    const node = this.nodes.get(name);
    this.nodes.delete(name);
    await node.end(signal);
  }

  /** Writes the recipe, with these nodes in it. */
  async configure() {
    this.config = join(this.directory, 'nginx.conf');
    const servers = [...this.nodes.values()].map(({ address }) => `server ${address} max_fails=0;`);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${this.directory}/${kind};`);
    let text = await readFile(RECIPE, 'utf8');
    for (const [old, replacement] of Object.entries({
      'server 10.0.0.1:7711 max_fails=0;': servers.join('\n'),
      'server 10.0.0.2:7711 max_fails=0;': '',
      'listen 80;': `listen 127.0.0.1:${this.port};`,
      '/var/log/nginx/encke.log': `${this.directory}/access.log`,
      'http {': `http {\naccess_log off;\n${temporary.join('\n')}`,
    })) {
      assert.ok(text.includes(old), `nodes.conf does not contain ${old} any more`);
      text = text.replace(old, replacement);
    }
    await writeFile(this.config, text);
  }

  /** Publishes numbered messages, on one node after the other, until it is stopped. */
  publish() {
    let isOver = false;
    const going = (async () => {
      for (let turn = 0; !isOver; turn += 1) {
        const n = this.numbers.sent + 1;
        const nodes = [...this.nodes.values()];
        const status = await this.publishOn(nodes[turn % nodes.length], n);
        this.answers[status] = (this.answers[status] ?? 0) + 1;
        if (status === 200) this.numbers.sent = n;
        await pause(PUBLISH_EVERY_MS);
      }
    })();
    return async () => {
      isOver = true;
      await going;
    };
  }

  publishOn({ url }, n) {
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': `number-${n}` };
    return fetch(`${url}publish/c`, { method: 'POST', body: JSON.stringify({ n }), headers })
      .then(({ status }) => status, () => 'broken');
  }

  /** The node that has the page's stream. */
  async serving() {
    return until('a node has the stream', async () => {
      for (const [name, node] of this.nodes) {
        const { sse } = await node.subscribers('c');
        if (sse > 0) return name;
      }
      return null;
    });
  }

  /** Waits until no node misses this one any more. */
  forgotten(name) {
    const [[, node]] = this.nodes;
    return until(`node ${name} is taken for gone`, async () => {
      const { nodes } = await (await fetch(`${node.url}nodes`)).json();
      return nodes.every((other) => other.name !== name);
    });
  }

  async end() {
    // nginx ends its workers, unless it is killed.
    const ends = [this.nginx?.end('SIGTERM'), ...[this.redis, ...this.nodes.values()].map((each) => each?.end())];
    await Promise.all(ends);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

export const balanced = {
  'balanced: a page misses nothing while a node and Redis are killed, and another node joins': async (browser) => {
    const cluster = await Cluster.start();
    const { numbers } = cluster;
    let page;
    let stop = () => {};
    /** Waits until the page has so many messages more. */
    const quiet = async () => {
      const wanted = numbers.sent + QUIET_COUNT;
      await page.until(`seen.length >= ${wanted}`, 15);
    };
    try {
      page = await browser.open(`${cluster.url}healthz`);
      await follow(page, cluster.url);
      stop = cluster.publish();
      await quiet();

      const killed = await cluster.serving();
      await cluster.remove(killed, 'SIGKILL');
      await quiet();
      // Redis must not end together with a node, which may have had what nobody else has.
      await cluster.forgotten(killed);

      await cluster.redis.end('SIGKILL');
      await pause(1000);
      await cluster.redis.run();
      await quiet();

      await cluster.add('d');
      await cluster.configure();
      cluster.nginx.process.kill('SIGHUP');
      for (const name of [...cluster.nodes.keys()].filter((each) => each !== 'd')) {
        await cluster.remove(name, 'SIGTERM');
        await quiet();
      }
      assert.equal(await cluster.serving(), 'd');

      await stop();
      await judge(page, numbers);
      const streams = page.requests.filter(({ url }) => url.includes('/sse/')).length;
      const counts = `${numbers.seen.length} of ${numbers.sent} messages, ${numbers.gaps} gaps, ${streams} streams`;
      console.log(`        ${counts}; publishes: ${JSON.stringify(cluster.answers)}`);
    } finally {
      await stop();
      await page?.close();
      await cluster.end();
    }
  },
};
