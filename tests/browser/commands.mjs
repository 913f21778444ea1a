// The commands of src/docs/rights.md, run in a shell in the order of the page, and what they print.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { blocks } from './blocks.mjs';
import { Encke } from './servers.mjs';
import { Skipped } from './until.mjs';

const run = promisify(execFile);

/** Text without what differs from run to run: ids. */
const unmarked = (text) => text.replace(/[0-9a-z]{6,8}-(\d+)/g, 'ID-$1').trim();

export const commands = {
  'the commands of the page about rights print what it says': async () => {
    for (const program of ['curl', 'openssl']) {
      await run(program, ['--version']).catch(() => run(program, ['version'])).catch(() => { throw new Skipped(`${program} is missing`); });
    }
    const directory = await mkdtemp(join(tmpdir(), 'encke-commands-'));
    await symlink(process.env.ENCKE, join(directory, 'encke'));
    const env = { ...process.env, PATH: `${directory}:${process.env.PATH}` };
    const all = await blocks('rights');
    let encke = null;
    let setUp = '';
    let tried = 0;
    try {
      for (const [place, { language, code }] of all.entries()) {
        if (language !== 'sh') continue;
        const lines = code.split('\n');
        const start = lines.findIndex((line) => line.startsWith('encke --'));
        const shell = async (text) => (await run('bash', ['-euc', setUp + text], { cwd: directory, env })).stdout;
        if (start >= 0) {
          // What comes before it makes its key; the server gets ports of its own.
          await shell(lines.slice(0, start).join('\n'));
          const options = lines[start].split(' ').slice(1).map((word) => word.replace('7712', '0').replace(/^key$/, join(directory, 'key')));
          encke = await Encke.start(...options);
          continue;
        }
        const text = code.replaceAll('127.0.0.1:7711', encke.address)
          .replaceAll('http://127.0.0.1:7712/', encke.controlUrl)
          .replaceAll('curl ', 'curl -sS -w "\\n" ');
        const printed = (await shell(text)).replace(/\n+/g, '\n');
        if (text.startsWith('token=')) setUp = `${text.split('\n')[0]}\n`;
        const next = all[place + 1];
        if (next?.language === 'json') {
          assert.equal(unmarked(printed), unmarked(next.code), code);
          tried += 1;
        }
      }
      assert.ok(tried >= 4, `${tried} answers compared`);
    } finally {
      await encke?.end();
      await rm(directory, { recursive: true });
    }
  },
};
