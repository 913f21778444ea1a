// Cursors and ids: `EPOCH-SEQ`.
//
// Owns their order. An application never needs it: cursors are opaque to it.

/**
 * Whether this is a cursor, and not yet a wish such as `now`, `earliest` or `-10`.
 * @param {string} text
 */
export const isCursor = (text) => /^\w+-\d+$/.test(text);

/**
 * Whether one cursor is after another. One of another epoch is: it came later.
 * @param {string} one
 * @param {string} other
 */
export function isAfter(one, other) {
  const dash = one.indexOf('-');
  // Numbers have no leading zeros, so the longer is the greater.
  return one.slice(0, dash) !== other.slice(0, dash)
    || (one.length - other.length || (one > other ? 1 : -1)) > 0;
}

/**
 * What a batch says, in order.
 * @param {import('./types.js').Batch} batch
 * @param {(object: import('./types.js').StreamObject) => void} take
 */
export function unpack({ cursor, messages, gap, end }, take) {
  if (gap) take({ gap });
  messages.forEach((message) => take(message));
  take({ cursor, end });
}

/**
 * The oldest of several cursors.
 * @param {string[]} all
 */
export const oldest = (all) => all.reduce((one, other) => isAfter(one, other) ? other : one);
