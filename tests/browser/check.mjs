// Runs the checks, one after the other, each with servers and pages of its own.
//
// node check.mjs [words of a check's name]

import { answers } from './answers.mjs';
import { balanced } from './balanced.mjs';
import { Browser } from './chrome.mjs';
import { client } from './client.mjs';
import { commands } from './commands.mjs';
import { documented } from './documented.mjs';
import { dropin } from './dropin.mjs';
import { libraries } from './libraries.mjs';
import { mint } from './mint.mjs';
import { nodes } from './nodes.mjs';
import { livePage } from './page.mjs';
import { polyfill } from './polyfill.mjs';
import { rights } from './rights.mjs';
import { tabs } from './tabs.mjs';
import { transports } from './transports.mjs';
import { Skipped, within } from './until.mjs';

/** What takes longer hangs. In seconds; the slowest check takes about 60. */
const LONGEST = 600;

const words = process.argv.slice(2).join(' ');
const all = { ...documented, ...commands, ...mint, ...libraries, ...client, ...nodes, ...answers, ...tabs, ...balanced, ...dropin, ...polyfill, ...transports, ...rights, ...livePage };
const checks = Object.entries(all).filter(([name]) => name.includes(words));
const browser = await Browser.start();
let failed = 0;
let skipped = 0;
for (const [name, check] of checks) {
  try {
    await within(LONGEST, check(browser));
    console.log(`ok      ${name}`);
  } catch (error) {
    if (error instanceof Skipped) {
      skipped += 1;
      console.log(`skipped ${name}: ${error.message}`);
    } else {
      failed += 1;
      console.log(`FAILED  ${name}\n${error.stack}`);
    }
  }
}
await browser.close();
console.log(`${checks.length - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
// What a failed check left open would keep the process.
process.exit(failed > 0 || checks.length === 0 ? 1 : 0);
