// The log: new deliveries, filters, older pages, recovery; and a delivery's own page.

import { execFileSync } from 'node:child_process';

import { expect, log, rows, test } from './fixtures.js';
import { reachable, sendAlert } from './stack.js';

test('new deliveries appear without a reload, and their states follow', async ({
  integration,
  page,
  user,
  receiver,
}) => {
  await expect(log(page)).toContainText('No deliveries in the log. Press Test to send a sample.');
  await expect(page.locator('.title .state')).toHaveText('Awaiting an alert');
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

test('a failure is named wherever it is told, and outlives a switch off and on', async ({
  integration,
  page,
  user,
  receiver,
}) => {
  expect(integration).toMatch(/^int_/);
  receiver.answer = [500, 'not now'];
  await sendAlert(user.organization);
  const told = /First failure: Your endpoint answered 500, so it failed while handling the request/;
  const notice = page.locator('.notice');
  await expect(notice).toContainText(/^\s*Failing since \d\d:\d\d:\d\d\./);
  await expect(notice).toContainText(told);
  const before = await notice.textContent();
  await page.getByRole('link', { name: 'Integrations' }).click();
  await expect(page.locator('.integrations .reason')).toContainText(told);
  for (const state of ['Disabled', 'Failing']) {
    await page.getByRole('switch', { name: 'Enabled: Operations' }).click();
    await expect(page.locator('.integrations .state')).toHaveText(state);
  }
  await page.getByRole('link', { name: 'Operations' }).click();
  await expect(notice).toHaveText(before);
});

test('a test tells nothing of alerts, and a 410 is not forgotten', async ({ integration, page, user, receiver }) => {
  expect(integration).toMatch(/^int_/);
  const state = page.locator('.title .state');
  await page.getByRole('button', { name: 'Test' }).click();
  await expect(rows(page)).toContainText('Delivered');
  await page.reload();
  await expect(state).toHaveText('Awaiting an alert');
  receiver.answer = [410, 'gone'];
  await sendAlert(user.organization);
  await expect(page.locator('.notice')).toContainText(/Disabled since \d\d:\d\d:\d\d\. Your endpoint answered 410/);
  await page.getByRole('switch', { name: 'Enabled' }).click();
  await expect(state).toHaveText('Failing');
  await expect(page.locator('.notice')).toContainText('First failure: Your endpoint answered 410');
});

test('while an alert goes unanswered, it is not alerts that are awaited', async ({ integration, page }) => {
  // It ends before the page polls again.
  const reason = { code: 'slow', message: 'An alert was sent and has not been answered yet.' };
  await page.route(
    (url) => url.pathname === `/integrations/${integration}`,
    async (route) => {
      const response = await route.fetch({ url: reachable(route.request().url()) });
      await route.fulfill({
        response,
        json: { ...(await response.json()), health: { state: 'unknown', since: null, reason } },
      });
    },
  );
  await page.reload();
  await expect(page.locator('.title .state')).toHaveText('Awaiting a response');
});

test('an empty log says what keeps alerts away', async ({ integration, page, callApi }) => {
  const empty = log(page).locator('.empty');
  await callApi('PATCH', `integrations/${integration}`, { severities: ['critcal'], project_ids: [9999] });
  await page.reload();
  await expect(empty).toHaveText(
    'No deliveries in the log. Only alerts that match its severities and projects are sent. Press Test to send a sample.',
  );
  await page.getByRole('switch', { name: 'Enabled' }).click();
  await expect(empty).toContainText('It is switched off, so no alerts are sent.');
  await log(page).getByLabel('Status').selectOption('failed');
  await expect(empty).toHaveText('No deliveries match.');
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
  await expect(log(page)).toContainText('No deliveries match.');
  await filters.getByRole('button', { name: 'Show all' }).click();
  await filters.getByLabel('To').fill('2020-01-01T00:00');
  await filters.getByLabel('To').press('Enter');
  await expect(log(page)).toContainText('No deliveries match.');
});

test('a time filter waits until it is written, and means whole minutes', async ({ integration, page, user }) => {
  expect(integration).toMatch(/^int_/);
  await sendAlert(user.organization);
  await expect(rows(page)).toHaveCount(1);
  const to = log(page).getByLabel('To');
  await to.fill('0020-01-01T00:00');
  await to.press('Enter');
  // Not while a year is being typed.
  expect(page.url()).not.toContain('to=');
  await to.fill('2020-01-01T10:05');
  expect(page.url()).not.toContain('to=');
  await to.blur();
  await expect(log(page)).toContainText('No deliveries match.');
  expect(decodeURIComponent(page.url())).toContain('to=2020-01-01T09:05:59.999Z');
  await expect(to).toHaveValue('2020-01-01T10:05');
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
  await expect(log(page)).toContainText('No deliveries match.');
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

test('rows beyond the first page follow, too, and new ones do not push them out', async ({
  integration,
  page,
  user,
  receiver,
}) => {
  expect(integration).toMatch(/^int_/);
  receiver.answer = [500, 'not now'];
  const start = Date.now() - 60_000;
  const sendOld = (number) =>
    sendAlert(user.organization, (event) => {
      event.alert.id = 1000 + number;
      event.timestamp = new Date(start + number * 1000).toISOString();
    });
  for (let number = 0; number < 28; number += 1) await sendOld(number);
  await expect(rows(page).first()).toContainText('1027');
  await page.getByRole('button', { name: 'Show older' }).click();
  await expect(rows(page)).toHaveCount(28);
  const oldest = rows(page).filter({ hasText: '1000' });
  receiver.answer = [200, 'OK'];
  await sendOld(40);
  await expect(rows(page)).toHaveCount(29);
  await expect(oldest).toContainText('Delivered', { timeout: 40_000 });
  await expect(rows(page)).toHaveCount(29);
});

test('a row that no longer matches the filter goes', async ({ integration, page, user, receiver }) => {
  expect(integration).toMatch(/^int_/);
  receiver.answer = [500, 'not now'];
  await sendAlert(user.organization);
  await log(page).getByLabel('Status').selectOption('waiting');
  await expect(rows(page)).toHaveCount(1);
  receiver.answer = [200, 'OK'];
  await expect(log(page)).toContainText('No deliveries match.', { timeout: 40_000 });
  await expect(rows(page)).toHaveCount(0);
});

test('a filter that has found nothing yet says so', async ({ integration, page }) => {
  expect(integration).toMatch(/^int_/);
  await page.route(
    (url) => url.pathname.endsWith('/deliveries') && url.searchParams.has('status'),
    (route) => route.fulfill({ json: { items: [], next_cursor: 'more' } }),
  );
  await log(page).getByLabel('Status').selectOption('failed');
  await expect(log(page)).toContainText('No deliveries match so far; older ones have not been searched yet.');
  await expect(page.getByRole('button', { name: 'Show older' })).toBeVisible();
});

test('looks less often while the API fails, and not before it may', async ({ integration, page }) => {
  expect(integration).toMatch(/^int_/);
  const asked = [];
  await page.route(
    (url) => url.pathname.endsWith('/deliveries'),
    (route) => {
      asked.push(Date.now());
      return route.fulfill({ status: 429, headers: { 'retry-after': '8' }, json: { title: 'Slow down' } });
    },
  );
  await expect(log(page).getByRole('alert')).toContainText('Try again in 8 s');
  await expect.poll(() => asked.length).toBeGreaterThan(1);
  expect(asked[1] - asked[0]).toBeGreaterThan(7500);
});

test('a delivery is looked at when its next attempt is due, not more often', async ({ integration, page, user }) => {
  await sendAlert(user.organization);
  await expect(rows(page)).toContainText('Delivered');
  const asked = [];
  await page.route(
    (url) => url.pathname.startsWith(`/integrations/${integration}/deliveries/`),
    async (route) => {
      asked.push(Date.now());
      const response = await route.fetch({ url: reachable(route.request().url()) });
      const next = new Date(Date.now() + 6000).toISOString();
      const delivery = { ...(await response.json()), status: 'waiting', next_attempt_at: next };
      await route.fulfill({ response, json: delivery });
    },
  );
  await rows(page).getByRole('link').click();
  await expect.poll(() => asked.length).toBe(2);
  expect(asked[1] - asked[0]).toBeGreaterThan(5000);
});

test('a payload of any depth is shown', async ({ integration, page, user }) => {
  const levels = 130_000;
  await sendAlert(user.organization, (event) => {
    const nested = '['.repeat(levels) + ']'.repeat(levels);
    event.text = `${JSON.stringify(event).slice(0, -1)},"deep":${nested}}`;
  });
  await rows(page).first().getByRole('link').click();
  const payload = page.getByRole('region', { name: 'The payload' });
  await expect(payload).toContainText('"deep": [');
  expect((await payload.textContent()).replace(/[^[]/g, '').length).toBe(levels);
});

test('a delivery shows its attempts, its payload as sent, and a curl without secrets', async ({
  integration,
  callApi,
  page,
  user,
  receiver,
}) => {
  receiver.answer = [503, '<h1>Down for maintenance</h1>'];
  await callApi('PATCH', `/integrations/${integration}`, { headers: { 'x-API-key': 'k-0123456789-0123456789-6789' } });
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
  expect(command).toContain("'X-Api-Key: ••••6789'");
  // A shell parses it into exactly the payload.
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
  await expect(dialog).toContainText('No failed deliveries in this time range.');
  await dialog.getByLabel('To').fill('');
  await dialog.getByRole('button', { name: 'Count them' }).click();
  await expect(dialog).toContainText('1 failed delivery in this time range.');
  await dialog.getByRole('button', { name: 'Recover 1 delivery' }).click();
  await expect(dialog).toContainText('1 delivery is being sent again.');
  await dialog.getByRole('button', { name: 'Close' }).click();
  await expect(rows(page)).toContainText('Delivered');
});

const toRecover = (url) => url.pathname.endsWith('/recover');

// The recovery dialog, with 250 failed deliveries.
async function counted(page, answers) {
  const asked = [];
  await page.route(toRecover, async (route) => {
    const body = route.request().postDataJSON();
    asked.push(body);
    const [status, json, headers] = body.dry_run ? [200, { count: 250, skipped: 0 }] : answers(asked);
    return route.fulfill({ status, headers, json: { next_cursor: null, paced_until: null, ...json } });
  });
  await page.getByRole('button', { name: 'Recover failed…' }).click();
  await page.getByRole('button', { name: 'Count them' }).click();
  await page.getByRole('button', { name: 'Recover 250 deliveries' }).click();
  return asked;
}

test('a long recovery shows how far it is, waits as long as it is told, and goes on where it was', async ({
  integration,
  page,
}) => {
  expect(integration).toMatch(/^int_/);
  let go;
  const last = new Promise((resolve) => {
    go = resolve;
  });
  let refused = 0;
  const asked = await counted(page, (asked) => {
    const { cursor } = asked.at(-1);
    if (!cursor) return [200, { count: 100, skipped: 0, next_cursor: 'one' }];
    if (cursor === 'one' && refused < 2) {
      refused += 1;
      return refused === 1 ? [429, { title: 'Full' }, { 'retry-after': '3' }] : [503, { title: 'Not now' }];
    }
    if (cursor === 'one') return [200, { count: 98, skipped: 2, next_cursor: 'two' }];
    return [200, { count: 50, skipped: 0 }];
  });
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('progressbar', { name: 'Recovered' })).toHaveJSProperty('value', 100);
  await expect(dialog).toContainText('100 of 250 are being sent again.');
  await expect(dialog).toContainText(/Recovery continues automatically\s+in [1-3] s/);
  await expect(dialog.getByRole('alert')).toContainText('Not now');
  await page.route(toRecover, async (route) => {
    if (route.request().postDataJSON().cursor === 'two') await last;
    return route.fallback();
  });
  await dialog.getByRole('button', { name: 'Continue' }).click();
  await expect(dialog).toContainText('198 of 250 are being sent again.');
  go();
  await expect(dialog).toContainText('248 deliveries are being sent again.');
  await expect(dialog).toContainText('2 deliveries were skipped');
  const [count, first, ...others] = asked;
  // Without an end, more could be recovered than was counted.
  expect(count).toEqual({ to: expect.stringMatching(/^20.*Z$/), dry_run: true });
  expect(first).toEqual({ to: count.to, dry_run: false });
  expect(others.map(({ cursor, ...rest }) => [cursor, rest])).toEqual(
    ['one', 'one', 'one', 'two'].map((cursor) => [cursor, { dry_run: false }]),
  );
});

test('a recovery stops when its dialog is closed', async ({ integration, page }) => {
  expect(integration).toMatch(/^int_/);
  const asked = await counted(page, () => [429, { title: 'Full' }, { 'retry-after': '1' }]);
  await expect(page.getByRole('dialog')).toContainText('Recovery continues automatically');
  await page.getByRole('button', { name: 'Stop' }).click();
  await expect(page.getByRole('dialog')).toHaveCount(0);
  const before = asked.length;
  await page.waitForTimeout(2500);
  expect(asked.length).toBe(before);
});

test('recovers more than one request covers', async ({ integration, page, user, receiver }) => {
  expect(integration).toMatch(/^int_/);
  test.setTimeout(240_000);
  receiver.answer = [500, 'not now'];
  const many = 105;
  for (let number = 0; number < many; number += 1) await sendAlert(user.organization);
  await page.getByRole('button', { name: 'Recover failed…' }).click();
  const dialog = page.getByRole('dialog');
  await expect(async () => {
    await dialog.getByLabel('From').fill('');
    await dialog.getByLabel('From').fill('2020-01-01T00:00');
    await dialog.getByRole('button', { name: 'Count them' }).click();
    await expect(dialog).toContainText(`${many} failed deliveries`, { timeout: 3000 });
  }).toPass({ timeout: 180_000, intervals: [3000] });
  receiver.answer = [200, 'OK'];
  await dialog.getByRole('button', { name: `Recover ${many} deliveries` }).click();
  await expect(dialog).toContainText(`${many} deliveries are being sent again.`);
  await expect(dialog).toContainText('spread out until');
});
