// Makes of src/client what is served and what is published: src/core/client/encke.min.js, and dist.
//
//   node build.mjs            writes both
//   node build.mjs --check    fails if what is served is not what the sources make, or is too large
//
// esbuild bundles, and terser makes 5 % less of it than esbuild would.
//
// Names that stay inside the client are shortened: those that begin with an underscore, and the parts of its modules
// that talk only to each other.

import { build } from 'esbuild';
import { minify } from 'terser';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

const source = new URL('../../src/client/', import.meta.url);
const served = new URL('../../src/core/client/encke.min.js', import.meta.url);
const dist = new URL('dist/', import.meta.url);
const INNER = [
  '_.*', 'receive', 'socket', 'heard', 'take', 'batch', 'expire', 'subject', 'plan', 'refused', 'restMs', 'change', 'wake', 'relay',
  'abandon', 'sweep', 'own', 'told', 'ask', 'role', 'base', 'say', 'enter', 'stop', 'used', 'tell', 'changed', 'isFinal', 'leastMs', 'members',
];
/** Most bytes, compressed by gzip -9. */
const LIMITS = { encke: 6_144, eventsource: 7_168, react: 700 };

async function bundle(name, external) {
  const { outputFiles: [{ text }] } = await build({
    entryPoints: [new URL(`${name}.js`, source).pathname],
    bundle: true,
    format: 'esm',
    minifySyntax: true,
    target: 'es2022',
    mangleProps: new RegExp(`^(${INNER.join('|')})$`),
    external,
    write: false,
  });
  const options = { module: true, ecma: 2020 };
  const { code } = await minify(text, {
    ...options,
    // These make the least of it by gzip, though not without it.
    compress: {
      passes: 4, unsafe: true, unsafe_arrows: true, unsafe_comps: true, unsafe_methods: true, hoist_funs: true,
      pure_getters: true, reduce_funcs: false, sequences: false,
    },
    mangle: false,
  });
  // Names are chosen by the letters of what is left.
  const { code: named } = await minify(code, { ...options, compress: false, mangle: true });
  return `${named}\n`;
}

const whole = await bundle('encke', []);
const parts = {
  encke: whole,
  eventsource: await bundle('eventsource', []),
  react: await bundle('react', ['react']),
};
for (const [name, text] of Object.entries(parts)) {
  const bytes = gzipSync(text, { level: 9 }).length;
  console.log(`${name}: ${bytes} bytes of at most ${LIMITS[name]}`);
  if (bytes > LIMITS[name]) throw new Error(`${name} is too large`);
}
if (process.argv.includes('--check')) {
  if (await readFile(served, 'utf8') !== whole) throw new Error('run tools/npm/build.mjs: what is served is of other sources');
} else {
  await writeFile(served, whole);
  await mkdir(dist, { recursive: true });
  await writeFile(new URL('encke.js', dist), whole);
  await writeFile(new URL('eventsource.js', dist), (await bundle('eventsource', ['./encke.js'])));
  await writeFile(new URL('react.js', dist), parts.react);
  for (const name of ['encke', 'eventsource', 'react']) {
    await copyFile(new URL(`${name}.d.ts`, source), new URL(`${name}.d.ts`, dist));
  }
}
