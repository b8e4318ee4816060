// Visits every view of the page, in an order in which each has something to show, and calls `visit` at each.

import { add, expect, rows, signIn } from './fixtures.js';
import { CONSOLE_URL, reachable, sendAlert, toTheApi } from './stack.js';

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
  // Beside the one of the new secret.
  await page.getByText('How to verify the signature').click();
  await visit('verification-twice');
  await page.getByRole('button', { name: 'I have copied it' }).click();
  await visit('verification');
  await page.getByText('How to verify the signature').click();
  await visit('log-empty');

  await page.getByRole('button', { name: 'Rotate' }).click();
  await visit('rotate');
  await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
  await page.getByRole('button', { name: 'I have copied it' }).click();
  await page.getByRole('button', { name: 'Rotate' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
  await visit('rotate-in-overlap');
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Remove' }).click();
  await visit('remove');
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();

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

  await recovery(page, visit);

  await waiting.getByRole('link').click();
  await expect(page.getByRole('region', { name: 'The curl command' })).toBeVisible();
  await visit('delivery');
  for (const status of ['waiting', 'failed', 'cancelled'])
    await delivery(page, status, () => visit(`delivery-${status}`));

  await page.goBack();
  await page.getByRole('link', { name: 'Edit' }).click();
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('Operations dashboard');
  await visit('edit');
  await page.getByLabel('Name', { exact: true }).fill('Mine');
  await page.route(toTheApi, (route) => route.fulfill(OUTDATED), { times: 1 });
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('button', { name: 'Load the current version' })).toBeVisible();
  await visit('outdated');
  await page.getByRole('button', { name: 'Load the current version' }).click();
  await expect(page.getByText('with your changes on top')).toBeVisible();
  await visit('on-top');

  await page.getByLabel('Name', { exact: true }).fill('Operations dashboard');
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByLabel('Name of header 1').fill('Authorization');
  await page.getByLabel('Value of header 1').fill('Bearer 0123456789-0123456789');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('link', { name: 'Edit' }).click();
  await page.getByLabel('Webhook URL').fill('http://127.0.0.1:1024/elsewhere');
  await visit('elsewhere');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByLabel('Value of header 1')).toHaveAttribute('aria-invalid', 'true');
  await visit('elsewhere-refused');

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
  await page.route(toTheApi, (route) => route.abort());
  await page.goto(`${CONSOLE_URL}#/`);
  await page.reload();
  await expect(page.getByRole('alert')).toBeVisible();
  await visit('unreached');
  await page.unroute(toTheApi);

  await page.evaluate(() => {
    const session = JSON.parse(sessionStorage.getItem('console.session'));
    sessionStorage.setItem('console.session', JSON.stringify({ ...session, ends: 0, refresh: null }));
  });
  await page.reload();
  await expect(page.getByRole('alert')).toContainText('Your session has ended');
  await visit('ended');
}

const OUTDATED = {
  status: 412,
  contentType: 'application/problem+json',
  json: { status: 412, title: 'Outdated', detail: 'It was changed since you read it: read it again.' },
};

// The recovery dialog while counting, in the middle, and at the end; nothing is sent again.
async function recovery(page, visit) {
  const toRecover = (url) => url.pathname.endsWith('/recover');
  await page.route(toRecover, (route) => {
    const { dry_run: counts, cursor } = route.request().postDataJSON();
    if (cursor) {
      return route.fulfill({ status: 429, headers: { 'retry-after': '240' }, json: { title: 'Full' } });
    }
    const more = counts ? {} : { next_cursor: 'more', count: 100 };
    return route.fulfill({ json: { count: 250, skipped: 3, next_cursor: null, paced_until: null, ...more } });
  });
  const open = async () => {
    await page.getByRole('button', { name: 'Recover failed…' }).click();
    await page.getByRole('button', { name: 'Count them' }).click();
    await expect(page.getByText('in this time range.')).toBeVisible();
  };
  await open();
  await visit('recover');
  await page.getByRole('button', { name: 'Recover 250' }).click();
  await expect(page.getByText('Recovery continues automatically')).toBeVisible();
  await visit('recover-waiting');
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.unroute(toRecover);
  const paced = new Date(Date.now() + 25_000).toISOString();
  await page.route(toRecover, (route) =>
    route.fulfill({ json: { count: 250, skipped: 3, next_cursor: null, paced_until: paced } }),
  );
  await open();
  await page.getByRole('button', { name: 'Recover 250' }).click();
  await expect(page.getByText('are being sent again')).toBeVisible();
  await visit('recover-done');
  await page.getByRole('button', { name: 'Close' }).click();
  await page.unroute(toRecover);
}

// Shows the delivery as if it had that status.
async function delivery(page, status, visit) {
  const next = status === 'waiting' ? new Date(Date.now() + 1_500_000).toISOString() : null;
  const reason = { code: 'integration_disabled', message: 'The webhook was switched off.' };
  const toDelivery = (url) => url.pathname.includes('/deliveries/');
  await page.route(toDelivery, async (route) => {
    const response = await route.fetch({ url: reachable(route.request().url()) });
    const changed = { status, next_attempt_at: next, cancel_reason: status === 'cancelled' ? reason : null };
    await route.fulfill({ response, json: { ...(await response.json()), ...changed } });
  });
  await page.reload();
  const word = status[0].toUpperCase() + status.slice(1);
  await expect(page.locator('.title .state')).toHaveText(word);
  await visit();
  await page.unroute(toDelivery);
}
