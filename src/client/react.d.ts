import type { Encke, Message, State, SubscribeOptions } from './encke.js';

/** The newest messages of channels, oldest first; `limit` of them (100). Of `options` those of the first time count. */
export function useMessages<T = any>(
  client: Encke, channels: string | readonly string[], options?: SubscribeOptions<T> & { limit?: number },
): Message<T>[];

/** The newest message of channels. */
export function useLatest<T = any>(client: Encke, channels: string | readonly string[]): Message<T> | undefined;

/** The state of the connection. */
export function useConnection(client: Encke): State;
