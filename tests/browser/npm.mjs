// Packages from npm, for checks that need them.
//
// Owns how they are brought in: those of a lock file, with its checksums, unpacked into a temporary directory. Where npm
// or its registry cannot be reached, the check says so and is skipped.

import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Skipped } from './until.mjs';

const run = promisify(execFile);

/** Runs `check` with the path of the modules that the lock file in a directory beside this file names. */
export async function withPackages(name, check, minutes = 2) {
  const directory = await mkdtemp(join(tmpdir(), 'encke-npm-'));
  try {
    await cp(new URL(`${name}/`, import.meta.url), directory, { recursive: true });
    const options = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=1', '--fetch-timeout=60000'];
    await run('npm', options, { cwd: directory, timeout: minutes * 60_000 }).catch((error) => {
      const text = `${error.code} ${error.stderr ?? ''}`;
      if (/EINTEGRITY/.test(text)) throw error;
      throw new Skipped(`npm cannot install what ${name}/package.json names: ${text.trim().split('\n')[0]}`);
    });
    await check(join(directory, 'node_modules'));
  } finally {
    await rm(directory, { recursive: true });
  }
}
