'use strict';
// The lanes: the open requests of each technique, and its messages, over the last half minute.
//
// Owns the drawing. It reads the logs of the techniques, and removes entries that are older than the
// window.

const WINDOW_MS = 30_000;
// Margin at the newest edge, so that a dot that has just arrived is not cut off.
const EDGE = 6;

const published = [];

/** The recent requests and messages of one technique. */
class Lane {
  constructor(canvas, kind) {
    this.canvas = canvas;
    this.kind = kind;
    this.spans = [];
    this.dots = [];
  }

  open() {
    const span = { from: now(), headAt: null, to: null, failed: false };
    this.spans.push(span);
    return span;
  }

  dot() {
    this.dots.push(now());
  }

  forget(before) {
    while (this.spans.length && this.spans[0].to !== null && this.spans[0].to < before) this.spans.shift();
    while (this.dots.length && this.dots[0] < before) this.dots.shift();
  }

  draw(colors, at) {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const c = canvas.getContext('2d');
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, width, height);
    const x = (time) => (width - EDGE) * (1 - (at - time) / WINDOW_MS);
    const middle = height / 2;
    this.forget(at - WINDOW_MS - 1000);

    c.fillStyle = colors.rule;
    for (let s = 5; s < WINDOW_MS / 1000; s += 5) c.fillRect(Math.round(x(at - s * 1000)), 0, 1, height);
    c.fillStyle = colors.mark;
    for (const time of published) c.fillRect(x(time) - 0.5, 0, 1, height);

    for (const span of this.spans) {
      const from = Math.max(-4, x(span.from));
      const to = x(span.to === null ? at : span.to);
      c.fillStyle = span.failed ? colors.bad : colors[this.kind];
      // A thin line until the head arrives, then a thick one.
      const head = span.headAt === null ? to : Math.max(-4, x(span.headAt));
      c.globalAlpha = 0.75;
      c.fillRect(from, middle - 1, Math.max(1.5, head - from), 2);
      c.globalAlpha = 0.32;
      if (to > head) c.fillRect(head, middle - 4, Math.max(1.5, to - head), 8);
      c.globalAlpha = 0.75;
      c.fillRect(from - 0.5, middle - 6, 1, 12);
      c.globalAlpha = 1;
    }
    for (const time of this.dots) {
      c.beginPath();
      c.arc(x(time), middle, 4, 0, 2 * Math.PI);
      c.fillStyle = colors[this.kind];
      c.fill();
      c.lineWidth = 1.5;
      c.strokeStyle = colors.card;
      c.stroke();
    }
  }
}

function readColors() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  return Object.fromEntries(['poll', 'hybrid', 'stream', 'bad', 'rule', 'mark', 'card'].map((name) => [name, color(name)]));
}

/** Draws while the page is visible: smoothly, or once per second if the user prefers reduced motion. */
function drawForever(lanes) {
  let colors = readColors();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { colors = readColors(); });
  const calm = matchMedia('(prefers-reduced-motion: reduce)');
  let drawnAt = -Infinity;
  const turn = (at) => {
    if (at - drawnAt >= (calm.matches ? 1000 : 33)) {
      drawnAt = at;
      while (published.length && published[0] < at - WINDOW_MS) published.shift();
      for (const lane of lanes) lane.draw(colors, now());
    }
    requestAnimationFrame(turn);
  };
  requestAnimationFrame(turn);
}
