import type { Options } from './encke.js';

/**
 * An EventSource to drop in. `url` is that of an event stream, as `/sse/news`. It has the events `gap` and `end` beside
 * those of the browser's own, and is closed by a refusal.
 */
export class EventSource extends EventTarget {
  constructor(url: string | URL, options?: Options & { withCredentials?: boolean });
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;
  readonly url: string;
  readonly withCredentials: boolean;
  readonly readyState: 0 | 1 | 2;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent<string>) => void) | null;
  onerror: ((event: Event) => void) | null;
  close(): void;
}
