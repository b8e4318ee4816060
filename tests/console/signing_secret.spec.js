// Rotating, adding and removing the signing secret; and the examples that are shown for it.

import { createHmac } from 'node:crypto';

import { examples } from '../../functions/api/console/verification.js';
import { add, expect, test } from './scene.js';
import { sendAlert } from './stack.js';

const signed = (secret, body) => `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;

test('rotates with an overlap in which both secrets sign', async ({ signedIn: page, user, receiver }) => {
  await add(page, { name: 'Rotated', url: receiver.url });
  const old = await page.locator('.secret').textContent();
  await page.getByRole('button', { name: 'Rotate' }).click();
  const dialog = page.getByRole('dialog', { name: 'Rotate the signing secret' });
  await dialog.getByLabel('Overlap').selectOption('1 hour');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog).toHaveCount(0);
  await expect(page.locator('.secret')).not.toHaveText(old);
  const fresh = await page.locator('.secret').textContent();
  await expect(page.locator('.overlap')).toContainText(/The previous secret signs too, until .* \(in (1 h|59 min)/);
  await sendAlert(user.organization);
  await expect.poll(() => receiver.received.length).toBe(1);
  const [{ headers, body }] = receiver.received;
  expect(headers['x-roboticks-signature']).toBe(signed(fresh, body));
  expect(headers['x-roboticks-signature-previous']).toBe(signed(old, body));
});

test('takes a secret of the customer, and tells what is wrong with it', async ({ integration, page, receiver }) => {
  await page.getByRole('button', { name: 'Rotate' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('radio', { name: 'Use my own' }).check();
  await dialog.getByLabel('Your signing secret').fill('short');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog.getByLabel('Your signing secret')).toHaveAccessibleDescription(/8 to 256 bytes/);
  await dialog.getByLabel('Your signing secret').fill('a secret of mine');
  await dialog.getByLabel('Overlap').selectOption('0');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog).toHaveCount(0);
  await expect(page.getByText('••••mine')).toBeVisible();
  await expect(page.locator('.overlap')).toHaveCount(0);
  await page.getByRole('button', { name: 'Test' }).click();
  await expect.poll(() => receiver.received.length).toBe(1);
  expect(receiver.received[0].headers['x-roboticks-signature']).toBe(
    signed('a secret of mine', receiver.received[0].body),
  );
});

test('is removed after a question, and added again', async ({ integration, page }) => {
  await page.getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await expect(page.getByText('None: requests are not signed')).toBeVisible();
  await page.getByRole('button', { name: 'Add a secret' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Add' }).click();
  await expect(page.locator('.secret')).toHaveText(/^whsec_/);
});

test('the examples are shown for this method and path, and can be copied', async ({ signedIn: page, receiver }) => {
  await add(page, { name: 'Examples', url: receiver.url, method: 'PATCH' });
  const tabs = page.getByRole('tablist', { name: 'Language' });
  await expect(tabs.getByRole('tab')).toHaveText(['Python', 'Node.js', 'Go', 'Ruby', 'PHP']);
  const code = page.getByRole('tabpanel');
  await expect(code).toContainText('@app.route("/roboticks-webhook", methods=["PATCH"])');
  await tabs.getByRole('tab', { name: 'Python' }).press('ArrowRight');
  await expect(tabs.getByRole('tab', { name: 'Node.js' })).toBeFocused();
  await expect(code).toContainText('timingSafeEqual');
  await code.getByRole('button', { name: 'Copy' }).click();
  const [, [, node]] = examples({ method: 'PATCH', url: receiver.url });
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(node);
});

// A path that could end a string in some language is left out of the examples.
for (const url of [
  'https://example.com/a%22%0Ab',
  "https://example.com/'+x+'",
  'https://example.com/${x}#{y}',
  'nonsense',
]) {
  test(`no example quotes the path of ${url}`, () => {
    for (const [, code] of examples({ method: 'POST', url }))
      expect(code).not.toMatch(/%22|\+x\+|\{x\}|\{y\}|nonsense/);
  });
}
