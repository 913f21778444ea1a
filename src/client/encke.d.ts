/** The JavaScript client of encke. See src/docs/browser.md. */

/** A message as it is received. */
export interface Message<T = any> {
  /** Its id; also a cursor. */
  id: string;
  channel: string;
  /** JSON as it was published, text, or bytes as a `Uint8Array`. */
  data: T;
  /** Its event name, if it has one. */
  event?: string;
  /** `base64` if the data were sent as such; they are bytes here. */
  encoding?: 'base64';
}

export type Transport = 'sse' | 'ndjson' | 'ws' | 'long-poll' | 'poll';

export type State =
  | 'idle' | 'connecting' | 'open' | 'waiting' | 'offline' | 'suspended' | 'unauthorized' | 'refused' | 'closed';

/** A refusal by the server. */
export class EnckeError extends Error {
  constructor(detail: string, status: number);
  /** The HTTP status. */
  status: number;
}

export interface TokenRequest {
  /** `first`, `expires` (soon), or `refused` (by a 401). */
  reason: 'first' | 'expires' | 'refused';
  /** What is followed. */
  channels: string[];
}

export interface Options {
  /** A token, or what returns one, empty for none: asked at first, before it expires, and once after a 401. */
  token?: string | ((why: TokenRequest) => string | Promise<string>);
  /** In order of preference; by default all, `ws` only where there are WebSockets, and neither `fetch` nor `headers`. */
  transports?: Transport[];
  /** One connection for all tabs of the origin; by default true. Where that cannot be had, each has its own. */
  share?: boolean;
  /** What a hidden page does; by default `keep`. `poll`: it asks every 15 s or less often. */
  hidden?: 'keep' | 'poll' | 'close';
  /** In place of the global one. */
  fetch?: typeof fetch;
  /** Sent with each request. To another origin they take a preflight. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** Closes the client. */
  signal?: AbortSignal;
}

export interface SubscribeOptions<T = any> {
  /** `now` (default), `earliest`, `-N` for the newest N messages, or a cursor. */
  since?: string;
  /**
   * Loads the state: at first, and after each gap. Messages wait for it and follow it. Repeated if it fails.
   */
  load?: () => unknown;
  /** If it returns a promise, the next message waits for that. */
  onMessage?: (message: Message<T>, subscription: Subscription) => unknown;
  /** Messages were lost. `load` runs after it. */
  onGap?: () => unknown;
  /** All its channels have ended, and their last messages were handed over; the subscription is over. */
  onEnd?: () => unknown;
  /** The subscription is refused, and over. */
  onError?: (error: EnckeError) => unknown;
}

export interface Subscription {
  readonly channels: string[];
  /** A cursor: all up to here has been handed over. Empty at first. */
  readonly cursor: string;
  readonly closed: boolean;
  close(): void;
}

export interface StateEvent extends Event {
  readonly detail: {
    state: State;
    /** The one in use, of whichever tab. */
    transport: Transport;
    /** What failed. */
    why?: string;
    /** When it is tried again. */
    retryInMs?: number;
  };
}

export interface PublishOptions {
  /** Its event name. */
  event?: string;
  /** The channel is complete with it. With an empty text it ends without another message. */
  end?: boolean;
  /** What makes it one message, however often it is sent; by default chosen at random. */
  key?: string;
  signal?: AbortSignal;
}

export interface Published {
  id: string;
  channel: string;
  subscribers: number;
}

export interface PublishedLines {
  /** How many messages. */
  published: number;
  /** The id of the last. */
  last: string;
}

export interface Encke extends EventTarget {
  readonly state: State;
  readonly transport: Transport;
  subscribe<T = any>(channels: string | readonly string[], options?: SubscribeOptions<T>): Subscription;
  messages<T = any>(channels: string | readonly string[], options?: SubscribeOptions<T>): AsyncGenerator<Message<T>, void, void>;
  /**
   * Text is published as text, bytes as bytes, anything else as JSON. If it is not known whether it arrived, it is sent
   * again, up to five times, with one key, so that it is there once.
   */
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<Published>;
  /**
   * Publishes each of these as a message as it comes, in order and once. What comes while a request is under way goes
   * together with the next. Text is published as text, anything else as JSON. Fails as `publish` does; what came before
   * may be published.
   */
  publishLines(
    channel: string, lines: Iterable<unknown> | AsyncIterable<unknown>, options?: Omit<PublishOptions, 'key'>,
  ): Promise<PublishedLines>;
  /** Ends all subscriptions, for good. From then on nothing is published. */
  close(): void;
  addEventListener(type: 'state', listener: (event: StateEvent) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(
    type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener(type: 'state', listener: (event: StateEvent) => void, options?: boolean | EventListenerOptions): void;
  removeEventListener(
    type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions,
  ): void;
}

/**
 * A client of the server at `url`; by default the one that this module came from, which is none for a package in Node:
 * this throws then. It connects when there is something to follow.
 */
export function connect(url?: string | URL, options?: Options): Encke;
