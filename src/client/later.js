// Waiting.

const LONGEST_BACKOFF_MS = 30_000;

/**
 * 50 to 100 % of a time that doubles with each failure, in milliseconds.
 * @param {number} failures from 1
 */
export const backoff = (failures, leastMs = 0) => Math.max(leastMs, Math.min(LONGEST_BACKOFF_MS, 500 * 2 ** (failures - 1)) * (1 + Math.random()) / 2);

/** @param {number} ms */
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
