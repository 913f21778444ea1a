// Tokens of the libraries that applications use, of every algorithm: accepted where they are good, and
// refused for the right reason where they are not.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needPython } from './documented.mjs';
import { packages } from './packages.mjs';
import { Encke } from './servers.mjs';
import { inSeconds } from './token.mjs';

const PEM = { publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } };

/** Keys by algorithm: what signs, and what is in the file for encke. */
function newKeys() {
  const pair = (...kind) => {
    const { publicKey, privateKey } = generateKeyPairSync(...kind);
    return { signs: privateKey, file: publicKey };
  };
  const secret = randomBytes(48).toString('base64');
  const rsa = pair('rsa', { modulusLength: 2048, ...PEM });
  return {
    HS256: { signs: secret, file: secret },
    EdDSA: pair('ed25519', PEM),
    ES256: pair('ec', { namedCurve: 'P-256', ...PEM }),
    RS256: rsa,
    PS256: rsa,
  };
}

/** The key as a member of a JWKS. */
function jwk(algorithm, { file }, kid) {
  const members = algorithm === 'HS256'
    ? { kty: 'oct', k: Buffer.from(file).toString('base64url') }
    : createPublicKey(file).export({ format: 'jwk' });
  return { ...members, kid, alg: algorithm, use: 'sig' };
}

/**
 * The libraries: each signs `{ algorithm, key, claims, headers }`, and cannot do the algorithms of
 * `lacks`.
 */
const LIBRARIES = {
  jose: {
    lacks: ['none'],
    signer: async () => {
      const { SignJWT } = createRequire(join(await packages(), 'x.js'))('jose');
      return ({ algorithm, key, claims, headers }) => {
        const isSecret = algorithm === 'HS256';
        return new SignJWT(claims).setProtectedHeader({ alg: algorithm, ...headers })
          .sign(isSecret ? new TextEncoder().encode(key) : createPrivateKey(key));
      };
    },
  },
  jsonwebtoken: {
    lacks: ['EdDSA'],
    signer: async () => {
      const { sign } = createRequire(join(await packages(), 'x.js'))('jsonwebtoken');
      return ({ algorithm, key, claims, headers }) => sign(claims, algorithm === 'none' ? '' : key, {
        algorithm, header: { alg: algorithm, ...headers }, allowInsecureKeySizes: true, allowInvalidAsymmetricKeyTypes: true,
      });
    },
  },
  PyJWT: {
    lacks: [],
    signer: async () => {
      await needPython('jwt', 'cryptography');
      return async (wanted) => {
        const script = new URL('sign.py', import.meta.url).pathname;
        const child = spawn('python3', [script], { stdio: ['pipe', 'pipe', 'inherit'] });
        child.stdin.end(JSON.stringify(wanted));
        return (await child.stdout.toArray()).join('').trim();
      };
    },
  },
};

const GRANTS = { subscribe: ['news'], publish: [] };
const claims = (changes = {}) => ({ sub: 'user-42', exp: inSeconds(600), encke: GRANTS, ...changes });

/** The status of a poll with a token, and the reason given in `WWW-Authenticate`. */
async function judged(encke, token) {
  const answer = await fetch(`${encke.url}poll/news`, { headers: { Authorization: `Bearer ${token}` } });
  const reason = /error_description="([^"]*)"/.exec(answer.headers.get('WWW-Authenticate') ?? '')?.[1];
  return [answer.status, reason];
}

/** encke with these keys, each in a file of its own or all in one JWKS. */
async function withKeys(keys, isJwks, check) {
  const directory = await mkdtemp(join(tmpdir(), 'encke-keys-'));
  const files = isJwks
    ? { jwks: JSON.stringify({ keys: Object.entries(keys).map(([name, key]) => jwk(name, key, `kid-${name}`)) }) }
    : Object.fromEntries(Object.entries(keys).filter(([name]) => name !== 'PS256').map(([name, { file }]) => [name, file]));
  const options = [];
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(directory, name), content);
    options.push(`--token-key-file=${join(directory, name)}`);
  }
  const encke = await Encke.start(...options);
  try {
    await check(encke);
  } finally {
    await encke.end();
    await rm(directory, { recursive: true });
  }
}

