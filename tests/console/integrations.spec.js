// Adding, editing, switching and deleting integrations.

import { add, expect, test } from './fixtures.js';
import { reachable, toTheApi } from './stack.js';

test('while a URL is typed, the form says what is called and what is exposed', async ({ signedIn: page }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  const url = page.getByLabel('Webhook URL');
  await url.fill('https://example.com/a/../b');
  await expect(url).toHaveAccessibleDescription('Requests go to https://example.com/b');
  await url.fill('http://example.com/b');
  await expect(url).toHaveAccessibleDescription(/^Requests to http:\/\/ are not encrypted/);
  await page.getByRole('radio', { name: 'None' }).check();
  await expect(url).toHaveAccessibleDescription('Your endpoint. HTTPS is recommended.');
});

test('what the API warns of is shown with the integration and in its form', async ({ integration, page }) => {
  const warnings = [{ field: 'severities', message: 'No alert has had the severity critcal\u202e.' }];
  await page.route(
    (url) => url.pathname.endsWith(integration),
    async (route) => {
      const response = await route.fetch({ url: reachable(route.request().url()) });
      await route.fulfill({ response, json: { ...(await response.json()), warnings } });
    },
  );
  await page.reload();
  const shown = page.getByRole('note').filter({ hasText: 'No alert has had the severity critcal⟨U+202E⟩.' });
  await expect(shown).toBeVisible();
  await page.getByRole('link', { name: 'Edit' }).click();
  await expect(page.getByRole('heading', { name: 'Edit webhook' })).toBeVisible();
  await expect(shown).toBeVisible();
});

test('a new organization is told what a webhook is', async ({ signedIn: page }) => {
  await expect(page.getByRole('heading', { name: 'Custom Webhook' })).toBeVisible();
  await expect(page.getByText('A webhook is a URL of yours')).toBeVisible();
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
  await expect(page.getByRole('button', { name: 'Copy secret' })).toContainText('Copied');
  await expect(page.getByRole('status').filter({ hasText: 'Copied' })).toBeAttached();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(shown);

  const configuration = page.getByRole('region', { name: 'Configuration' });
  for (const text of [receiver.url, 'PUT', 'alert.triggered', 'alert.resolved', 'critical', 'warning', '10', '11']) {
    await expect(configuration).toContainText(text);
  }
  await expect(configuration).not.toContainText('alert.acknowledged');
  await expect(configuration).toContainText('x-api-key: ••••9876');
  await expect(configuration).toContainText(`••••${shown.slice(-4)}`);

  // After a reload it is nowhere.
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
  expect(errors.map(({ field }) => field).toSorted()).toEqual(['headers.Host', 'name', 'signing_secret', 'url']);
  const fields = {
    name: page.getByLabel('Name', { exact: true }),
    url: page.getByLabel('Webhook URL'),
    signing_secret: page.getByLabel('Your signing secret'),
    'headers.Host': page.getByLabel('Name of header 1'),
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
    await page.getByLabel(`Value of header ${number}`).fill(`${name}-of-some-length-1234`);
  }
  await page.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('link', { name: 'Edit' }).click();
  await page.getByLabel('Name', { exact: true }).fill('After');
  const at = async (name) => {
    const names = await page.getByLabel(/^Name of header/).evaluateAll((inputs) => inputs.map((input) => input.value));
    return names.indexOf(name) + 1;
  };
  await page.getByLabel(`Value of header ${await at('x-changed')}`).fill('another-of-some-length-5678');
  await page.getByRole('button', { name: `Remove header ${await at('x-removed')}` }).click();
  const request = page.waitForRequest((candidate) => candidate.method() === 'PATCH');
  await page.getByRole('button', { name: 'Save' }).click();
  expect((await request).postDataJSON()).toEqual({
    name: 'After',
    headers: { 'x-changed': 'another-of-some-length-5678', 'x-removed': null },
  });
  const configuration = page.getByRole('region', { name: 'Configuration' });
  await expect(page.getByRole('heading', { level: 1, name: 'After' })).toBeVisible();
  await expect(configuration).toContainText('x-kept: ••••1234');
  await expect(configuration).toContainText('x-changed: ••••5678');
  await expect(configuration).not.toContainText('x-removed');
});

