// The functions of src/docs/rights.md that make tokens, each run in its language, and its token shown
// to encke. Where a language is missing its check is skipped.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { block } from './blocks.mjs';
import { needPython } from './documented.mjs';
import { Encke } from './servers.mjs';
import { Secret } from './token.mjs';
import { Skipped } from './until.mjs';

const run = promisify(execFile);
const TARGET = new URL('../../target/mint', import.meta.url).pathname;

const CARGO = `
[package]
name = "mint"
version = "0.0.0"
edition = "2024"

[dependencies]
jsonwebtoken = { version = "12", default-features = false, features = ["rust_crypto"] }
serde_json = "1"

[profile.dev]
debug = 0

[workspace]
`;

/**
 * By language of the block: the files of a program that prints the token of user 42, and its command.
 * `prepare` is a command that fails where the program cannot be run for want of something.
 */
const PROGRAMS = {
  js: {
    files: (code) => ({ 'mint.mjs': `${code}\nprocess.stdout.write(mint(42));\n` }),
    command: [process.execPath, 'mint.mjs'],
  },
  python: {
    files: (code) => ({ 'mint.py': `${code}\nprint(mint(42), end="")\n` }),
    command: ['python3', 'mint.py'],
  },
  php: {
    files: (code) => ({ 'mint.php': `<?php\n${code}\necho mint(42);\n` }),
    prepare: ['php', '--version'],
    command: ['php', 'mint.php'],
  },
  ruby: {
    files: (code) => ({ 'mint.rb': `${code}\nprint mint(42)\n` }),
    prepare: ['ruby', '--version'],
    command: ['ruby', 'mint.rb'],
  },
  go: {
    files: (code) => ({ 'mint.go': `package main\n\n${code}\nfunc main() { os.Stdout.WriteString(mint(42)) }\n` }),
    prepare: ['go', 'version'],
    command: ['go', 'run', 'mint.go'],
  },
  'rust,ignore': {
    files: (code) => ({
      'Cargo.toml': CARGO,
      'src/main.rs': `${code}\nfn main() { print!("{}", mint(42, include_str!("../key")).expect("a token")); }\n`,
    }),
    prepare: ['cargo', 'fetch', '--quiet'],
    command: ['cargo', 'run', '--quiet', '--offline'],
  },
};

/** What the function of the page in this language returns for user 42, with this key. */
async function minted(language, secret) {
  const { files, prepare, command } = PROGRAMS[language];
  const directory = await mkdtemp(join(tmpdir(), 'encke-mint-'));
  try {
    const all = { key: `${secret.text}\n`, ...files(await block('rights', language, ' mint(')) };
    for (const [name, content] of Object.entries(all)) {
      await mkdir(dirname(join(directory, name)), { recursive: true });
      await writeFile(join(directory, name), content);
    }
    // What Go and Cargo have built stays, so that it is not built for each run.
    const env = { ...process.env, CARGO_TARGET_DIR: TARGET, GOCACHE: join(TARGET, 'go'), GO111MODULE: 'off' };
    const options = { cwd: directory, env, timeout: 300_000 };
    if (prepare) {
      await run(prepare[0], prepare.slice(1), options).catch((error) => {
        throw new Skipped(`${prepare.join(' ')}: ${(error.stderr || error.message).trim().split('\n')[0]}`);
      });
    }
    return (await run(command[0], command.slice(1), options)).stdout;
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** That a token of the page's grants does what the page says, and no more. */
async function expectGrants(encke, token) {
  const status = async (path, options) => (await fetch(`${encke.url}${path}`, options)).status;
  const headers = { Authorization: `Bearer ${token}` };
  for (const [path, expected] of [
    ['poll/news', 200],
    ['poll/user/42/mail', 200],
    ['poll/user/42', 403],
    ['poll/user/43/mail', 403],
    ['poll/news,user/42/mail', 200],
    ['poll/news,user/43/mail', 403],
  ]) {
    assert.equal(await status(path, { headers }), expected, path);
    assert.equal(await status(`${path}?token=${token}`), expected, path);
  }
  const publish = { method: 'POST', body: 'hi', headers };
  assert.equal(await status('publish/chat/7', publish), 200);
  assert.equal(await status('publish/news', publish), 403);
}

const NAMES = { js: 'JavaScript', python: 'Python', php: 'PHP', ruby: 'Ruby', go: 'Go', 'rust,ignore': 'Rust' };

export const mint = Object.fromEntries(Object.entries(NAMES).map(([language, name]) => [
  `the function in ${name} makes a token that grants what the page says`,
  async () => {
    if (language === 'python') await needPython('jwt');
    const secret = new Secret();
    const token = await minted(language, secret);
    const encke = await Encke.start(`--token-key-file=${secret.file}`, '--control=127.0.0.1:0');
    try {
      await expectGrants(encke, token);
      const counted = await fetch(`${encke.controlUrl}connections?sub=user-42`);
      assert.deepEqual(await counted.json(), { connections: 0 });
    } finally {
      await encke.end();
    }
  },
]));
