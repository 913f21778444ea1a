// The JavaScript client in Node, on two nodes of one cluster. What comes together there has ids with a
// part behind a dot.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../../src/core/client/encke.min.js';
import { Encke } from './servers.mjs';
import { Numbers } from './faults.mjs';
import { Skipped, until } from './until.mjs';

/** A Redis of its own, on a unix socket. */
class Redis {
  static async start() {
    const redis = new Redis();
    redis.directory = await mkdtemp(join(tmpdir(), 'encke-redis-'));
    redis.socket = join(redis.directory, 'redis.sock');
    const options = ['--port', '0', '--unixsocket', redis.socket, '--save', '', '--appendonly', 'no'];
    redis.process = spawn('redis-server', [...options, '--dir', redis.directory], { stdio: 'ignore' });
    const error = await Promise.race([once(redis.process, 'spawn'), once(redis.process, 'error')]);
    if (error[0]) throw new Skipped(`redis-server: ${error[0].message}`);
    redis.ended = once(redis.process, 'exit');
    return redis;
  }

  async end() {
    this.process.kill('SIGKILL');
    await this.ended;
    await rm(this.directory, { recursive: true });
  }
}

const isReady = async (node) => (await fetch(`${node.url}readyz`)).ok;

/** Publishes messages together: in one entry of the log. */
async function publishBatch(node, numbers, count) {
  const lines = Array.from({ length: count }, () => JSON.stringify({ channel: 'c', data: { n: ++numbers.sent } }));
  const response = await fetch(`${node.url}publish`, {
    method: 'POST', body: lines.join('\n'), headers: { 'Content-Type': 'application/x-ndjson' },
  });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()).published.map(({ id }) => id);
}

export const nodes = {
  'client: on several nodes, messages that came together and alone are each received once, in order': async () => {
    const redis = await Redis.start();
    const started = [];
    try {
      for (const name of ['a', 'b']) {
        started.push(await Encke.start(`--engine=redis+unix://${redis.socket}`, `--node=${name}`));
      }
      const [a, b] = started;
      for (const node of started) await until('a node is ready', () => isReady(node));
      for (const transport of ['sse', 'ndjson', 'ws', 'long-poll', 'poll']) {
        const client = connect(b.url, { transports: [transport] });
        const numbers = new Numbers();
        client.subscribe('c', numbers.options);
        await until('it is open', () => client.state === 'open');
        // Numbers of one and of two digits, with parts and without.
        for (let round = 0; round < 12; round += 1) {
          const ids = await publishBatch(a, numbers, 12);
          assert.match(ids.at(-1), /^\w+-\d+\.11$/);
          await numbers.publish(a, 'c', 2);
        }
        await until(`all by ${transport}`, () => numbers.hasAll, 30);
        assert.deepEqual(numbers.faults(), [], transport);
        client.close();
      }
    } finally {
      for (const node of started) await node.end();
      await redis.end();
    }
  },
};
