// Rotating, adding and removing the signing secret; and the examples that are shown for it.

import { createHmac } from 'node:crypto';

import { examples, isPathLeftOut } from '../../functions/api/console/verification.js';
import { add, expect, test } from './fixtures.js';
import { reachable, sendAlert } from './stack.js';

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
  await expect(page.locator('.overlap')).toContainText(/The previous secret also signs until .* \(in (1 h|59 min)/);
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
  await expect(dialog.getByLabel('Your signing secret')).toHaveAccessibleDescription(/16 to 256 characters/);
  await dialog.getByLabel('Your signing secret').fill('v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog.getByLabel('Your signing secret')).toHaveAccessibleDescription(/leave out the `v1,`/);
  // As if it were pasted.
  await dialog.getByLabel('Your signing secret').fill(' a-signing-secret-of-mine\t');
  await dialog.getByLabel('Overlap').selectOption('0');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog).toHaveCount(0);
  await expect(page.getByText('••••mine')).toBeVisible();
  await expect(page.locator('.overlap')).toHaveCount(0);
  await page.getByRole('button', { name: 'Test' }).click();
  await expect.poll(() => receiver.received.length).toBe(1);
  expect(receiver.received[0].headers['x-roboticks-signature']).toBe(
    signed('a-signing-secret-of-mine', receiver.received[0].body),
  );
});

const toRotate = (url) => url.pathname.endsWith('/rotate-secret');

test('a rotation whose answer was lost gives the same secret when it is asked for again', async ({
  integration,
  page,
}) => {
  const asked = [];
  let answer;
  await page.route(toRotate, async (route) => {
    const request = route.request();
    asked.push({ headers: request.headers(), body: request.postDataJSON() });
    if (asked.length > 1) return route.fulfill(answer);
    const response = await route.fetch({ url: reachable(request.url()) });
    answer = { status: response.status(), headers: response.headers(), body: await response.text() };
    return route.abort();
  });
  await page.getByRole('button', { name: 'Rotate' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog.getByRole('alert')).toContainText('Press the button again');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(page.locator('.secret')).toHaveText(JSON.parse(answer.body).signing_secret);
  const [first, second] = asked;
  expect(first.headers['idempotency-key']).toMatch(/^[\w-]{36}$/);
  expect(second.headers['idempotency-key']).toBe(first.headers['idempotency-key']);
  expect(first.headers['if-match']).toMatch(/^"/);
  expect(second.headers['if-match']).toBe(first.headers['if-match']);
  // Another dialog is another rotation.
  await page.getByRole('button', { name: 'I have copied it' }).click();
  await page.getByRole('button', { name: 'Rotate' }).click();
  await dialog.getByRole('checkbox', { name: 'End it now' }).check();
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect.poll(() => asked.length).toBe(3);
  expect(asked[2].headers['idempotency-key']).not.toBe(first.headers['idempotency-key']);
});

test('warns before it ends a secret that still signs', async ({ integration, page }) => {
  const rotate = page.getByRole('button', { name: 'Rotate' });
  const dialog = page.getByRole('dialog');
  await rotate.click();
  await expect(dialog).not.toContainText('still signs');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await page.getByRole('button', { name: 'I have copied it' }).click();

  const asked = [];
  await page.route(toRotate, (route) => {
    asked.push(route.request().postDataJSON());
    return route.abort();
  });
  await rotate.click();
  await expect(dialog).toContainText(/The previous secret still signs until \d/);
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog.getByRole('checkbox')).toHaveAccessibleDescription(/Confirm this/);
  expect(asked).toEqual([]);
  await dialog.getByRole('checkbox', { name: 'End it now' }).check();
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect.poll(() => asked).toEqual([{ overlap_seconds: 86_400, replace_previous: true }]);
});

test('an overlap that the page did not know of is asked about, too', async ({ integration, page }) => {
  const asked = [];
  await page.route(toRotate, (route) => {
    asked.push(route.request().postDataJSON());
    const problem = { status: 409, title: 'Conflict', detail: 'The previous secret still signs.' };
    return route.fulfill({ status: 409, contentType: 'application/problem+json', json: problem });
  });
  await page.getByRole('button', { name: 'Rotate' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog.getByRole('alert')).toContainText('The previous secret still signs.');
  await dialog.getByRole('checkbox', { name: 'End it now' }).check();
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect.poll(() => asked.map((body) => body.replace_previous)).toEqual([undefined, true]);
});

test('does not rotate what somebody else has changed meanwhile', async ({ integration, page, callApi }) => {
  await page.getByRole('button', { name: 'Rotate' }).click();
  await callApi('PATCH', `integrations/${integration}`, { name: 'Theirs' });
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Rotate' }).click();
  await expect(dialog.getByRole('alert')).toContainText('was changed while the dialog was open');
  await expect(dialog.getByRole('button', { name: 'Rotate' })).toHaveCount(0);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Theirs' })).toBeVisible();
  await expect(page.locator('.secret')).toHaveCount(0);
});

test('a new secret is brought into view and read out', async ({ signedIn: page, receiver }) => {
  await add(page, { name: 'Announced', url: receiver.url });
  await expect(page.getByRole('heading', { name: 'Your signing secret' })).toBeFocused();
  await page.getByRole('button', { name: 'I have copied it' }).click();
  await page.getByRole('button', { name: 'Rotate' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
  await expect(page.getByRole('heading', { name: 'Your signing secret' })).toBeFocused();
});

for (const [format, sentence] of [
  [
    'whsec',
    'again later. The key of the first is the whole text of your signing secret, whsec_ included; that of the second is',
  ],
  ['raw', 'The key of both is the text of your signing secret. Those libraries expect base64'],
]) {
  test(`says what the signatures of a ${format} secret are keyed by`, async ({ integration, page }) => {
    await page.route(
      (url) => url.pathname.endsWith(integration),
      async (route) => {
        const response = await route.fetch({ url: reachable(route.request().url()) });
        await route.fulfill({ response, json: { ...(await response.json()), signing_secret_format: format } });
      },
    );
    await page.reload();
    await page.getByText('How to verify the signature').click();
    await expect(page.locator('.verification p').first()).toContainText(sentence);
  });
}

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
  const tabs = page.getByRole('tablist', { name: 'Language, for the new secret' });
  await expect(tabs.getByRole('tab')).toHaveText(['Python', 'Node.js', 'Go', 'Ruby', 'PHP']);
  const code = page.getByRole('tabpanel');
  await expect(code).toContainText('@app.route("/roboticks-webhook", methods=["PATCH"])');
  await tabs.getByRole('tab', { name: 'Python' }).press('ArrowRight');
  await expect(tabs.getByRole('tab', { name: 'Node.js' })).toBeFocused();
  await expect(code).toContainText('timingSafeEqual');
  await code.getByRole('button', { name: 'Copy code' }).click();
  const [, [, node]] = examples({ method: 'PATCH', url: receiver.url });
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(node);
});

// A path that could end a string literal is left out of the examples.
for (const url of [
  'https://example.com/a%22%0Ab',
  "https://example.com/'+x+'",
  'https://example.com/${x}#{y}',
  'nonsense',
]) {
  test(`no example quotes the path of ${url}`, () => {
    expect(isPathLeftOut({ url })).toBe(true);
    for (const [, code] of examples({ method: 'POST', url }))
      expect(code).not.toMatch(/%22|\+x\+|\{x\}|\{y\}|nonsense/);
  });
}
