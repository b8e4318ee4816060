// The examples that verify a signature, each run as a program: what they accept and refuse, and that no input crashes
// them. Go and PHP are installed with the tools, Python's Flask with the local cloud; Ruby is tried where Sinatra is
// installed.

import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, test } from '@playwright/test';

import { examples } from '../../functions/api/console/verification.js';

const TOOLS = join(import.meta.dirname, '../../.tools');
const python = join(TOOLS, 'cloud/bin/python');
const go = join(TOOLS, 'console/bin/go');
const php = join(TOOLS, 'console/bin/php');

// `check` succeeds where the language is installed; `build` is done once, `run` starts the program.
const PROGRAMS = {
  Python: {
    file: 'app.py',
    check: [python, '-c', 'import flask'],
    run: (port) => [python, '-m', 'flask', 'run', '--port', port],
  },
  'Node.js': { file: 'app.mjs', check: [process.execPath, '--version'], run: () => [process.execPath, 'app.mjs'] },
  Go: {
    file: 'main.go',
    check: [go, 'version'],
    build: [go, 'build', '-o', 'app', 'main.go'],
    run: () => ['./app'],
    port: '8080',
  },
  Ruby: {
    file: 'app.rb',
    check: ['ruby', '-e', 'require "sinatra/base"; require "puma"'],
    run: (port) => ['ruby', 'app.rb', '-p', port],
  },
  PHP: { file: 'app.php', check: [php, '--version'], run: (port) => [php, '-S', `127.0.0.1:${port}`, 'app.php'] },
};

const PATH = '/roboticks-webhook';
const SECRET = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD';
const BODY = '{"event_type":"alert.triggered","alert":{"id":123,"name":"\u00fc"}}';

const ID = 'dlv_01JH7VVHV81KJMEKY94GFHBBTY';
const now = () => Math.floor(Date.now() / 1000);

// The headers of a request that was sent so many seconds ago, signed with all of these secrets.
function signed(secrets, body, { ago = 0 } = {}) {
  const sentAt = now() - ago;
  const signature = (secret) => {
    const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : secret;
    return `v1,${createHmac('sha256', key).update(`${ID}.${sentAt}.${body}`).digest('base64')}`;
  };
  return {
    'Webhook-Id': ID,
    'Webhook-Timestamp': String(sentAt),
    'Webhook-Signature': secrets.map(signature).join(' '),
  };
}

// One after the other, because Go's has a fixed port.
test.describe.configure({ mode: 'default' });

for (const [language, code] of examples({ method: 'POST', url: `https://example.com${PATH}` })) {
  const program = PROGRAMS[language];

  test.describe(language, () => {
    let folder;
    let child;
    let port;

    test.beforeAll(() => {
      // Compiling Go's library takes a minute the first time.
      test.setTimeout(240_000);
      if (!installed(program.check)) {
        console.warn(`NOT RUN: the example in ${language} was not tried, because ${language} is not installed.`);
        test.skip(true, `${language} is not installed`);
      }
      folder = mkdtempSync(join(tmpdir(), 'example-'));
      writeFileSync(join(folder, program.file), code);
      if (program.build) {
        const env = { ...process.env, GOCACHE: join(TOOLS, 'console/go-cache') };
        execFileSync(program.build[0], program.build.slice(1), { cwd: folder, env, stdio: 'inherit' });
      }
    });

    const start = (secret) => {
      port = program.port ?? String(20_000 + Math.floor(Math.random() * 20_000));
      const { WEBHOOK_SECRET: _, ...env } = process.env;
      const [command, ...args] = program.run(port);
      child = spawn(command, args, {
        cwd: folder,
        env: { ...env, PORT: port, APP_ENV: 'production', ...(secret !== null && { WEBHOOK_SECRET: secret }) },
        stdio: 'ignore',
        detached: true,
      });
    };

    test.afterEach(async () => {
      if (!child || child.exitCode !== null) return;
      const gone = once(child, 'exit');
      process.kill(-child.pid, 'SIGKILL');
      await gone;
    });

    // The status of the answer; 0 when there is none.
    const post = (headers, body = BODY) =>
      fetch(`http://127.0.0.1:${port}${PATH}`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', ...headers },
      }).then(
        (response) => response.status,
        () => 0,
      );
    const isUp = (secret = SECRET) => expect.poll(() => post(signed([secret], BODY)), { timeout: 50_000 }).toBe(204);

    test(`the example in ${language} lets in what is signed, and nothing else`, async () => {
      start(SECRET);
      await isUp();
      expect(await post(signed(['another', SECRET], BODY))).toBe(204);
      expect(await post(signed([SECRET, 'another'], BODY))).toBe(204);
      expect(await post(signed(['another'], BODY))).toBe(401);
      expect(await post(signed([SECRET], `${BODY} `))).toBe(401);
      expect(await post({ ...signed([SECRET], BODY), 'Webhook-Id': 'dlv_another' })).toBe(401);
      expect(await post({ ...signed([SECRET], BODY), 'Webhook-Signature': 'v1,\u00fc' })).toBe(401);
      expect(await post({})).toBe(401);
    });

    test(`the example in ${language} refuses a request that is sent again later`, async () => {
      start(SECRET);
      await isUp();
      for (const [ago, status] of [
        [280, 204],
        [320, 401],
        [-280, 204],
        [-320, 401],
      ]) {
        expect(await post(signed([SECRET], BODY, { ago }))).toBe(status);
      }
      const replayed = signed([SECRET], BODY, { ago: 3600 });
      for (const time of [String(now()), 'x', '9'.repeat(30), `-${'9'.repeat(30)}`]) {
        expect(await post({ ...replayed, 'Webhook-Timestamp': time })).toBe(401);
      }
    });

    test(`the example in ${language} takes a secret that is not base64`, async () => {
      start('your-signing-secret');
      await isUp('your-signing-secret');
      expect(await post(signed([SECRET], BODY))).toBe(401);
    });

    test(`the example in ${language} outlives a request that breaks off, and bounds what it reads`, async () => {
      start(SECRET);
      await isUp();
      for (let times = 0; times < 3; times += 1) {
        const socket = connect(Number(port), '127.0.0.1');
        await once(socket, 'connect');
        socket.write(
          `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{`,
        );
        await new Promise((next) => setTimeout(next, 100));
        socket.destroy();
      }
      const long = `{"event_type":"x","alert":{"id":1},"long":"${'x'.repeat(2 << 20)}"}`;
      expect([0, 400, 413]).toContain(await post(signed([SECRET], long), long));
      await isUp();
      expect(child.exitCode).toBe(null);
    });

    // An empty key is one that anybody can sign with.
    for (const [what, secret] of [
      ['not set', null],
      ['empty', ''],
      ['only a prefix', 'whsec_'],
    ]) {
      test(`the example in ${language} lets nothing in when the secret is ${what}`, async () => {
        start(secret);
        const forged = signed([''], BODY);
        const ended = () => child.exitCode !== null;
        await expect.poll(async () => ended() || (await post(forged)), { timeout: 50_000 }).not.toBe(0);
        if (ended()) expect(child.exitCode).not.toBe(0);
        else expect(await post(forged)).toBe(500);
      });
    }
  });
}

function installed([command, ...args]) {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
