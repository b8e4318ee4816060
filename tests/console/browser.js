// Unpacks Chromium from the package `@sparticuz/chromium`, with its libraries and font, into a folder, and returns how
// to start it. On other systems than x86-64 Linux, set the variable CHROMIUM to the path of an installed one.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

const PACKED = join(import.meta.dirname, 'node_modules/@sparticuz/chromium/bin');
const UNPACKED = join(import.meta.dirname, '../../.tools/console/browser');

// Playwright's options for starting it.
export function launchOptions() {
  // Chromium has no sandbox for root, as in a container. Only our own pages are opened.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  if (process.env.CHROMIUM) return { executablePath: process.env.CHROMIUM, args };
  return {
    executablePath: join(UNPACKED, 'chromium'),
    args: [...args, '--headless', '--disable-gpu'],
    env: { ...process.env, LD_LIBRARY_PATH: join(UNPACKED, 'lib'), FONTCONFIG_FILE: join(UNPACKED, 'fonts.conf') },
  };
}

function unpack(folder) {
  if (process.env.CHROMIUM) return;
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    console.error('tools: no Chromium is packaged for this system: install one, and set CHROMIUM to its path.');
    process.exit(1);
  }
  mkdirSync(folder, { recursive: true });
  const read = (name) => brotliDecompressSync(readFileSync(join(PACKED, name)));
  for (const archive of ['al2023.tar.br', 'fonts.tar.br']) {
    execFileSync('tar', ['-x', '-C', folder], { input: read(archive) });
  }
  writeFileSync(join(folder, 'chromium'), read('chromium.br'));
  chmodSync(join(folder, 'chromium'), 0o755);
  writeFileSync(join(folder, 'fonts.conf'), fonts(folder));
}

// The same font on every machine, and the system's fonts for the characters that it lacks.
function fonts(folder) {
  const prefer = (family) =>
    `<alias binding="strong"><family>${family}</family><prefer><family>Open Sans</family></prefer></alias>`;
  return `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${join(folder, 'fonts')}</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>${join(folder, 'fonts-cache')}</cachedir>
  ${prefer('system-ui')}${prefer('sans-serif')}
</fontconfig>
`;
}

if (process.argv[1] === import.meta.filename && process.argv[2] && !existsSync(join(process.argv[2], 'chromium'))) {
  unpack(process.argv[2]);
}
