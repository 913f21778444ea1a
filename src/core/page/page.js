'use strict';
// The visible parts: the rows of the techniques, the table of messages, and the publish box.

const byId = (id) => document.getElementById(id);
// Marks the messages of this page. Their latency is known, because sender and receiver share a clock.
const PAGE = Math.random().toString(36).slice(2, 10);
const MAX_MESSAGES = 60;
const WORD_MS = 150;

const whole = (n) => n.toLocaleString('en');
const size = (n) => n < 10_000 ? whole(n) : n < 1e6 ? `${(n / 1e3).toFixed(1)} k` : `${(n / 1e6).toFixed(1)} M`;
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const clock = (date) => date.toLocaleTimeString('en-GB');
const sentAt = () => performance.timeOrigin + now();

/** The row of one technique: it counts the events of the technique and displays them. */
class Row {
  constructor(technique) {
    this.technique = technique;
    this.root = byId('technique').content.cloneNode(true).firstElementChild;
    this.root.id = `technique-${technique.id}`;
    this.root.dataset.kind = technique.kind;
    this.find('h3').textContent = technique.name;
    this.find('.how').textContent = technique.how;
    this.find('.lane').setAttribute('aria-label', `${technique.name}: requests and messages of the last half minute`);
    this.find('.toggle').addEventListener('click', () => this.isRunning ? this.stop() : this.start());
    this.lane = new Lane(this.find('.lane'), technique.kind);
    this.cut = null;
    this.clear();
    this.state('stopped', 'off');
  }

  find(selector) { return this.root.querySelector(selector); }
  get isRunning() { return this.cut !== null; }

  clear() {
    this.counts = { messages: 0, requests: 0, bytes: 0, reconnects: 0, gaps: 0 };
    this.isAbout = false;
    this.latencies = [];
    this.show();
    this.verdict('', false);
  }

  start() {
    if (this.isRunning) return;
    this.cut = new AbortController();
    const link = { channel: channel(), since: since(), signal: this.cut.signal, on: this.listener(this.cut.signal) };
    this.link = link;
    this.startedAt = now();
    this.state('asking', 'busy');
    this.technique.start(link);
    showToggles();
  }

  stop() {
    if (!this.isRunning) return;
    this.cut.abort();
    this.cut = null;
    this.state('stopped', 'off');
    showToggles();
  }

  /** The callbacks for the technique. They have no effect after the technique was stopped. */
  listener(signal) {
    const live = (tell) => (...args) => signal.aborted ? undefined : tell(...args);
    return {
      asked: () => this.asked(signal),
      bytes: live((n, isAbout) => { this.isAbout ||= Boolean(isAbout); this.count('bytes', n); }),
      message: live((object) => this.message(object)),
      alive: live((beatMs) => this.state(beatMs ? `open, heartbeat every ${shown(beatMs)}` : 'open', 'on')),
      gap: live(() => { this.count('gaps', 1); this.verdict('messages were lost: the server sent a gap', true); }),
      ended: live(() => { this.stop(); this.state('the channel has ended', 'off'); }),
      waits: live((ms, why) => this.state(this.waiting(ms, why), why ? 'bad' : 'on')),
      lost: live(() => this.count('reconnects', 1)),
      verdict: live((text, isBad) => this.verdict(text, isBad)),
    };
  }

  waiting(ms, why) {
    const when = ms === null ? '' : `again in ${shown(ms)}`;
    return why ? [why, when].filter(Boolean).join('; ') : when;
  }

  asked(signal) {
    const span = this.lane.open();
    this.count('requests', 1);
    const [text, kind] = { poll: ['asking', 'busy'], hybrid: ['waits for an event', 'on'], stream: ['opening', 'busy'] }[this.technique.kind];
    this.state(text, kind);
    const head = () => {
      span.headAt = now();
      if (!signal.aborted) this.state(this.technique.id === 'early' ? 'head is here, waits for an event' : this.technique.kind === 'stream' ? 'open' : 'answered', 'on');
    };
    const end = (failed) => { span.to ??= now(); span.failed ||= failed; };
    return { head, end };
  }

  count(name, n) {
    this.counts[name] += n;
    this.show();
  }

  message(object) {
    this.lane.dot();
    this.count('messages', 1);
    const latency = messages.take(object, this.technique.id);
    if (latency === null) return;
    this.latencies.push(latency);
    if (this.latencies.length > 100) this.latencies.shift();
    const hasOpen = this.technique.kind === 'stream' && now() - this.startedAt > 5000;
    if (hasOpen && latency > 1000 && plain.isLate(latency)) {
      this.verdict(`a message took ${shown(latency)} on an open stream: something on the way buffers`, true);
    }
    this.show();
  }

