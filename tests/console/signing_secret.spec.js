// Rotating, adding and removing the signing secret; and the examples that verify it.

import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

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

// Each example as a program of its own, where its language is installed: right signatures of the new and of the
// previous secret are let in, others are not.
const python = join(import.meta.dirname, '../../.tools/cloud/bin/python');
const PROGRAMS = {
  Python: {
    file: 'app.py',
    version: [python, ['-c', 'import flask']],
    run: (port) => [python, ['-m', 'flask', 'run', '--port', port]],
  },
  'Node.js': {
    file: 'app.mjs',
    version: [process.execPath, ['--version']],
    run: () => [process.execPath, ['app.mjs']],
  },
  Go: { file: 'main.go', version: ['go', ['version']], port: '8080', run: () => ['go', ['run', 'main.go']] },
  Ruby: {
    file: 'app.rb',
    version: ['ruby', ['-e', 'require "sinatra/base"; require "puma"']],
    run: (port) => ['ruby', ['app.rb', '-p', port]],
  },
  PHP: {
    file: 'app.php',
    version: ['php', ['--version']],
    run: (port) => ['php', ['-S', `127.0.0.1:${port}`, 'app.php']],
  },
};
const SECRET = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD';

for (const [language, code] of examples({ method: 'POST', url: 'https://example.com/roboticks-webhook' })) {
  test(`the example in ${language} verifies`, async () => {
    const program = PROGRAMS[language];
    test.skip(!installed(program.version), `${language} is not installed`);
    const folder = mkdtempSync(join(tmpdir(), 'example-'));
    writeFileSync(join(folder, program.file), code);
    const port = program.port ?? String(20_000 + Math.floor(Math.random() * 20_000));
    const [command, args] = program.run(port);
    const env = { ...process.env, WEBHOOK_SECRET: SECRET, PORT: port, APP_ENV: 'production' };
    const child = spawn(command, args, { cwd: folder, env, stdio: 'ignore', detached: true });
    try {
      const body = '{"event_type":"alert.triggered","alert":{"id":123,"name":"\u00fc"}}';
      const post = (headers) =>
        fetch(`http://127.0.0.1:${port}/roboticks-webhook`, {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json', ...headers },
        }).then(
          (response) => response.status,
          () => 0,
        );
      await expect.poll(() => post({ 'X-Roboticks-Signature': signed(SECRET, body) }), { timeout: 50_000 }).toBe(204);
      expect(
        await post({
          'X-Roboticks-Signature': signed('another', body),
          'X-Roboticks-Signature-Previous': signed(SECRET, body),
        }),
      ).toBe(204);
      expect(await post({ 'X-Roboticks-Signature': signed('another', body) })).toBe(401);
      expect(await post({ 'X-Roboticks-Signature': signed(SECRET, `${body} `) })).toBe(401);
      expect(await post({ 'X-Roboticks-Signature': 'sha256=\u00fc' })).toBe(401);
      expect(await post({})).toBe(401);
    } finally {
      process.kill(-child.pid, 'SIGKILL');
    }
  });
}

function installed([command, args]) {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
