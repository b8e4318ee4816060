// For everyone: every view by axe-core in both color schemes and on a phone, and the main journey by keyboard alone.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { expect, rows, signIn, test } from './scene.js';
import { CONSOLE_URL } from './stack.js';
import { tour } from './tour.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`);
}

for (const colorScheme of ['light', 'dark']) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });
    test('every view is accessible', async ({ page, user, receiver }) => {
      test.setTimeout(180_000);
      await tour({ page, user, receiver }, async (view) => {
        expect.soft(await violations(page), view).toEqual([]);
      });
    });
  });
}

test.describe('on a phone', () => {
  test.use({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  test('every view fits, is accessible, and can be touched', async ({ page, user, receiver }) => {
    test.setTimeout(180_000);
    await tour({ page, user, receiver }, async (view) => {
      const wider = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect.soft(wider, view).toBe(0);
      expect.soft(await violations(page), view).toEqual([]);
      const small = await page
        .locator('button:visible, a.button:visible, select:visible')
        .evaluateAll((controls) =>
          controls.filter((control) => control.getBoundingClientRect().height < 20).map((control) => control.outerHTML),
        );
      expect.soft(small, view).toEqual([]);
    });
  });
});

test('by keyboard alone: add, test, look into the log, redeliver', async ({ page, user, receiver }) => {
  await page.goto(CONSOLE_URL);
  await signIn(page, user);
  await tabTo(page, 'Add');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Name');
  await page.keyboard.type('By keyboard');
  await tabTo(page, 'Webhook URL');
  await page.keyboard.type(receiver.url);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: 'By keyboard' })).toBeVisible();
  await tabTo(page, 'Test');
  await page.keyboard.press('Space');
  await expect(page.getByRole('heading', { name: 'Test' })).toBeFocused();
  await expect(rows(page)).toHaveCount(1);
  await tabTo(page, 'alert.triggered');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: 'Delivery' })).toBeVisible();
  await tabTo(page, 'Redeliver');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'Attempt 2' })).toBeVisible();
  await tabTo(page, 'By keyboard', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Delete');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await expect(page.getByRole('button', { name: 'Delete' })).toBeFocused();
});

// Goes on from control to control until the one of that name has the focus, as somebody without a mouse does.
async function tabTo(page, name, key = 'Tab') {
  const there = page
    .getByLabel(name, { exact: true })
    .or(page.getByRole('link', { name, exact: true }))
    .or(page.getByRole('button', { name, exact: true }));
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press(key);
    const reached = await there.evaluateAll((found) => found.some((element) => element === document.activeElement));
    if (reached) return;
  }
  throw new Error(`${name} cannot be reached by keyboard`);
}
