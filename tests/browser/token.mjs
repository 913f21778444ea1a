// Tokens for checks, signed with a secret of their own.

import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const encode = (text) => Buffer.from(text).toString('base64url');

/** The second since 1970 that is so many from now. */
export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

let directory = null;

/** The directory of all secrets, which is there until the process ends. */
function secrets() {
  if (!directory) {
    directory = mkdtempSync(join(tmpdir(), 'encke-secrets-'));
    process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  }
  return directory;
}

/** A secret in a file, and the tokens that it signs. */
export class Secret {
  constructor() {
    this.text = randomBytes(32).toString('base64');
    this.file = join(secrets(), randomBytes(6).toString('hex'));
    writeFileSync(this.file, `${this.text}\n`, { mode: 0o600 });
  }

  sign(claims) {
    const text = `${encode('{"alg":"HS256"}')}.${encode(JSON.stringify(claims))}`;
    return `${text}.${createHmac('sha256', this.text).update(text).digest('base64url')}`;
  }

  /** A token of a user for channels of its own, for so many seconds. */
  token(user, seconds = 600) {
    const encke = { subscribe: ['news', `user/${user}/**`], publish: ['chat/*'] };
    return this.sign({ sub: `user-${user}`, exp: inSeconds(seconds), encke });
  }
}
