// Packages from npm that checks use as they are: a polyfill, and libraries for tokens.
//
// Owns how they are brought in: the versions and checksums of npm/package-lock.json, unpacked into a
// temporary directory. The lock file has no download addresses, so that whatever registry this machine
// uses serves them; npm refuses an archive that does not have the checksum. Where npm or its registry
// cannot be reached, the checks say so and are skipped.

import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { copyFile, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Skipped } from './until.mjs';

const OPTIONS = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=1', '--fetch-timeout=20000'];

let installed = null;

/** The directory in which node finds the packages: installed at its first use, for all checks. */
export function packages() {
  installed ??= install();
  return installed;
}

async function install() {
  const directory = await mkdtemp(join(tmpdir(), 'encke-npm-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  for (const file of ['package.json', 'package-lock.json']) {
    await copyFile(new URL(`npm/${file}`, import.meta.url), join(directory, file));
  }
  await promisify(execFile)('npm', OPTIONS, { cwd: directory, timeout: 120_000 }).catch((error) => {
    const text = `${error.code} ${error.stderr ?? ''}`;
    if (/EINTEGRITY/.test(text)) throw error;
    throw new Skipped(`npm cannot install packages: ${text.trim().split('\n')[0]}`);
  });
  return directory;
}
