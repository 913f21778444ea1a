// The commands of src/docs/rights.md, run in a shell in the order of the page, and what they print; and
// its file of settings.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { blocks } from './blocks.mjs';
import { Encke } from './servers.mjs';
import { Secret } from './token.mjs';
import { Skipped, until } from './until.mjs';

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

  'the file of settings of the page about rights does what its comments say': async () => {
    const secret = new Secret();
    const directory = await mkdtemp(join(tmpdir(), 'encke-commands-'));
    const file = join(directory, 'encke.toml');
    const code = (await blocks('rights')).find(({ language }) => language === 'toml').code;
    await writeFile(file, code.replace('"key"', JSON.stringify(secret.file)));
    const { stdout } = await run(process.env.ENCKE, ['check', '--config', file]);
    assert.match(stdout, /match = "jobs\/\*\*"/);
    const encke = await Encke.start('--config', file, '--control=127.0.0.1:0');
    try {
      const token = secret.sign({ exp: 2 ** 40, encke: { subscribe: ['**'], publish: ['**'] } });
      const status = async (path, options) => (await fetch(path, options)).status;
      const publish = { method: 'POST', body: 'hi', headers: { Authorization: `Bearer ${token}` } };
      assert.equal(await status(`${encke.url}poll/news/a`), 200);
      assert.equal(await status(`${encke.url}publish/news/a`, publish), 403);
      assert.equal(await status(`${encke.url}poll/jobs/a?token=${token}`), 403);
      assert.equal(await status(`${encke.url}publish/jobs/a`, publish), 200);
      assert.equal(await status(`${encke.controlUrl}poll/jobs/a`), 200);
      assert.equal(await status(`${encke.url}poll/other`), 401);
      assert.equal(await status(`${encke.url}poll/other?token=${token}`), 200);
    } finally {
      await encke.end();
      await rm(directory, { recursive: true });
    }
  },

  'keys are changed as the page about rights says: only connections of the old key end': async () => {
    const [old, next] = [new Secret(), new Secret()];
    const directory = await mkdtemp(join(tmpdir(), 'encke-commands-'));
    const file = join(directory, 'encke.toml');
    const write = (...secrets) => writeFile(file, `token-key-file = ${JSON.stringify(secrets.map((secret) => secret.file))}\n`);
    await write(old);
    const encke = await Encke.start('--config', file, '--control=127.0.0.1:0');
    const text = async (path) => (await fetch(path)).text();
    const reload = async (count) => {
      encke.process.kill('SIGHUP');
      await until('a reload', async () => new RegExp(`reloads_total{result="done"} ${count}$`, 'm').test(await text(`${encke.controlUrl}metrics`)));
    };
    const stream = (secret) => text(`${encke.url}ndjson/user/42/a?token=${secret.token(42)}`);
    const readers = async (count) => until(`${count} readers`, async () => ((await encke.subscribers('user/42/a')).ndjson ?? 0) === count);
    try {
      const ofOld = stream(old);
      await readers(1);
      await write(old, next);
      await reload(1);
      const ofNext = stream(next);
      await readers(2);
      await write(next);
      await reload(2);
      assert.match((await ofOld).trim().split('\n').at(-1), /^{"cursor":"[^"]+","retry":0,"expired":true}$/);
      await readers(1);
      assert.match(await text(`${encke.url}poll/user/42/a?token=${old.token(42)}`), /signature/);
      assert.match(await text(`${encke.controlUrl}metrics`), /^encke_rights_ended_total 1$/m);
      ofNext.catch(() => {});
    } finally {
      await encke.end();
      await rm(directory, { recursive: true });
    }
  },
};
