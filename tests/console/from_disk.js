// The page's files as they lie in functions/api/console, in place of those that were built into the function: to try an
// edit without building. FROM_DISK=1 tests/console/run …; the page itself, index.html, is the built one, and what is said
// of caches is not true then.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '../../functions/api/console');
const TYPES = { css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };

export async function serveFromDisk(context) {
  await context.route(
    (url) => url.pathname.startsWith('/console/'),
    (route) => {
      // Below the version.
      const file = new URL(route.request().url()).pathname.split('/').slice(3).join('/');
      return route.fulfill({
        contentType: TYPES[file.split('.').at(-1)],
        body: readFileSync(join(FOLDER, file), 'utf8'),
      });
    },
  );
}
