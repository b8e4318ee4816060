// The Test button: what was sent, what came back, how long it took, and what to do about a failure.

import { createHmac } from 'node:crypto';

import { expect, log, rows, test } from './fixtures.js';

test('shows what was sent and what came back, and where the time went', async ({ integration, page, receiver }) => {
  receiver.answer = [200, '{"received":true}'];
  await page.getByRole('button', { name: 'Test' }).click();
  const result = page.getByRole('region', { name: 'Test', exact: true });
  await expect(result).toContainText('Accepted, 200');
  await expect(page.getByRole('heading', { name: 'Test' })).toBeFocused();
  const [received] = receiver.received;
  expect(received.headers['x-roboticks-event']).toBe('alert.triggered');
  const sent = result.getByRole('region', { name: 'The request' });
  await expect(sent).toContainText(`POST ${receiver.url}`);
  await expect(sent).toContainText(`X-Roboticks-Signature: ${received.headers['x-roboticks-signature']}`);
  await expect(sent).toContainText('"name": "Device Offline"');
  await expect(result.getByRole('region', { name: 'Start of the response' })).toHaveText('{"received":true}');
  for (const phase of ['Connect', 'First byte']) {
    await expect(result.getByRole('definition').and(page.locator(`[data-phase="${phase}"] dd`))).toHaveText(/ m?s$/);
  }
  await expect(rows(page).first()).toContainText('test');
  await expect(page.locator('.title .state')).toBeVisible();
  await result.getByRole('link', { name: 'View it in the log' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Delivery' })).toBeVisible();
});

test('sends the chosen type of event, marked as a test', async ({ integration, page, receiver }) => {
  await page.getByLabel('Event to test with').selectOption('alert.resolved');
  await page.getByRole('button', { name: 'Test' }).click();
  const result = page.getByRole('region', { name: 'Test', exact: true });
  await expect(result.getByRole('region', { name: 'The request' })).toContainText('X-Roboticks-Test: true');
  const [{ headers, body }] = receiver.received;
  expect(headers['x-roboticks-event']).toBe('alert.resolved');
  expect(JSON.parse(body).event_type).toBe('alert.resolved');
  await expect(rows(page).first()).toContainText('alert.resolved');
});

test('says what to do about a refusal', async ({ integration, page, receiver }) => {
  receiver.answer = [401, 'who are you?'];
  await page.getByRole('button', { name: 'Test' }).click();
  const result = page.getByRole('region', { name: 'Test', exact: true });
  await expect(result).toContainText('Rejected, 401');
  await expect(result).toContainText('check that the signing secret and the custom headers match');
  await expect(result).toContainText('who are you?');
  await expect(rows(page).first()).toContainText('Failed');
});

test('says what to do when nothing answers', async ({ integration, page, receiver }) => {
  await receiver.stop();
  await page.getByRole('button', { name: 'Test' }).click();
  const result = page.getByRole('region', { name: 'Test', exact: true });
  await expect(result).toContainText('Unreachable');
  await expect(result).toContainText('Nothing accepts connections');
  await expect(result).toContainText('No response.');
  await result.getByRole('button', { name: 'Close' }).click();
  await expect(result).toHaveCount(0);
  await expect(log(page)).toBeVisible();
});

test('signs with the secret that was shown', async ({ signedIn: page, receiver }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Signed');
  await page.getByLabel('Webhook URL').fill(receiver.url);
  await page.getByRole('button', { name: 'Create' }).click();
  const secret = await page.locator('.secret').textContent();
  await page.getByRole('button', { name: 'Test' }).click();
  await expect(page.getByRole('region', { name: 'Test', exact: true })).toContainText('Accepted, 200');
  const [{ headers, body }] = receiver.received;
  expect(headers['x-roboticks-signature']).toBe(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
});
