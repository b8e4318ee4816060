// The log: new deliveries, filters, older pages, recovery; and a delivery's own page.

import { execFileSync } from 'node:child_process';

import { expect, log, rows, test } from './scene.js';
import { sendAlert } from './stack.js';

test('new deliveries appear without a reload, and their states follow', async ({
  integration,
  page,
  user,
  receiver,
}) => {
  await expect(log(page)).toContainText('No deliveries yet');
  receiver.answer = [500, 'not now'];
  await sendAlert(user.organization, (event) => (event.alert.id = 4711));
  const row = rows(page).filter({ hasText: '4711' });
  await expect(row).toContainText('Waiting');
  await expect(row).toContainText('Rejected, 500');
  await expect(page.locator('.title .state')).toHaveText('Failing');
  receiver.answer = [200, 'OK'];
  await expect(row).toContainText('Delivered');
  await expect(row).toContainText('Accepted, 200');
  await expect(page.locator('.title .state')).toHaveText('Healthy');
});

test('filters by status, event, alert and time, in the address too', async ({ integration, page, user }) => {
  await sendAlert(user.organization, (event) => (event.alert.id = 1));
  await sendAlert(user.organization, (event) =>
    Object.assign(event, { event_type: 'alert.resolved', alert: { ...event.alert, id: 2 } }),
  );
  await expect(rows(page)).toHaveCount(2);
  const filters = page.getByRole('search', { name: 'Deliveries' });
  await filters.getByLabel('Event').selectOption('alert.resolved');
  await expect(rows(page)).toHaveCount(1);
  await expect(rows(page)).toContainText('alert.resolved');
  await page.reload();
  await expect(filters.getByLabel('Event')).toHaveValue('alert.resolved');
  await expect(rows(page)).toHaveCount(1);
  await filters.getByRole('button', { name: 'Show all' }).click();
  await expect(rows(page)).toHaveCount(2);
  await filters.getByRole('textbox', { name: 'Alert' }).fill('1');
  await filters.getByRole('textbox', { name: 'Alert' }).press('Enter');
  await expect(rows(page)).toHaveCount(1);
  await filters.getByRole('button', { name: 'Show all' }).click();
  await filters.getByLabel('Status').selectOption('failed');
  await expect(log(page)).toContainText('No delivery matches.');
  await filters.getByRole('button', { name: 'Show all' }).click();
  await filters.getByLabel('To').fill('2020-01-01T00:00');
  await expect(log(page)).toContainText('No delivery matches.');
});

test('what is being typed into a filter is left alone by what comes in meanwhile', async ({
  integration,
  page,
  user,
}) => {
  const alert = page.getByRole('textbox', { name: 'Alert' });
  await alert.fill('47');
  await sendAlert(user.organization);
  await expect(rows(page)).toContainText('Delivered');
  await expect(page.locator('.title .state')).toHaveText('Healthy');
  await expect(alert).toHaveValue('47');
  await expect(alert).toBeFocused();
  await alert.press('Enter');
  await expect(log(page)).toContainText('No delivery matches.');
  await expect(alert).toBeFocused();
});

test('what a filter cannot be is told in the words of the API', async ({ integration, page }) => {
  await page.getByRole('textbox', { name: 'Alert' }).fill('not a number');
  await page.getByRole('textbox', { name: 'Alert' }).press('Enter');
  await expect(log(page).getByRole('alert')).toContainText(/alert_id/i);
});

test('shows older pages on demand', async ({ integration, page, user }) => {
  const start = Date.now();
  for (let number = 0; number < 30; number += 1) {
    await sendAlert(user.organization, (event) => {
      event.alert.id = 1000 + number;
      event.timestamp = new Date(start + number * 1000).toISOString();
    });
  }
  await expect(rows(page).first()).toContainText('1029');
  await page.reload();
  await expect(rows(page)).toHaveCount(25);
  await page.getByRole('button', { name: 'Show older' }).click();
  await expect(rows(page)).toHaveCount(30);
  await expect(rows(page).last()).toContainText('1000');
});

