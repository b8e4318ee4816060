// Adding, editing, switching and deleting integrations.

import { add, expect, test } from './scene.js';
import { reachable, toTheApi } from './stack.js';

test('a new organization is told what a webhook is', async ({ signedIn: page }) => {
  await expect(page.getByRole('heading', { name: 'Custom Webhook' })).toBeVisible();
  await expect(page.getByText('A webhook is an address of yours')).toBeVisible();
  await page.getByRole('link', { name: 'Add your first webhook' }).click();
  await expect(page.getByRole('heading', { name: 'Add a custom webhook' })).toBeVisible();
});

test('adds one by the documented fields, with a secret that is shown once', async ({ signedIn: page, receiver }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Operations dashboard');
  await page.getByLabel('Webhook URL').fill(receiver.url);
  await page.getByLabel('HTTP Method').selectOption('PUT');
  await page.getByRole('checkbox', { name: 'alert.acknowledged' }).uncheck();
  await page.getByRole('button', { name: 'Add header' }).click();
  await expect(page.getByLabel('Name of header 1')).toBeFocused();
  await page.getByLabel('Name of header 1').fill('X-Api-Key');
  await page.getByLabel('Value of header 1').fill('a-long-enough-value-9876');
  await page.getByText('Only some severities or projects').click();
  await page.getByLabel('Severities').fill('critical, warning');
  await page.getByLabel('Project ids').fill('10, 11');
  await page.getByRole('button', { name: 'Create' }).click();

  const secret = page.locator('.secret');
  await expect(secret).toHaveText(/^whsec_[A-Za-z0-9+/]{32}$/);
  const shown = await secret.textContent();
  await page.getByRole('button', { name: 'Copy secret' }).click();
  await expect(page.getByRole('button', { name: 'Copied', exact: true })).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(shown);

  const configuration = page.getByRole('region', { name: 'Configuration' });
  for (const text of [receiver.url, 'PUT', 'alert.triggered', 'alert.resolved', 'critical', 'warning', '10', '11']) {
    await expect(configuration).toContainText(text);
  }
  await expect(configuration).not.toContainText('alert.acknowledged');
  await expect(configuration).toContainText('x-api-key: ••••9876');
  await expect(configuration).toContainText(`••••${shown.slice(-4)}`);

  // Gone with a reload, from everywhere.
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Configuration' })).toBeVisible();
  await expect(secret).toHaveCount(0);
  expect(await page.content()).not.toContain(shown);
  expect(await page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain(shown);
});

test('mistakes are marked at their fields in the words of the API', async ({ signedIn: page }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Webhook URL').fill('ftp://example.com');
  await page.getByRole('radio', { name: 'Use my own' }).check();
  await page.getByLabel('Your signing secret').fill('short');
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByLabel('Name of header 1').fill('Host');
  await page.getByLabel('Value of header 1').fill('x');
  const answer = page.waitForResponse((response) => response.request().method() === 'POST');
  await page.getByRole('button', { name: 'Create' }).click();
  const { errors } = await (await answer).json();
  expect(errors.map(({ field }) => field).toSorted()).toEqual(['headers.host', 'name', 'signing_secret', 'url']);
  const fields = {
    name: page.getByLabel('Name', { exact: true }),
    url: page.getByLabel('Webhook URL'),
    signing_secret: page.getByLabel('Your signing secret'),
    'headers.host': page.getByLabel('Name of header 1'),
  };
  for (const { field, message } of errors) {
    await expect(fields[field]).toHaveAttribute('aria-invalid', 'true');
    await expect(fields[field]).toHaveAccessibleDescription(new RegExp(escaped(message)));
  }
  await expect(fields.name).toBeFocused();
});

test('a header that is listed twice, and no event at all, are told here', async ({ signedIn: page, receiver }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Twice');
  await page.getByLabel('Webhook URL').fill(receiver.url);
  for (const number of [1, 2]) {
    await page.getByRole('button', { name: 'Add header' }).click();
    await page.getByLabel(`Name of header ${number}`).fill(number === 1 ? 'x-key' : 'X-Key');
  }
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByText('This header is listed twice.').first()).toBeVisible();
  await page.getByRole('button', { name: 'Remove header 2' }).click();
  for (const event of ['alert.triggered', 'alert.resolved', 'alert.acknowledged']) {
    await page.getByRole('checkbox', { name: event }).uncheck();
  }
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByText('Choose at least one event type.')).toBeVisible();
});

