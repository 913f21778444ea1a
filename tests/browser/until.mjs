// Waiting for what can be seen to happen, and no longer than a deadline.

import { setTimeout as pause } from 'node:timers/promises';

/** Asks until the answer is true. */
export async function until(what, ask, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`in ${seconds} s not seen: ${what}`);
    await pause(30);
  }
}

/** The result of a promise, if it comes by then. */
export async function within(seconds, promise) {
  const isOver = new AbortController();
  const late = pause(seconds * 1000, null, isOver).then(() => {
    throw new Error(`not over after ${seconds} s`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    late.catch(() => {});
    isOver.abort();
  }
}

/** Thrown by a check that cannot run here; the message says why. */
export class Skipped extends Error {}