test('a delivery shows its attempts, its payload as sent, and a curl without secrets', async ({
  integration,
  page,
  user,
  receiver,
}) => {
  receiver.answer = [503, '<h1>Down for maintenance</h1>'];
  const body = await sendAlert(user.organization, (event) => {
    event.text = `{"event_type":"alert.triggered", "timestamp":"${event.timestamp}","alert":{"id":77,"severity":"critical",
      "name":"It's \\u00fc","value":1.50,"big":12345678901234567890},"project":{"id":10},"organization":{"id":${user.organization}}}`;
  });
  await rows(page).getByRole('link').click();
  const attempts = page.getByRole('region', { name: 'Attempts' });
  await expect(attempts.getByRole('heading', { name: 'Attempt 1' })).toContainText('Rejected, 503');
  await expect(attempts).toContainText('so it failed while handling the request');
  await expect(attempts.getByRole('region', { name: 'Response to attempt 1' })).toHaveText(
    '<h1>Down for maintenance</h1>',
  );
  await expect(page.getByText('Waiting').first()).toBeVisible();
  await expect(attempts.locator('.countdown')).toHaveText(/^(in \d+|due now)/);
  receiver.answer = [200, 'OK'];
  await expect(page.locator('.title .state')).toHaveText('Delivered');

  const payload = page.getByRole('region', { name: 'The payload' });
  await expect(payload).toContainText('"value": 1.50');
  await expect(payload).toContainText('"big": 12345678901234567890');
  await expect(payload).toContainText("It's \\u00fc");
  await page.getByRole('button', { name: 'Copy as sent' }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(body);

  await page.getByRole('button', { name: 'Copy curl' }).click();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  expect(command).toContain('X-Roboticks-Signature: sha256=<signature>');
  // A shell takes it apart into exactly the payload.
  const shell = execFileSync('sh', ['-c', `curl() { for last; do :; done; printf %s "$last"; }\n${command}`]);
  expect(shell.toString()).toBe(body);
});

test('redelivers, and says how often that is still possible', async ({ integration, page, user, receiver }) => {
  await sendAlert(user.organization);
  await expect(rows(page)).toContainText('Delivered');
  await rows(page).getByRole('link').click();
  await expect(page.getByText('4 rounds left')).toBeVisible();
  receiver.received.length = 0;
  await page.getByRole('button', { name: 'Redeliver' }).click();
  await expect(page.getByRole('heading', { name: 'Attempt 2' })).toContainText('Accepted, 200');
  await expect(page.getByText('3 rounds left')).toBeVisible();
  expect(receiver.received).toHaveLength(1);
});

test('recovers the failed ones of a time range, after saying how many', async ({
  integration,
  page,
  user,
  receiver,
}) => {
  receiver.answer = [410, 'gone'];
  await sendAlert(user.organization);
  await expect(rows(page)).toContainText('Failed');
  // 410 switched it off.
  await expect(page.locator('.notice')).toContainText('wants no more webhooks');
  receiver.answer = [200, 'OK'];
  await page.getByRole('switch', { name: 'Enabled' }).click();
  await expect(page.getByRole('switch', { name: 'Enabled' })).toBeChecked();
  await page.getByRole('button', { name: 'Recover failed…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Recover failed deliveries' });
  await dialog.getByLabel('To').fill('2020-01-01T00:00');
  await dialog.getByRole('button', { name: 'Count them' }).click();
  await expect(dialog).toContainText('No failed delivery in this time range.');
  await dialog.getByLabel('To').fill('');
  await dialog.getByRole('button', { name: 'Count them' }).click();
  await expect(dialog).toContainText('1 failed delivery in this time range.');
  await dialog.getByRole('button', { name: 'Recover 1 delivery' }).click();
  await expect(dialog).toContainText('1 delivery is on the way again.');
  await dialog.getByRole('button', { name: 'Close' }).click();
  await expect(rows(page)).toContainText('Delivered');
});
