// How things are said: times, lengths of time, the words for states, and text that others wrote.

// Text in which nothing is hidden: control characters, those that turn the direction of what follows or take no room,
// and letters without ink (Hangul fillers, the empty Braille cell) are shown by their code. Joiners stay, since scripts
// and emoji need them, and so do tabs and line ends.
const HIDDEN = new RegExp(
  '[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f' +
    '\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]',
  'gu',
);

export function shown(text) {
  return String(text).replace(
    HIDDEN,
    (found) => `⟨U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  );
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

// A length of time measured by a stopwatch.
export function milliseconds(ms) {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  // A tenth is all that is left of the fastest phases.
  return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`;
}

// A length of time to wait for, in its two largest units.
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([count], index) => index === 0 || count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const YEAR = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });

// A moment in the reader's own time zone: the time alone for today, with the day for this year, else with the year.
export function moment(time, now) {
  const date = new Date(time);
  const today = new Date(now);
  if (date.toDateString() === today.toDateString()) return CLOCK.format(date);
  const day = date.getFullYear() === today.getFullYear() ? DAY : YEAR;
  return `${day.format(date)}, ${CLOCK.format(date)}`;
}

// The same moment as everybody's clock tells it.
export function inUtc(time) {
  return `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

// The instant that a field for local time holds, in the words of the API; empty when it holds none. A year that is being
// typed begins with zeros, and nothing was sent before 1970. A minute is meant from its first moment, or `through` its last.
export function instant(text, through = false) {
  const time = new Date(text).getTime() + (through ? 59_999 : 0);
  return time >= 0 && time < 253_402_300_800_000 ? new Date(time).toISOString() : '';
}

// An instant as a field for local time holds it. Addresses are written by hand, too: what is no instant is left out.
export function local(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return '';
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export const METHODS = ['POST', 'PUT', 'PATCH'];

export const EVENTS = [
  ['alert.triggered', 'Alert condition met'],
  ['alert.resolved', 'Alert condition cleared'],
  ['alert.acknowledged', 'Alert acknowledged by user'],
];

export const STATUSES = [
  ['sending', 'Sending'],
  ['waiting', 'Waiting'],
  ['delivered', 'Delivered'],
  ['failed', 'Failed'],
  ['cancelled', 'Cancelled'],
];

const PENDING = ['sending', 'waiting'];

export const isPending = ({ status }) => PENDING.includes(status);

const OUTCOMES = {
  accepted: 'Accepted',
  rejected: 'Rejected',
  timed_out: 'Timed out',
  unreachable: 'Unreachable',
  blocked: 'Blocked',
  unknown: 'Unknown',
};

// What the endpoint did, with its status when it gave one: "Rejected, 500".
export function outcome({ outcome: kind, status_code: status }) {
  const word = OUTCOMES[kind] ?? shown(kind ?? 'Under way');
  return status ? `${word}, ${status}` : word;
}

const HEALTH = {
  // Not that there were none: what was sent to another URL before, or as a test, tells nothing.
  unknown: ['Awaiting an alert', 'quiet'],
  healthy: ['Healthy', 'good'],
  failing: ['Failing', 'bad'],
  slow: ['Slow', 'bad'],
  disabled: ['Disabled', 'off'],
};

// The state of an integration, as [the word for it, what kind of state that is].
export function health({ health: { state, reason } }) {
  if (state === 'unknown' && reason) return ['Awaiting an answer', 'busy'];
  return HEALTH[state] ?? [shown(state), 'quiet'];
}

// Why it is so. Of failures the first is told: others may have come after it.
export function why({ health: { state, reason } }) {
  if (!reason) return '';
  return state === 'failing' ? `First failure: ${shown(reason.message)}` : shown(reason.message);
}

// A secret of which at most the end is known.
export function masked(last4) {
  return `••••${last4 ?? ''}`;
}
