// Formatting: times, durations, the words for states, and text from outside.

// Invisible characters: control characters, those that change the text direction or have no width, and blank letters
// (Hangul fillers, the empty Braille cell). Joiners are not among them, since scripts and emoji need them, nor are tabs
// and line ends.
const INVISIBLE = new RegExp(
  '[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f' +
    '\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]',
  'gu',
);

// The text with each invisible character replaced by its code.
export function visible(text) {
  return String(text).replace(
    INVISIBLE,
    (found) => `⟨U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  );
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

// A measured duration.
export function milliseconds(ms) {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  // The fastest phases take less than a millisecond.
  return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`;
}

// A time to wait, in its two largest units.
export function duration(ms) {
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

// A time in the reader's time zone: without a date if it is today, without a year if it is this year.
export function localTime(time, now) {
  const date = new Date(time);
  const today = new Date(now);
  if (date.toDateString() === today.toDateString()) return CLOCK.format(date);
  const day = date.getFullYear() === today.getFullYear() ? DAY : YEAR;
  return `${day.format(date)}, ${CLOCK.format(date)}`;
}

export function utcTime(time) {
  return `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

// The value of a `datetime-local` field as the API expects a time; empty when it is none. A year that is still being typed
// begins with zeros, so times before 1970 are not accepted. Fields have whole minutes: the result is the first millisecond
// of the minute, or with `endOfMinute` the last.
export function parseLocal(text, endOfMinute = false) {
  const time = new Date(text).getTime() + (endOfMinute ? 59_999 : 0);
  return time >= 0 && time < 253_402_300_800_000 ? new Date(time).toISOString() : '';
}

// A time as the value of a `datetime-local` field. It may come from a URL that somebody typed: empty when it is no time.
export function localInput(time) {
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

// The outcome of an attempt, with the status code if there was one: "Rejected, 500".
export function outcome({ outcome: kind, status_code: status }) {
  const word = OUTCOMES[kind] ?? visible(kind ?? 'In progress');
  return status ? `${word}, ${status}` : word;
}

const HEALTH = {
  // There may have been alerts, but tests and what was sent to a previous URL do not count.
  unknown: ['Awaiting an alert', 'quiet'],
  healthy: ['Healthy', 'good'],
  failing: ['Failing', 'bad'],
  slow: ['Slow', 'bad'],
  disabled: ['Disabled', 'off'],
};

// The state of an integration as [its label, its kind for `State`].
export function health({ health: { state, reason } }) {
  if (state === 'unknown' && reason) return ['Awaiting a response', 'busy'];
  return HEALTH[state] ?? [visible(state), 'quiet'];
}

// Why it is in that state. Of several failures only the first is recorded.
export function healthReason({ health: { state, reason } }) {
  if (!reason) return '';
  return state === 'failing' ? `First failure: ${visible(reason.message)}` : visible(reason.message);
}

// A secret of which at most the last four characters are known.
export function masked(last4) {
  return `••••${last4 ?? ''}`;
}
