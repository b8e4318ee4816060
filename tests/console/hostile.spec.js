// Texts of others are shown as text: names, URLs, header names, payloads and responses that try to be HTML or script.

import { add, expect, log, rows, test } from './fixtures.js';
import { CONSOLE_URL, reachable, sendAlert } from './stack.js';

const HOSTILE = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '"><svg onload=alert(1)>',
  "' onmouseover='alert(1)",
  'javascript:alert(1)',
  '{{7*7}}${7*7}',
];

// Reverses the direction of what follows, so that it reads "exe.txt".
const REVERSED = 'gpj\u202Etxt.exe';

for (const name of HOSTILE) {
  test(`the name ${name} is a name`, async ({ signedIn: page, receiver }) => {
    await add(page, { name, url: receiver.url, secret: 'None' });
    await expect(page.getByRole('heading', { level: 1 })).toHaveText(name);
    await expect(page).toHaveTitle(`${name} · Roboticks`);
    await page.getByRole('button', { name: 'Delete' }).click();
    await expect(page.getByRole('dialog')).toContainText(name);
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('link', { name: 'Integrations' }).click();
    await expect(page.getByRole('link', { name, exact: true })).toBeVisible();
    await expect(page.locator('main script, main img, main svg')).toHaveCount(0);
  });
}

// Such a name is refused today, but may be stored.
test('what turns the direction of text is shown by its code', async ({ integration, page }) => {
  await page.route(
    (url) => url.pathname.endsWith(integration),
    async (route) => {
      const response = await route.fetch({ url: reachable(route.request().url()) });
      await route.fulfill({ response, json: { ...(await response.json()), name: REVERSED } });
    },
  );
  await page.reload();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('gpj⟨U+202E⟩txt.exe');
  expect(await page.locator('main').textContent()).not.toContain('\u202E');
  expect(await page.title()).not.toContain('\u202E');
});

test('a URL is never a link', async ({ signedIn: page, receiver }) => {
  await add(page, { name: 'Linked', url: `${receiver.url}?x=<script>&y="'`, secret: 'None' });
  const links = await page.getByRole('link').evaluateAll((found) => found.map((link) => link.getAttribute('href')));
  for (const href of links) expect(href).toMatch(/^#/);
});

test('responses and payloads are text', async ({ integration, page, user, receiver }) => {
  receiver.answer = [500, `${HOSTILE.join('\n')}\n${REVERSED}`];
  await sendAlert(user.organization, (event) => {
    Object.assign(event.alert, { id: 66, name: HOSTILE.join(' '), message: REVERSED });
    event.links = { alert: 'javascript:alert(1)' };
    event['<b>key</b>'] = '__proto__';
  });
  await rows(page).getByRole('link').click();
  const response = page.getByRole('region', { name: 'Response to attempt 1' });
  for (const text of HOSTILE) await expect(response).toContainText(text);
  const payload = page.getByRole('region', { name: 'The payload' });
  await expect(payload).toContainText('"<b>key</b>": "__proto__"');
  await expect(payload).toContainText('gpj⟨U+202E⟩txt.exe');
  expect(await page.locator('main').textContent()).not.toContain('\u202E');
  await expect(page.locator('main script, main img, main svg, main b')).toHaveCount(0);
  const links = await page.getByRole('link').evaluateAll((found) => found.map((link) => link.getAttribute('href')));
  for (const href of links) expect(href).toMatch(/^#/);
});

test('a test whose answer is hostile is text', async ({ integration, page, receiver }) => {
  receiver.answer = [200, HOSTILE.join('\n')];
  await page.getByRole('button', { name: 'Test' }).click();
  const response = page.getByRole('region', { name: 'Start of the response' });
  for (const text of HOSTILE) await expect(response).toContainText(text);
  await expect(log(page)).toBeVisible();
});

// Invented paths: nothing is fetched from elsewhere, and nothing fails.
for (const hash of [
  '#/integrations/..%2F..%2Fopenapi.json',
  '#/integrations/%',
  '#/integrations/..',
  '#/integrations/../deliveries/..',
  '#/integrations/int_01JH7Z5A8M0000000000000001/deliveries/..',
  '#/integrations/a/b/c',
  '#//evil.example',
  '#javascript:alert(1)',
  '#/integrations/int_01JH7Z5A8M0000000000000001?from=garbage&to=&status=%',
]) {
  test(`the address ${hash} shows nothing foreign`, async ({ signedIn: page }) => {
    await page.evaluate((to) => (location.hash = to), hash);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await expect(page.locator('main')).not.toContainText('openapi');
  });
}

// In a page of its own, because here the browser has to report a violation.
test('lets no script in, even when one is put into the page', async ({ browser }) => {
  const page = await browser.newPage();
  await page.goto(CONSOLE_URL);
  const attempts = await page.evaluate(async () => {
    const refused = [];
    document.addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
    const outcomes = [
      () => (document.body.innerHTML = '<img src=x onerror="window.ran = true">'),
      () => document.write('<script>window.ran = true</script>'),
      () => document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = true' })),
      () =>
        document.body.append(
          Object.assign(document.createElement('iframe'), { srcdoc: '<script>parent.ran = true</script>' }),
        ),
      () => document.body.setAttribute('onclick', 'window.ran = true'),
    ].map((attempt) => {
      try {
        attempt();
        return 'done';
      } catch (error) {
        return error.name;
      }
    });
    await fetch('http://127.0.0.1:9/').catch(() => {});
    document.body.append(Object.assign(document.createElement('img'), { src: 'http://127.0.0.1:9/' }));
    document.body.click();
    await new Promise((next) => setTimeout(next, 200));
    return { outcomes, refused, ran: window.ran };
  });
  expect(attempts.ran).toBe(undefined);
  expect(attempts.outcomes).toEqual(Array(5).fill('TypeError'));
  expect(attempts.refused).toEqual(expect.arrayContaining(['require-trusted-types-for', 'connect-src', 'img-src']));
  await page.close();
});
