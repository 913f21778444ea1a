// Cursors and ids: `EPOCH-NUMBER`, and in a cluster `EPOCH-NUMBER.PART` too. Numbers and parts are in
// decimal, without a fraction or leading zeros; no part is 0.
//
// Owns their order. An application never needs it: cursors are opaque to it.

/**
 * Whether this is a cursor, and not yet a wish such as `now`, `earliest` or `-10`.
 * @param {any} text
 * @returns {text is string}
 */
export const isCursor = (text) => /^\w+-/.test(text);

/**
 * Whether one is a cursor after another. A cursor is after what is none. The epochs of a cluster rise, those of a
 * single server have no order: a change of them is told as a gap.
 * @param {string | undefined} one
 * @param {string} other
 * @param {boolean} [orUnknown] whether it may be of any other epoch too
 * @returns {one is string}
 */
export function isAfter(one, other, orUnknown) {
  if (!isCursor(one)) return false;
  /** @type {any[]} numbers, as text */
  const [epoch, number, part = 0] = one.split(/\W/);
  /** @type {any[]} */
  const [otherEpoch, otherNumber, otherPart = 0] = other.split(/\W/);
  return epoch === otherEpoch
    ? (number - otherNumber || part - otherPart) > 0
    : orUnknown || !otherNumber || one > other;
}

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
