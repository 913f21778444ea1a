// The JavaScript client through a proxy, by each transport: every message once and in order.
//
//   node follow.mjs URL-OF-THE-PROXY URL-OF-THE-CONTROL-ADDRESS

import { connect } from '../../../src/core/client/encke.min.js';

const COUNT = 200;
const REST_MS = 5;
const [through, control] = process.argv.slice(2);
const transports = ['sse', 'ndjson', 'ws', 'long-poll', 'poll'].filter((name) => name !== 'ws' || globalThis.WebSocket);
const publisher = connect(control);

async function follow(transport) {
  const client = connect(through, { transports: [transport] });
  const channel = `followed/${transport}`;
  const seen = [];
  const all = new Promise((done, fail) => {
    client.subscribe(channel, {
      since: 'earliest',
      onMessage({ data }) {
        seen.push(data);
        if (seen.length === COUNT) done();
      },
      onGap: () => fail(Error(`${transport}: a gap after ${seen.length}`)),
      onError: fail,
    });
  });
  for (let n = 0; n < COUNT; n += 1) {
    await publisher.publish(channel, n);
    await new Promise((done) => setTimeout(done, REST_MS));
  }
  await all;
  if (seen.some((data, n) => data !== n)) throw new Error(`${transport}: ${seen}`);
  client.close();
}

setTimeout(() => {
  console.error('not all have come');
  process.exit(1);
}, 30_000).unref();
await Promise.all(transports.map(follow));
publisher.close();
