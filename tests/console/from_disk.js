// Serves the page's files from functions/api/console instead of those built into the function, to try a change without
// building: FROM_DISK=1 tests/console/run … The page itself, index.html, is still the built one, and files are not
// cached.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '../../functions/api/console');
const TYPES = { css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };

export async function serveFromDisk(context) {
  await context.route(
    (url) => url.pathname.startsWith('/console/'),
    (route) => {
      // Without the version in the path.
      const file = new URL(route.request().url()).pathname.split('/').slice(3).join('/');
      return route.fulfill({
        contentType: TYPES[file.split('.').at(-1)],
        body: readFileSync(join(FOLDER, file), 'utf8'),
      });
    },
  );
}
