// Accessibility: every view is checked by axe-core in both color schemes and at every width, the main journey is made
// by keyboard alone, and the focus is checked after every change.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { add, expect, rows, signIn, test } from './fixtures.js';
import { CONSOLE_URL, sendAlert, toTheApi } from './stack.js';
import { tour } from './tour.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// What axe finds, and ids that are not unique: a label or a description would belong to another control.
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations', 'incomplete'] }));
  const told = ({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`;
  const ids = await page.evaluate(() => [...document.querySelectorAll('[id]')].map(({ id }) => id));
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  return [
    ...found.violations.map(told),
    ...found.incomplete.filter(({ id }) => id.startsWith('duplicate-id')).map(told),
    ...twice.map((id) => `the id ${id} stands twice`),
  ];
}

// Controls that are too small to touch.
const tooSmall = (page) =>
  page
    .locator('button:visible, a.button:visible, select:visible, summary:visible')
    .evaluateAll((controls) =>
      controls
        .filter((control) => Math.min(control.offsetHeight, control.offsetWidth) < 24)
        .map((control) => control.outerHTML),
    );

for (const [look, options] of [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['on a phone', { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }],
  ['on the smallest phone', { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true }],
  ['on a wide screen', { viewport: { width: 1920, height: 1080 } }],
]) {
  test.describe(look, () => {
    test.use(options);
    test('every view fits, is accessible, and can be touched', async ({ page, user, receiver }) => {
      test.setTimeout(240_000);
      await tour({ page, user, receiver }, async (view) => {
        const wider = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        expect.soft(wider, view).toBe(0);
        expect.soft(await violations(page), view).toEqual([]);
        expect.soft(await tooSmall(page), view).toEqual([]);
      });
    });
  });
}

test('the log is a table for screen readers on a phone, too', async ({ page, user, receiver }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await page.goto(CONSOLE_URL);
  await signIn(page, user);
  await add(page, { name: 'Table', url: receiver.url, secret: 'None' });
  await page.getByRole('button', { name: 'Test' }).click();
  await expect(rows(page)).toHaveCount(1);
  await expect(page.getByRole('table')).toMatchAriaSnapshot(`
    - table:
      - rowgroup:
        - row:
          - columnheader "Status"
          - columnheader "Event"
      - rowgroup:
        - row:
          - cell "Delivered"
  `);
});

test('the focus is never lost when what was pressed goes away', async ({ page, user, receiver }) => {
  await page.goto(CONSOLE_URL);
  await signIn(page, user);
  await add(page, { name: 'Focus', url: receiver.url });
  const press = async (button) => {
    await button.focus();
    await page.keyboard.press('Enter');
  };
  const button = (name) => page.getByRole('button', { name, exact: true });
  const heading = (name) => page.getByRole('heading', { name, exact: true });

  await press(button('I have copied it'));
  await expect(heading('Focus')).toBeFocused();

  await press(button('Test'));
  await expect(heading('Test')).toBeFocused();
  await press(button('Close'));
  await expect(heading('Focus')).toBeFocused();

  await press(button('Remove'));
  await press(page.getByRole('dialog').getByRole('button', { name: 'Remove' }));
  // The view that replaced it.
  await expect(button('Add a secret')).toBeFocused();

  await page.getByLabel('Status').selectOption('delivered');
  await press(button('Show all'));
  await expect(heading('Log')).toBeFocused();

  await press(button('Recover failed…'));
  await press(button('Count them'));
  await expect(heading('Recover failed deliveries')).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(button('Recover failed…')).toBeFocused();

  await page.route(toTheApi, (route) => route.abort());
  await page.getByRole('link', { name: 'Edit' }).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await page.unrouteAll();
  await press(button('Try again'));
  await expect(heading('Edit webhook')).toBeFocused();
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
  await sendAlert(user.organization, (event) => Object.assign(event, { event_type: 'alert.resolved' }));
  await expect(rows(page)).toHaveCount(2);
  await tabTo(page, 'alert.resolved');
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

// Presses Tab until the control of that name has the focus.
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
