// The page's libraries are the pinned ones, unchanged but for two lines that have to be removed.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from '@playwright/test';

const VENDORED = join(import.meta.dirname, '../../functions/api/console/vendor');
const PACKAGES = join(import.meta.dirname, 'node_modules');

const FILES = [
  ['preact.js', 'preact/dist/preact.mjs'],
  ['hooks.js', 'preact/hooks/dist/hooks.mjs'],
  ['htm.js', 'htm/dist/htm.mjs'],
];

for (const [vendored, published] of FILES) {
  test(`${vendored} is the published one`, () => {
    const text = readFileSync(join(PACKAGES, published), 'utf8')
      .replace('from"preact"', 'from"./preact.js"')
      .replace(/^\/\/# sourceMappingURL=.*\n?/m, '');
    expect(readFileSync(join(VENDORED, vendored), 'utf8').trimEnd()).toBe(text.trimEnd());
  });
}
