// A delivery's request as a `curl` command. Header values are masked and the signature is a placeholder, since the page
// does not know the secrets.

import { masked } from './format.js';

export function curl(integration, delivery, payload) {
  const { attempts } = delivery;
  const headers = [
    ['Content-Type', 'application/json'],
    ...Object.entries(integration.headers).map(([name, { last4 }]) => [onTheWire(name), masked(last4)]),
    ['X-Roboticks-Event', delivery.event_type],
    ['X-Roboticks-Delivery', delivery.id],
    ['X-Roboticks-Attempt', String(attempts.at(-1)?.number ?? 1)],
    ...(delivery.test ? [['X-Roboticks-Test', 'true']] : []),
    ...(integration.has_signing_secret ? [['X-Roboticks-Signature', 'sha256=<signature>']] : []),
  ];
  return [
    // Without --globoff, curl would expand brackets and braces in the URL.
    `curl --globoff --request ${integration.method} ${shellQuote(integration.url)}`,
    ...headers.map(([name, value]) => `--header ${shellQuote(`${name}: ${value}`)}`),
    `--data-binary ${shellQuote(payload)}`,
  ].join(' \\\n  ');
}

// The header name as it is sent: a capital letter at the beginning and after each hyphen.
function onTheWire(name) {
  return name.replace(/(^|-)[a-z]/g, (start) => start.toUpperCase());
}

// In a shell, only the single quote itself needs escaping within single quotes.
function shellQuote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