test('mistakes of headers are marked in their rows, and the others are read out', async ({
  signedIn: page,
  receiver,
}) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Headers');
  await page.getByLabel('Webhook URL').fill(receiver.url);
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByLabel('Name of header 1').fill('X-Fine');
  await page.getByLabel('Name of header 2').fill('X-Key');
  const answered = (errors) =>
    page.route(
      toTheApi,
      (route) =>
        route.fulfill({
          status: 422,
          contentType: 'application/problem+json',
          json: { status: 422, title: 'Invalid', detail: 'See errors.', errors },
        }),
      { times: 1 },
    );
  await answered([{ field: 'headers.X-Key', message: 'This value cannot be sent.' }]);
  await page.getByRole('button', { name: 'Create' }).click();
  const name = page.getByLabel('Name of header 2');
  await expect(name).toHaveAttribute('aria-invalid', 'true');
  await expect(name).toHaveAccessibleDescription('This value cannot be sent.');
  await expect(page.getByLabel('Value of header 2')).toHaveAttribute('aria-invalid', 'true');
  await expect(page.getByLabel('Name of header 1')).not.toHaveAttribute('aria-invalid');
  await expect(name).toBeFocused();
  await expect(page.getByText('This value cannot be sent.')).toHaveCount(1);

  await answered([{ field: 'headers', message: 'At most 20 headers.' }]);
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('alert')).toHaveText('At most 20 headers.');

  await answered([{ field: 'headers.x-elsewhere', message: 'No row has this.' }]);
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('alert')).toHaveText('No row has this.');
});

test('puts edits on top of what somebody else has saved meanwhile', async ({
  integration,
  page,
  receiver,
  callApi,
}) => {
  await page.getByRole('link', { name: 'Edit' }).click();
  await page.getByLabel('Name', { exact: true }).fill('Mine');
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByLabel('Name of header 1').fill('x-mine');
  await page.getByLabel('Value of header 1').fill('a-value-of-mine');
  await callApi('PATCH', `integrations/${integration}`, { name: 'Theirs', method: 'PUT' });
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Load the current version' }).click();
  // The other user's changes stay, and a conflict is shown.
  await expect(page.getByLabel('HTTP Method')).toHaveValue('PUT');
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('Mine');
  await expect(page.getByLabel('Value of header 1')).toHaveValue('a-value-of-mine');
  await expect(page.getByRole('status')).toContainText('Name: Theirs');
  const request = page.waitForRequest((candidate) => candidate.method() === 'PATCH');
  await page.getByRole('button', { name: 'Save' }).click();
  expect((await request).postDataJSON()).toEqual({ name: 'Mine', headers: { 'x-mine': 'a-value-of-mine' } });
  await expect(page.getByRole('heading', { level: 1, name: 'Mine' })).toBeVisible();
  await expect(page.getByRole('region', { name: 'Configuration' })).toContainText('PUT');
  await expect(page.getByRole('region', { name: 'Configuration' })).toContainText(receiver.url);
});

test('asks for header values again when the URL leads elsewhere, at the fields', async ({
  signedIn: page,
  receiver,
}) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Moved');
  await page.getByLabel('Webhook URL').fill(receiver.url);
  for (const [number, name] of [
    [1, 'authorization'],
    [2, 'x-tenant'],
  ]) {
    await page.getByRole('button', { name: 'Add header' }).click();
    await page.getByLabel(`Name of header ${number}`).fill(name);
    await page.getByLabel(`Value of header ${number}`).fill(`${name}-for-the-old-place`);
  }
  await page.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('link', { name: 'Edit' }).click();
  const url = page.getByLabel('Webhook URL');
  const [first, second] = [1, 2].map((number) => page.getByLabel(`Value of header ${number}`));
  const asked = page.getByText('Stored values are not sent there');

  await url.fill(`${receiver.url}/another-path`);
  await expect(first).not.toHaveAttribute('required');
  await expect(asked).toHaveCount(0);
  const elsewhere = 'http://127.0.0.1:1024/elsewhere';
  await url.fill(elsewhere);
  await expect(url).toHaveAccessibleDescription(/another scheme, host or port/);
  await expect(asked).toBeVisible();
  await expect(first).toHaveAttribute('required');
  await expect(first).toHaveAttribute('placeholder', '••••lace, enter it again');

  // Some are missing: the API says which one, and its message is shown.
  await second.fill('a-value-for-the-new-place-9876');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(first).toBeFocused();
  await expect(first).toHaveAttribute('aria-invalid', 'true');
  await expect(first).toHaveAccessibleDescription(
    `The value of the custom header authorization was stored for another scheme, host or port: provide it again for ${new URL(elsewhere).origin}, or remove the header.`,
  );
  await expect(second).not.toHaveAttribute('aria-invalid');
  await first.fill('another-for-the-new-place');
  await page.getByRole('button', { name: 'Save' }).click();
  const configuration = page.getByRole('region', { name: 'Configuration' });
  await expect(configuration).toContainText(elsewhere);
  await expect(configuration).toContainText('x-tenant: ••••9876');
});

