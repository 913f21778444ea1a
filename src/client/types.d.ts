// The types that the client's own modules share.

export type { Message, Options, PublishOptions, Published, SubscribeOptions } from './encke.js';

/** Only whether it is truthy counts. It is not, until it is set. */
export type Flag = unknown;

/** One thing said in a stream, as in NDJSON; or a batch of them. */
export interface StreamObject {
  id?: string;
  channel?: string;
  data?: unknown;
  encoding?: string;
  event?: string;
  cursor?: string;
  gap?: boolean;
  /** All channels have ended. */
  end?: boolean;
  /** These have, of several. */
  ended?: string[];
  expired?: boolean;
  retry?: number;
  heartbeat?: number;
  batch?: Batch;
  [own: string]: unknown;
}

/** The answer to a poll. */
export interface Batch {
  cursor: string;
  messages: StreamObject[];
  more?: boolean;
  gap?: boolean;
  end?: boolean;
  ended?: string[];
  retry?: number;
  spread?: number;
}