/** The algorithms of encke that a library can do. */
const algorithms = (keys, { lacks }) => Object.keys(keys).filter((name) => !lacks.includes(name));

function checksOf([name, library]) {
  return [
    [`tokens of ${name} are accepted, with every algorithm that it has`, async () => {
      const sign = await library.signer();
      const keys = newKeys();
      await withKeys(keys, false, async (encke) => {
        for (const algorithm of algorithms(keys, library)) {
          const token = await sign({ algorithm, key: keys[algorithm].signs, claims: claims({ nbf: inSeconds(-60), iat: inSeconds(0), jti: 'x' }) });
          assert.deepEqual(await judged(encke, token), [200, undefined], algorithm);
        }
      });
    }],

    [`tokens of ${name} are accepted by the key of their kid in a JWKS`, async () => {
      const sign = await library.signer();
      const keys = newKeys();
      await withKeys(keys, true, async (encke) => {
        for (const algorithm of algorithms(keys, library)) {
          const signed = (kid) => sign({ algorithm, key: keys[algorithm].signs, claims: claims(), headers: { kid } });
          assert.deepEqual(await judged(encke, await signed(`kid-${algorithm}`)), [200, undefined], algorithm);
          const [status, reason] = await judged(encke, await signed('../../etc/passwd'));
          assert.equal(status, 401);
          assert.match(reason, /^key/, algorithm);
        }
      });
    }],

    [`tokens of ${name} are refused with the reason`, async () => {
      const sign = await library.signer();
      const [keys, others] = [newKeys(), newKeys()];
      await withKeys(keys, false, async (encke) => {
        const expectRefusal = async (wanted, reason) => {
          const [status, given] = await judged(encke, await sign(wanted));
          assert.equal(status, 401, JSON.stringify(wanted));
          assert.match(given, reason, JSON.stringify(wanted));
        };
        for (const algorithm of algorithms(keys, library)) {
          const key = keys[algorithm].signs;
          await expectRefusal({ algorithm, key: others[algorithm].signs, claims: claims() }, /^signature/);
          await expectRefusal({ algorithm, key, claims: claims({ exp: inSeconds(-40) }) }, /^expired 4\d s ago/);
          await expectRefusal({ algorithm, key, claims: claims({ nbf: inSeconds(60) }) }, /^not valid yet/);
          await expectRefusal({ algorithm, key, claims: { sub: 'a', encke: GRANTS } }, /^claim/);
          await expectRefusal({ algorithm, key, claims: claims({ encke: { subscribe: ['a*'] } }) }, /^claim/);
        }
        // As Python's `time.time() + 600` would be.
        const fraction = { algorithm: 'HS256', key: keys.HS256.signs, claims: claims({ exp: inSeconds(600) + 0.5 }) };
        assert.equal((await judged(encke, await sign(fraction)))[0], 200);
        if (!library.lacks.includes('none')) await expectRefusal({ algorithm: 'none', key: '', claims: claims() }, /^(key|malformed)/);
        if (name !== 'jose') await expectRefusal({ algorithm: 'HS512', key: keys.HS256.signs, claims: claims() }, /^(key|malformed)/);
      });
    }],
  ];
}

export const libraries = {
  ...Object.fromEntries(Object.entries(LIBRARIES).flatMap(checksOf)),

  // The library in JavaScript that signs with whatever it is given.
  'a public key is no secret: tokens that are signed with its text are refused': async () => {
    const sign = await LIBRARIES.jose.signer();
    const keys = newKeys();
    for (const isJwks of [false, true]) {
      await withKeys(keys, isJwks, async (encke) => {
        for (const algorithm of ['EdDSA', 'ES256', 'RS256']) {
          const kid = isJwks ? { kid: `kid-${algorithm}` } : {};
          for (const key of [keys[algorithm].file, keys[algorithm].file.trim()]) {
            const [status, reason] = await judged(encke, await sign({ algorithm: 'HS256', key, claims: claims(), headers: kid }));
            assert.equal(status, 401, algorithm);
            assert.match(reason, /^(key|signature)/, algorithm);
          }
        }
      });
    }
  },
};
