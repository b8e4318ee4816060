// Unpacks the Chromium of the package `@sparticuz/chromium` (with the libraries and the font that it brings) into the
// folder given, and says how it is started. Elsewhere than on x86-64 Linux the variable CHROMIUM names an installed
// one.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

const PACKED = join(import.meta.dirname, 'node_modules/@sparticuz/chromium/bin');
const UNPACKED = join(import.meta.dirname, '../../.tools/console/browser');

// What Playwright needs to know to start it.
export function launchOptions() {
  // Root has no sandbox, as in a container; the pages that are opened are our own.
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
    console.error('tools: no Chromium is packaged for this system: install one, and name it in the variable CHROMIUM.');
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

// The same letters on every machine; those of the system for what these do not have.
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
