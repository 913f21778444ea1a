// Cursors and ids: `EPOCH-SEQ`.
//
// Owns their order. An application never needs it: cursors are opaque to it.

/**
 * Whether this is a cursor, and not yet a wish such as `now`, `earliest` or `-10`.
 * @param {any} text
 * @returns {text is string}
 */
export const isCursor = (text) => /^\w+-/.test(text);

/**
 * Whether one is a cursor after another, or of another epoch. A cursor is after what is none.
 * @param {string | undefined} one
 * @param {string} other
 * @returns {one is string}
 */
export const isAfter = (one, other) => isCursor(one) && (
  one.split('-')[0] !== other.split('-')[0]
  // Numbers have no leading zeros, so the longer is the greater.
  || (one.length - other.length || +(one > other)) > 0
);

/**
 * What a batch says, in order.
 * @param {import('./types.js').Batch} batch
 * @param {(object: import('./types.js').StreamObject) => void} take has one parameter
 */
export function unpack({ cursor, messages, gap, end, ended }, take) {
  // What comes is after a gap, whatever was before: so says a stream, too.
  if (gap) take({ gap, cursor: '00000gap-0' });
  messages.forEach(take);
  take({ cursor, end, ended });
}

/**
 * The oldest of several cursors.
 * @param {string[]} all
 */
export const oldest = (all) => all.reduce((one, other) => !one || isAfter(one, other) ? other : one, '');