  show() {
    for (const [name, n] of Object.entries(this.counts)) {
      const about = name === 'bytes' && this.isAbout ? '≈ ' : '';
      this.find(`[data-of=${name}]`).textContent = about + (name === 'bytes' ? size(n) : whole(n));
    }
    for (const name of ['reconnects', 'gaps']) this.find(`[data-of=${name}]`).classList.toggle('bad', name === 'gaps' && this.counts.gaps > 0);
    this.find('[data-of=latency]').textContent = this.latencies.length ? shown(median(this.latencies)) : '–';
  }

  state(text, kind) {
    const pill = this.find('.pill');
    pill.textContent = text;
    pill.title = text;
    pill.dataset.kind = kind;
  }

  verdict(text, isBad) {
    const verdict = this.find('.verdict');
    verdict.textContent = text;
    verdict.classList.toggle('bad', isBad);
  }
}

/** The table: a line for each message, a column for each technique. */
const messages = {
  lines: new Map(),

  clear() {
    this.lines.clear();
    byId('messages').tBodies[0].replaceChildren();
    byId('empty').hidden = false;
  },

  /** Records that a technique received a message, and returns its latency if this page sent it. */
  take(object, technique) {
    const isOwn = object.data !== null && typeof object.data === 'object' && object.data.page === PAGE;
    const line = this.lines.get(object.id) || this.begin(object, isOwn);
    const ms = isOwn ? Math.max(0, sentAt() - object.data.sent) : now() - line.first;
    const cell = line.cells[technique];
    const times = Number(cell.dataset.times || 0) + 1;
    cell.dataset.times = times;
    cell.classList.toggle('bad', times > 1);
    cell.textContent = times > 1 ? `${times} times` : isOwn ? shown(ms) : ms === 0 ? 'first' : `+${shown(ms)}`;
    if (object.event) tellOfName(object.event);
    return isOwn && times === 1 ? ms : null;
  },

  begin(object, isOwn) {
    const row = document.createElement('tr');
    row.dataset.id = object.id;
    const what = document.createElement('th');
    what.scope = 'row';
    const data = isOwn ? object.data.text : object.data;
    const text = typeof data === 'string' ? data : JSON.stringify(data);
    const event = object.event ? `${object.event}: ` : '';
    const body = document.createElement('span');
    body.className = 'data';
    body.textContent = event + (text.length > 200 ? `${text.slice(0, 200)}…` : text);
    const about = document.createElement('span');
    about.className = 'about';
    about.textContent = `${clock(new Date())} ${object.channel} ${object.id}`;
    what.append(body, about);
    row.append(what);
    const cells = {};
    for (const { id, kind, short } of TECHNIQUES) {
      const cell = document.createElement('td');
      cell.dataset.of = id;
      cell.dataset.kind = kind;
      cell.dataset.label = short;
      cell.textContent = rows.get(id).isRunning ? '…' : '·';
      cells[id] = cell;
      row.append(cell);
    }
    const line = { row, cells, first: now() };
    this.lines.set(object.id, line);
    byId('messages').tBodies[0].prepend(row);
    byId('empty').hidden = true;
    if (this.lines.size > MAX_MESSAGES) {
      const [oldest, { row: last }] = this.lines.entries().next().value;
      this.lines.delete(oldest);
      last.remove();
    }
    return line;
  },
};

/** An EventSource receives events with a name only if a listener for the name is registered. */
function tellOfName(name) {
  const row = rows.get('sse');
  if (row.isRunning && row.link.hear?.(name)) {
    row.verdict(`now listens for “${name}”: an EventSource drops events whose name has no listener`, false);
  }
}

const channel = () => byId('channel').value.trim() || 'demo';
const since = () => byId('earliest').checked ? 'earliest' : 'now';
const rows = new Map(TECHNIQUES.map((technique) => [technique.id, new Row(technique)]));

function showToggles() {
  const running = [...rows.values()].filter((row) => row.isRunning).length;
  byId('toggle-all').textContent = running ? 'Stop all' : 'Start all';
  for (const row of rows.values()) {
    const button = row.find('.toggle');
    button.textContent = row.isRunning ? 'Stop' : 'Start';
    button.setAttribute('aria-label', `${button.textContent} ${row.technique.name}`);
  }
}

