// A delivery's request as a `curl` command, without what is secret: header values are masked, and the signature is left
// for whoever has the secret.

import { masked } from './words.js';

export function curl(integration, delivery, payload) {
  const { attempts } = delivery;
  const headers = [
    ['Content-Type', 'application/json'],
    ...Object.entries(integration.headers).map(([name, { last4 }]) => [onTheWire(name), masked(last4)]),
    ['X-Roboticks-Event', delivery.event_type],
    ['X-Roboticks-Delivery', delivery.id],
    ['X-Roboticks-Attempt', String(attempts.at(-1)?.number ?? 1)],
    ...(integration.has_signing_secret ? [['X-Roboticks-Signature', 'sha256=<signature>']] : []),
  ];
  return [
    // Brackets and braces in a URL are the URL's, and no patterns of curl's.
    `curl --globoff --request ${integration.method} ${quoted(integration.url)}`,
    ...headers.map(([name, value]) => `--header ${quoted(`${name}: ${value}`)}`),
    `--data-binary ${quoted(payload)}`,
  ].join(' \\\n  ');
}

// As it is sent: with a capital at the beginning and after each hyphen.
function onTheWire(name) {
  return name.replace(/(^|-)[a-z]/g, (start) => start.toUpperCase());
}

// In single quotes a shell takes everything as it is, but the quote itself.
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