test('header values that were written for one place are not saved for another', async ({
  signedIn: page,
  receiver,
  callApi,
}) => {
  await add(page, { name: 'Ours', url: receiver.url, secret: 'None' });
  const id = page.url().split('/').at(-1);
  await page.getByRole('link', { name: 'Edit' }).click();
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByLabel('Name of header 1').fill('x-mine');
  await page.getByLabel('Value of header 1').fill('a-value-of-mine');
  await callApi('PATCH', `integrations/${id}`, { url: 'http://127.0.0.1:1024/theirs' });
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Load the current version' }).click();
  await expect(page.getByRole('status')).toContainText('The URL now has another scheme, host or port.');
  await expect(page.getByLabel('Webhook URL')).toHaveValue('http://127.0.0.1:1024/theirs');
  await expect(page.getByLabel('Value of header 1')).toHaveValue('');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByLabel('Value of header 1')).toHaveAccessibleDescription(/Enter this value again/);
  await page.getByLabel('Value of header 1').fill('a-value-for-their-place');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('region', { name: 'Configuration' })).toContainText('x-mine');
});

test('what was opened stays open while it is saved and refused', async ({ signedIn: page, receiver }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Webhook URL').fill(receiver.url);
  await page.getByText('Only some severities or projects').click();
  await page.getByLabel('Project ids').fill('none');
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByLabel('Project ids')).toHaveAttribute('aria-invalid', 'true');
  await page.getByLabel('Project ids').fill('7');
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByLabel('Project ids')).not.toHaveAttribute('aria-invalid');
  await expect(page.getByLabel('Name', { exact: true })).toHaveAttribute('aria-invalid', 'true');
  await expect(page.getByLabel('Project ids')).toBeVisible();
});

test('the list shows at once what was added, edited, switched and deleted', async ({ signedIn: page, receiver }) => {
  await add(page, { name: 'First', url: receiver.url, secret: 'None' });
  await page.getByRole('link', { name: 'Integrations' }).click();
  await expect(page.getByRole('link', { name: 'First' })).toBeVisible();
  await add(page, { name: 'Second', url: receiver.url, secret: 'None' });
  await page.getByRole('switch', { name: 'Enabled' }).click();
  await expect(page.locator('.title .state')).toHaveText('Disabled');
  // From here on the list comes from the cache.
  await page.route(
    (url) => url.pathname === '/integrations',
    () => new Promise(() => {}),
  );
  await page.getByRole('link', { name: 'Integrations' }).click();
  const item = (name) => page.getByRole('listitem').filter({ has: page.getByRole('link', { name }) });
  await expect(item('Second')).toContainText('Disabled');
  await page.getByRole('link', { name: 'First' }).click();
  await page.getByRole('link', { name: 'Edit' }).click();
  await page.getByLabel('Name', { exact: true }).fill('Renamed');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('heading', { name: 'Configuration' })).toBeVisible();
  await page.getByRole('link', { name: 'Integrations' }).click();
  await expect(item('Renamed')).toBeVisible();
  await page.getByRole('link', { name: 'Second' }).click();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(item('Renamed')).toBeVisible();
  await expect(item('Second')).toHaveCount(0);
});