async function startAll() {
  byId('crowded').hidden = true;
  const crowded = setTimeout(() => tell('crowded', 'No response yet: the server does not respond, or another tab of this page uses all connections.'), 4000);
  try {
    await plain.measure(channel());
    byId('crowded').hidden = true;
  } catch (error) {
    if (error instanceof Refused && error.status < 500) {
      // Every technique would get the same refusal.
      tell('crowded', error.message);
      stopAll();
      return;
    }
  } finally {
    clearTimeout(crowded);
  }
  for (const row of rows.values()) row.start();
  choose();
}

function stopAll() {
  for (const row of rows.values()) row.stop();
}

function tell(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = false;
}

function restart() {
  stopAll();
  messages.clear();
  for (const row of rows.values()) row.clear();
  history.replaceState(null, '', `#${names(channel())}`);
  showCurl();
  startAll();
}

function showCurl() {
  const base = new URL('publish/', location.href.split('#')[0]).href;
  byId('curl').textContent = `curl -d hello ${base}${names(channel()).split(',')[0]}`;
}

/** Publishing. Whether it is allowed is found out by a harmless request to the control surface. */
const publishing = {
  key: null,

  headers() { return this.key ? { Authorization: `Bearer ${this.key}` } : {}; },

  async find() {
    try {
      const response = await fetch('channels?limit=1', { headers: this.headers() });
      this.show(response.status);
    } catch {
      this.show(0);
    }
  },

  show(status) {
    const isOpen = status !== 404 && status !== 401;
    byId('publish-line').hidden = byId('repeat-line').hidden = !isOpen;
    byId('key-line').hidden = status !== 401;
    if (!isOpen) byId('repeat').checked = false;
    const note = {
      401: this.key ? 'This is not the publish key.' : 'Publishing requires the publish key. This page keeps it in memory until it is closed.',
      404: 'This address does not serve publishing; a control address does. Messages of other publishers still arrive here.',
    }[status];
    byId('publish-note').hidden = !note;
    if (note) byId('publish-note').textContent = note;
  },

  async send(text) {
    const [name] = names(channel()).split(',');
    const headers = { ...this.headers(), 'Content-Type': 'application/json' };
    published.push(now());
    const body = JSON.stringify({ text, page: PAGE, sent: sentAt() });
    try {
      const response = await fetch(`publish/${name}`, { method: 'POST', headers, body });
      if (response.ok) return this.show(200);
      const refused = await Refused.from(response);
      this.show(response.status);
      if (response.status !== 401 && response.status !== 404) tell('publish-note', refused.message);
    } catch {
      tell('publish-note', 'The message could not be sent: no response.');
    }
  },

  /** Publishes the words of a text one by one, as a language model answers, and then the end of the channel. */
  async answer(text) {
    const words = async function* () {
      for (const word of text.match(/\S+\s*/g) || []) {
        published.push(now());
        yield { text: word, page: PAGE, sent: sentAt() };
        await new Promise((done) => setTimeout(done, WORD_MS));
      }
    };
    const client = encke.connect(undefined, { headers: () => this.headers() });
    const [name] = channel().split(',');
    await client.publishLines(name, words(), { end: true }).catch((error) => tell('publish-note', error.message));
    client.close();
  },

  submit() {
    if (!byId('key-line').hidden) {
      this.key = byId('key').value;
      byId('key').value = '';
      return this.find();
    }
    return this.send(byId('text').value);
  },
};

function begin() {
  byId('techniques').append(...[...rows.values()].map((row) => row.root));
  for (const { kind, short, name } of TECHNIQUES) {
    const head = document.createElement('th');
    head.scope = 'col';
    head.dataset.kind = kind;
    head.textContent = short;
    head.title = name;
    byId('messages').tHead.rows[0].append(head);
  }
  const named = decodeURIComponent(location.hash.slice(1));
  if (named) byId('channel').value = named;
  byId('channel-form').addEventListener('submit', (event) => { event.preventDefault(); restart(); });
  byId('channel').addEventListener('change', restart);
  byId('earliest').addEventListener('change', restart);
  byId('toggle-all').addEventListener('click', () => [...rows.values()].some((row) => row.isRunning) ? stopAll() : startAll());
  byId('publish-form').addEventListener('submit', (event) => { event.preventDefault(); publishing.submit(); });
  byId('answer').addEventListener('click', () => publishing.answer(byId('text').value));
  setInterval(() => { if (byId('repeat').checked) publishing.send(byId('text').value); }, 1000);
  showToggles();
  showCurl();
  publishing.find();
  startAll();
  drawForever([...rows.values()].map((row) => row.lane));
}

// By then the module is there too.
document.addEventListener('DOMContentLoaded', begin);
