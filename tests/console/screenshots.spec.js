// Pictures of every view, to be looked at: SCREENSHOTS=<folder> tests/console/run screenshots

import { join } from 'node:path';

import { test } from './fixtures.js';
import { tour } from './tour.js';

const folder = process.env.SCREENSHOTS;

const LOOKS = [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['phone', { viewport: { width: 390, height: 844 } }],
  ['wide', { viewport: { width: 1920, height: 1080 } }],
];

for (const [look, options] of LOOKS) {
  test.describe(look, () => {
    test.use(options);
    test('pictures of every view', async ({ page, user, receiver }) => {
      test.skip(!folder, 'no folder is given in SCREENSHOTS');
      test.setTimeout(240_000);
      await tour({ page, user, receiver }, async (view) => {
        await page.evaluate(() => document.fonts.ready);
        await page.screenshot({ path: join(folder, `${view}-${look}.png`), fullPage: true });
      });
    });
  });
}