test('edits what was edited, and leaves the rest alone', async ({ signedIn: page, receiver }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Before');
  await page.getByLabel('Webhook URL').fill(receiver.url);
  for (const [number, name] of [
    [1, 'x-kept'],
    [2, 'x-removed'],
    [3, 'x-changed'],
  ]) {
    await page.getByRole('button', { name: 'Add header' }).click();
    await page.getByLabel(`Name of header ${number}`).fill(name);
    await page.getByLabel(`Value of header ${number}`).fill(`${name}-value-1234`);
  }
  await page.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('link', { name: 'Edit' }).click();
  await page.getByLabel('Name', { exact: true }).fill('After');
  const at = async (name) => {
    const names = await page.getByLabel(/^Name of header/).evaluateAll((inputs) => inputs.map((input) => input.value));
    return names.indexOf(name) + 1;
  };
  await page.getByLabel(`Value of header ${await at('x-changed')}`).fill('another-value-5678');
  await page.getByRole('button', { name: `Remove header ${await at('x-removed')}` }).click();
  const request = page.waitForRequest((candidate) => candidate.method() === 'PATCH');
  await page.getByRole('button', { name: 'Save' }).click();
  expect((await request).postDataJSON()).toEqual({
    name: 'After',
    headers: { 'x-changed': 'another-value-5678', 'x-removed': null },
  });
  const configuration = page.getByRole('region', { name: 'Configuration' });
  await expect(page.getByRole('heading', { level: 1, name: 'After' })).toBeVisible();
  await expect(configuration).toContainText('x-kept: ••••1234');
  await expect(configuration).toContainText('x-changed: ••••5678');
  await expect(configuration).not.toContainText('x-removed');
});

test('does not overwrite what somebody else changed meanwhile', async ({ integration, page, context }) => {
  await page.getByRole('link', { name: 'Edit' }).click();
  await page.getByLabel('Name', { exact: true }).fill('Mine');
  const token = await page.evaluate(() => JSON.parse(sessionStorage.getItem('console.session')).token);
  const theirs = await context.request.patch(reachable(new URL(`integrations/${integration}`, page.url())), {
    headers: { authorization: `Bearer ${token}` },
    data: { name: 'Theirs' },
  });
  expect(theirs.status()).toBe(200);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Load it as it is now' }).click();
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('Theirs');
});

test('is switched off and on, in the list and on its page', async ({ integration, page, receiver }) => {
  await page.getByRole('switch', { name: 'Enabled' }).click();
  await expect(page.getByRole('switch', { name: 'Enabled' })).not.toBeChecked();
  await expect(page.locator('.title .state')).toHaveText('Disabled');
  await page.getByRole('link', { name: 'Integrations' }).click();
  const row = page.getByRole('listitem').filter({ hasText: receiver.url });
  await expect(row).toContainText('Disabled');
  await row.getByRole('switch', { name: 'Enabled: Operations' }).click();
  await expect(row.getByRole('switch')).toBeChecked();
  await expect(row).not.toContainText('Disabled');
});

test('is deleted after a question', async ({ integration, page }) => {
  await page.getByRole('button', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete this webhook?' });
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await expect(dialog).toHaveCount(0);
  await expect(page.getByRole('button', { name: 'Delete' })).toBeFocused();
  await page.getByRole('button', { name: 'Delete' }).click();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByText('No webhook yet')).toBeVisible();
  await page.goto(`${page.url()}integrations/${integration}`);
  await expect(page.getByRole('alert')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Test' })).toHaveCount(0);
});

test('an interrupted creation is not carried out twice', async ({ signedIn: page, receiver }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Once');
  await page.getByLabel('Webhook URL').fill(receiver.url);
  // The answer of the first request is lost on its way.
  await page.route(
    toTheApi,
    async (route) => {
      const answer = await route.fetch({ url: reachable(route.request().url()) });
      expect(answer.status()).toBe(201);
      await route.abort();
    },
    { times: 1 },
  );
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('alert')).toContainText('cannot be reached');
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('heading', { name: 'Configuration' })).toBeVisible();
  await page.getByRole('link', { name: 'Integrations' }).click();
  await expect(page.getByRole('link', { name: 'Once' })).toHaveCount(1);
});

test('says honestly when the API cannot be reached, and goes on when it can', async ({ integration, page }) => {
  await page.route(toTheApi, (route) => route.abort());
  await page.goto(`${new URL('.', page.url()).href}#/`);
  await page.reload();
  await expect(page.getByRole('alert')).toContainText('The API cannot be reached');
  await page.unroute(toTheApi);
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(page.getByRole('link', { name: 'Operations' })).toBeVisible();
  await expect(page.getByRole('alert')).toHaveCount(0);
});

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
