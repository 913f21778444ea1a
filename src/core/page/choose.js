'use strict';
// Which transport the client, /encke.js, uses here. It is a part of this page: a module that sets `encke`.
//
// Owns one client for as long as that takes. It has a connection of its own, of the six that a browser opens.

// A stream that opens within this time is not kept back.
const OPENS_MS = 2500;
// Twice the time after which a client takes a stream for mute, and some more.
const DECIDES_MS = 8000;

const CHOICES = { sse: 'server-sent events', ndjson: 'NDJSON', ws: 'WebSocket', 'long-poll': 'long polling', poll: 'polling' };

async function choose() {
  const started = now();
  const client = encke.connect(undefined, { share: false });
  const chosen = new Promise((resolve) => {
    client.addEventListener('state', ({ detail: { state } }) => {
      if (state === 'open' && now() - started < OPENS_MS) resolve();
      if (state === 'open' && client.transport !== 'sse') resolve();
      if (state === 'refused') resolve();
    });
    setTimeout(resolve, DECIDES_MS);
  });
  client.subscribe(channel(), { onGap() {}, onError() {} });
  await chosen;
  const { state, transport } = client;
  client.close();
  if (state !== 'open') return byId('choice').hidden = true;
  const why = transport === 'sse' ? '' : ', because something on the way keeps streams back';
  return tell('choice', `A page that uses encke.js receives by ${CHOICES[transport]} here${why}.`);
}