test('two that are switched at once are both switched, whichever answer comes first', async ({
  signedIn: page,
  receiver,
}) => {
  for (const name of ['First', 'Second']) {
    await add(page, { name, url: receiver.url, secret: 'None' });
    await page.getByRole('link', { name: 'Integrations' }).click();
  }
  const toggle = (name) => page.getByRole('switch', { name: `Enabled: ${name}` });
  await expect(toggle('Second')).toBeChecked();
  // An older answer with the list arrives last.
  await page.route(toTheApi, async (route) => {
    const request = route.request();
    const response = await route.fetch({ url: reachable(request.url()) });
    await new Promise((next) => setTimeout(next, request.method() === 'GET' ? 3000 : 500));
    await route.fulfill({ response });
  });
  const old = page.waitForResponse((response) => response.url().endsWith('/integrations'));
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await page.waitForRequest((request) => request.url().endsWith('/integrations'));
  // Not with the mouse, which cannot be in two places.
  await Promise.all(['First', 'Second'].map((name) => toggle(name).evaluate((button) => button.click())));
  await old;
  await expect(toggle('First')).not.toBeChecked();
  await expect(toggle('Second')).not.toBeChecked();
});

test('a creation that was left does not bring one back to it', async ({ signedIn: page, receiver }) => {
  await page.getByRole('link', { name: 'Add', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Left');
  await page.getByLabel('Webhook URL').fill(receiver.url);
  await page.route(
    (url) => url.pathname === '/integrations',
    async (route) => {
      if (route.request().method() === 'POST') await new Promise((next) => setTimeout(next, 1000));
      await route.continue();
    },
  );
  await page.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('link', { name: 'Cancel' }).click();
  // It is created all the same, and its page shows the secret.
  await page.getByRole('link', { name: 'Left' }).click();
  await expect(page.locator('.secret')).toHaveText(/^whsec_/);
});

test('what is being deleted can no longer be called off', async ({ integration, page }) => {
  await page.route(toTheApi, async (route) => {
    await new Promise((next) => setTimeout(next, 1000));
    await route.continue();
  });
  await page.getByRole('button', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect(dialog.getByRole('button', { name: 'Cancel' })).toHaveAttribute('aria-disabled', 'true');
  await page.keyboard.press('Escape');
  await expect(dialog).toBeVisible();
  await expect(page.getByText('No webhook yet')).toBeVisible();
});

test('an answer that cannot be read is told, and a view that breaks as well', async ({ integration, page }) => {
  await page.route(toTheApi, (route) =>
    route.fulfill({ status: 200, contentType: 'text/html', body: '<h1>Proxy</h1>' }),
  );
  await page.reload();
  await expect(page.getByRole('alert').first()).toContainText('The response of the API cannot be read.');
  await page.unroute(toTheApi);
  await page.route(toTheApi, (route) => route.fulfill({ status: 200, json: { items: [{}], id: 'x' } }));
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Something went wrong' })).toBeVisible();
  await page.unroute(toTheApi);
  await page.getByRole('button', { name: 'Reload' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Operations' })).toBeVisible();
});

test('is switched off and on, in the list and on its page', async ({ integration, page, receiver }) => {
  await page.getByRole('switch', { name: 'Enabled' }).click();
  await expect(page.getByRole('switch', { name: 'Enabled' })).not.toBeChecked();
  await expect(page.locator('.title .state')).toHaveText('Disabled');
  const told = /since\s+\d\d:\d\d:\d\d.*It was switched off by hand\./s;
  await expect(page.locator('.notice')).toContainText(told);
  await page.getByRole('link', { name: 'Integrations' }).click();
  const row = page.getByRole('listitem').filter({ hasText: receiver.url });
  await expect(row).toContainText('Disabled');
  await expect(row).toContainText(told);
  await row.getByRole('switch', { name: 'Enabled: Operations' }).click();
  await expect(row.getByRole('switch')).toBeChecked();
  await expect(row).not.toContainText('Disabled');
  await expect(row).toContainText('Awaiting an alert');
});

test('is deleted after a question', async ({ integration, page }) => {
  await page.getByRole('button', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete this webhook?' });
  // Enter pressed twice deletes nothing.
  await expect(dialog.getByRole('button', { name: 'Cancel' })).toBeFocused();
  await page.keyboard.press('Enter');
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
  // The answer to the first request is lost.
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
