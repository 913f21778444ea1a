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

/** Thrown by a check that cannot run here; the message says why. */
export class Skipped extends Error {}
