// Hooks for React: messages, the latest of them, and the state of the connection.
//
// Owns the subscriptions of components. A component that is mounted twice, as in StrictMode, makes one connection.

import { useEffect, useState, useSyncExternalStore } from 'react';

/** @typedef {import('./encke.js').Encke} Encke */

/**
 * The newest messages, oldest first.
 * @param {Encke} client
 * @param {string | string[]} channels
 * @param {import('./encke.js').SubscribeOptions & { limit?: number }} [options] those of the first time count
 */
export function useMessages(client, channels, { limit = 100, ...options } = {}) {
  const [messages, set] = useState(/** @type {any[]} */ ([]));
  const key = `${channels}`;
  useEffect(() => {
    set([]);
    const sub = client.subscribe(key, {
      ...options,
      onMessage(message, sub) {
        set((all) => [...all, message].slice(-limit));
        return options.onMessage?.(message, sub);
      },
    });
    return () => sub.close();
  }, [client, key, limit]);
  return messages;
}

/**
 * The newest message.
 * @param {Encke} client
 * @param {string | string[]} channels
 */
export const useLatest = (client, channels) => useMessages(client, channels, { since: '-1', limit: 1 })[0];

/**
 * The state of the connection.
 * @param {Encke} client
 */
export function useConnection(client) {
  const subscribe = (/** @type {() => void} */ changed) => {
    client.addEventListener('state', changed);
    return () => client.removeEventListener('state', changed);
  };
  return useSyncExternalStore(subscribe, () => client.state, () => 'idle');
}
