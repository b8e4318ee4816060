// A walk through every view of the page, in an order in which each shows something. `visit` is called at each.

import { add, expect, rows, signIn } from './scene.js';
import { CONSOLE_URL, sendAlert } from './stack.js';

export async function tour({ page, user, receiver }, visit) {
  await page.goto(CONSOLE_URL);
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible();
  await visit('welcome');

  await signIn(page, user);
  await expect(page.getByText('No webhook yet')).toBeVisible();
  await visit('first');

  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByLabel('Name of header 1').fill('Host');
  await page.getByLabel('Value of header 1').fill('x');
  await page.getByText('Only some severities or projects').click();
  await page.getByRole('radio', { name: 'Use my own' }).check();
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByLabel('Name', { exact: true })).toHaveAttribute('aria-invalid', 'true');
  await visit('mistakes');

  await page.getByRole('link', { name: 'Cancel' }).click();
  await add(page, { name: 'Operations dashboard', url: receiver.url });
  await visit('new-secret');
  await page.getByRole('button', { name: 'I have copied it' }).click();

  await page.getByRole('button', { name: 'Rotate' }).click();
  await visit('rotate');
  await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
  await page.getByRole('button', { name: 'I have copied it' }).click();

  await page.getByText('How to verify the signature').click();
  await visit('verification');
  await page.getByText('How to verify the signature').click();

  receiver.answer = [200, '{"received":true}'];
  await page.getByRole('button', { name: 'Test' }).click();
  await expect(page.getByText('What came back')).toBeVisible();
  await visit('test-accepted');
  receiver.answer = [500, '<h1>Internal Server Error</h1>\nworker 3 is out of memory'];
  await page.getByRole('button', { name: 'Test' }).click();
  await expect(page.locator('.verdict')).toContainText('Rejected');
  await visit('test-rejected');
  await page.getByRole('region', { name: 'Test', exact: true }).getByRole('button', { name: 'Close' }).click();

  await sendAlert(user.organization, (event) => (event.alert.id = 4711));
  const waiting = rows(page).filter({ hasText: '4711' });
  // Long enough for two attempts: the next one is half an hour away on AWS, some seconds here.
  await expect(waiting.locator('.count')).toHaveText('3', { timeout: 30_000 });
  receiver.answer = [200, 'OK'];
  await sendAlert(user.organization, (event) => Object.assign(event, { event_type: 'alert.resolved' }));
  await expect(rows(page).first()).toContainText('Delivered');
  await visit('integration');

  await page.getByRole('button', { name: 'Recover failed…' }).click();
  await page.getByRole('button', { name: 'Count them' }).click();
  await expect(page.getByText('in this time range.')).toBeVisible();
  await visit('recover');
  await page.getByRole('button', { name: 'Cancel' }).click();

  await waiting.getByRole('link').click();
  await expect(page.getByRole('region', { name: 'The curl command' })).toBeVisible();
  await visit('delivery');

  await page.goBack();
  await page.getByRole('link', { name: 'Edit' }).click();
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('Operations dashboard');
  await visit('edit');

  await page.getByRole('link', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Delete' }).click();
  await visit('delete');
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();

  await page.getByRole('switch', { name: 'Enabled' }).click();
  await page.getByRole('link', { name: 'Integrations' }).click();
  await expect(page.locator('.integrations .state')).toHaveText('Disabled');
  await visit('integrations');

  await page.goto(`${CONSOLE_URL}#/integrations/int_01JH7Z5A8M0000000000000001`);
  await expect(page.getByRole('alert')).toBeVisible();
  await visit('not-there');
}
