// The code that the pages for users print.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

/** All blocks of a page in src/docs, in order: `{ language, code }`. */
export async function blocks(page) {
  const text = await readFile(new URL(`../../src/docs/${page}.md`, import.meta.url), 'utf8');
  return [...text.matchAll(/```([a-z,]*)\n(.*?)```/gs)].map(([, language, code]) => ({ language, code }));
}

/** The only block of a page in this language that contains these words. */
export async function block(page, language, words) {
  const found = (await blocks(page)).filter((one) => one.language === language && one.code.includes(words));
  assert.equal(found.length, 1, `${page}.md is to have one block of ${language} with ${words}`);
  return found[0].code;
}

/**
 * A function of a page in JavaScript, by its name. `surroundings` are what it sees in place of what
 * is global.
 */
export async function documentedFunction(page, name, surroundings = {}) {
  const code = await block(page, 'js', `function ${name}(`);
  return new Function(...Object.keys(surroundings), `${code}; return ${name};`)(...Object.values(surroundings));
}
