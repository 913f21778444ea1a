// The client in whichever runtime runs this: each transport, every message once and in order.

import { connect } from '../../src/core/client/encke.min.js';

const url = globalThis.process?.argv.at(-1) ?? globalThis.Deno.args[0];
const counts = [];
const transports = ['sse', 'ndjson', 'ws', 'long-poll', 'poll'].filter((name) => name !== 'ws' || globalThis.WebSocket);
for (const transport of transports) {
  const client = connect(url, { transports: [transport] });
  const seen = [];
  const all = new Promise((done) => {
    client.subscribe(transport, { since: 'earliest', onMessage: ({ data }) => { if (seen.push(data) === 100) done(); } });
  });
  for (let n = 0; n < 100; n += 1) await client.publish(transport, n);
  await all;
  if (seen.some((data, n) => data !== n)) throw new Error(`${transport}: ${seen}`);
  client.close();
  counts.push(seen.length);
}
console.log(transports.map((name, at) => `${name} ${counts[at]}`).join(', '));
