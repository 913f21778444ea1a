// Tabs: one connection for all tabs of an origin.
//
// Owns the election of a leader, which is the tab that holds a lock, and what the tabs send each other. The leader
// relays what its connection receives to all other tabs. If its tab is closed, the browser gives the lock to the next.
//
// What is told, by channel of broadcast. Later versions may add members:
//   { join, channels, at }   a tab is there, and follows these channels from here on
//   { leave }                it is gone
//   { roll }                 the leader asks who is there
//   { follows, since }       the leader's connection follows these channels, from here on
//   { object }               it brought this
//   { state }                its state
//   { alone }                these tabs have to look after themselves

import { sleep } from './later.js';

/** @typedef {import('./types.js').StreamObject} StreamObject */
/** @typedef {import('./types.js').Flag} Flag */

/** How long a new leader waits for the others to say that they are there, in milliseconds. */
const ROLL_MS = 50;

// What a tab is. Up to the leader it has a connection of its own.
export const ALONE = 1;
export const LEADER = 2;
export const FOLLOWER = 3;
/** It is not known yet. */
export const STARTING = 4;

export const canShare = () => globalThis.location && globalThis.navigator?.locks;

/**
 * Takes part.
 *
 * @param {string} name the same for all tabs that share
 * @param {{
 *   role: (role: number) => void,
 *   changed: () => void,
 *   own: () => { channels: string[], at: string } | undefined,
 *   told: (message: any) => void,
 * }} on `role`: what this tab is. `changed`: a leader's others are. `own`: what a follower
 *   follows
 */
export function tabs(name, on) {
  const { locks } = navigator;
  const id = `${Math.random()}`;
  /** Of a leader: the others. @type {Map<string, { channels: string[], at: string }>} */
  const members = new Map();
  /** @type {Flag} */
  let isLeader;
  const control = new AbortController();
  const { signal } = control;
  const line = new BroadcastChannel(name);
  const gone = new Promise((done) => { signal.onabort = done; });

  /** @param {object} message */
  const tell = (message) => {
    if (!signal.aborted) line.postMessage(message);
  };
  const join = () => {
    if (!isLeader) tell({ join: id, ...on.own() });
  };
  const lead = () => {
    if (signal.aborted) return;
    isLeader = true;
    on.role(LEADER);
    return gone;
  };

  line.onmessage = ({ data }) => {
    if (isLeader) {
      if (data.join ? members.set(data.join, data) : members.delete(data.leave)) on.changed();
    } else if (data.roll) join();
    else if (data.alone?.includes(id)) on.role(ALONE);
    else on.told(data);
  };
  // A tab holds a lock of its own as long as it is open; the leader removes the tabs whose lock is gone.
  locks.request(name + id, () => gone).catch(() => {});
  locks.request(name, { ifAvailable: true }, (lock) => {
    if (lock || signal.aborted) return lead();
    on.role(FOLLOWER);
    join();
    locks.request(name, { signal }, async () => {
      // Another leader was here, so there are others.
      isLeader = true;
      tell({ roll: 1 });
      await sleep(ROLL_MS);
      return lead();
    }).catch(() => {});
  }).catch(() => on.role(ALONE));

  return {
    enter: join,
    /** Of the leader: the others that follow something. */
    members: () => [...members.values()].filter((one) => one.at),
    /** Of the leader. */
    tell,
    /** Of the leader: relays what its connection brought. @param {StreamObject} object */
    relay(object) {
      if (members.size) tell({ object });
      if (!object.end) return;
      // What they followed is complete. Each says what else it follows.
      members.forEach((member) => { member.at = ''; });
      tell({ roll: 1 });
    },
    /** Of the leader: what the others want is refused. */
    abandon() {
      tell({ alone: [...members.keys()] });
      members.clear();
    },
    /** Of the leader: forgets tabs that are gone without a word. */
    async sweep() {
      if (!members.size) return;
      const { held } = await locks.query().catch(() => /** @type {LockManagerSnapshot} */ ({}));
      for (const member of members.keys()) if (held?.every((lock) => lock.name !== name + member)) members.delete(member);
    },
    stop() {
      tell({ leave: id });
      control.abort();
      line.close();
    },
  };
}
