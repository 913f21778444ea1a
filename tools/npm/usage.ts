// What a user of the package writes: it has to be right by its types, and is never run.

import { EnckeError, connect } from '../../src/client/encke.js';
import { EventSource } from '../../src/client/eventsource.js';
import { useConnection, useLatest, useMessages } from '../../src/client/react.js';

const encke = connect('http://127.0.0.1:7711/', {
  token: async ({ reason, channels }) => `${reason} ${channels.join()}`,
  transports: ['sse', 'long-poll'],
  hidden: 'close',
});
const sub = encke.subscribe<{ price: number }>(['news', 'sport'], {
  since: '-10',
  async load() {},
  onMessage: ({ data, channel }) => console.log(channel, data.price.toFixed()),
  onError: (error) => error.status === 403 && error instanceof EnckeError,
});
encke.addEventListener('state', ({ detail: { state, retryInMs = 0 } }) => console.log(state, retryInMs + 1));
for await (const { data } of encke.messages<string>('news')) console.log(data.length, sub.cursor);
await encke.publish('news', { price: 1.5 }, { event: 'quote', key: 'order-17', end: true });
const { published, last } = await encke.publishLines('news', ['one', 'two'], { event: 'token', end: true });
await encke.publishLines('news', encke.messages('sport', { onEnd: () => console.log(published.toFixed(), last.length) }));
// @ts-expect-error Each request has a key of its own.
await encke.publishLines('news', [], { key: 'order-17' });

// @ts-expect-error There is no such transport.
connect(undefined, { transports: ['carrier-pigeon'] });

new EventSource('/sse/news', { share: false }).onmessage = (event) => console.log(event.data.length);
const [first] = useMessages<{ price: number }>(encke, 'news', { limit: 3 });
console.log(first.data.price, useLatest(encke, 'news')?.id, useConnection(encke) === 'open');
