// The page's plain functions, without a browser.

import { expect, test } from '@playwright/test';

import { curl } from '../../functions/api/console/curl.js';
import {
  calledUrl,
  changes,
  changesOrigin,
  creation,
  draftOf,
  exposesSecrets,
  mistakesIn,
  rebase,
} from '../../functions/api/console/draft.js';
import {
  duration,
  localInput,
  localTime,
  milliseconds,
  parseLocal,
  utcTime,
  visible,
} from '../../functions/api/console/format.js';
import { indented, member, without } from '../../functions/api/console/json_text.js';
import { backoff } from '../../functions/api/console/polling.js';
import { refreshDelay } from '../../functions/api/console/refresh_delay.js';

const check = (name, actual, expected) => test(name, () => expect(actual).toEqual(expected));

check('plain text stays', visible('Größe 👩‍🔧 שלום\n\tx'), 'Größe 👩‍🔧 שלום\n\tx');
check('directions are shown', visible('a\u202Eb\u2066c\u200F'), 'a⟨U+202E⟩b⟨U+2066⟩c⟨U+200F⟩');
check(
  'control characters are shown',
  visible('a\u0000b\u001b[31m\u0085\u007f'),
  'a⟨U+0000⟩b⟨U+001B⟩[31m⟨U+0085⟩⟨U+007F⟩',
);
check('what takes no room is shown', visible('a\u200bb\ufeffc\u{e0041}'), 'a⟨U+200B⟩b⟨U+FEFF⟩c⟨U+E0041⟩');

check(
  'letters without ink are shown',
  visible('\u3164\u115f\u1160\uffa0\u2800\u034f'),
  '⟨U+3164⟩⟨U+115F⟩⟨U+1160⟩⟨U+FFA0⟩⟨U+2800⟩⟨U+034F⟩',
);

check('a tenth of a millisecond', milliseconds(0.44), '0.4 ms');
check('milliseconds', milliseconds(12.6), '13 ms');
check('seconds', milliseconds(30_001), '30.0 s');
check('nothing left', duration(0), '0 s');
check('never negative', duration(-5), '0 s');
check('seconds only', duration(9_400), '9 s');
check('two units', duration(3_725_000), '1 h 2 min');
check('whole hours', duration(7_200_000), '2 h');
check('days', duration(604_799_000), '6 d 23 h');

test('the time alone today, with the day before', () => {
  const now = new Date(2026, 10, 24, 12).getTime();
  expect(localTime(new Date(2026, 10, 24, 9, 5, 7).toISOString(), now)).toBe('09:05:07');
  expect(localTime(new Date(2026, 10, 23, 9, 5, 7).toISOString(), now)).toMatch(/23.*09:05:07/);
  expect(localTime(new Date(2025, 10, 23, 9, 5, 7).toISOString(), now)).toMatch(/2025.*09:05:07/);
});

check('a moment for everybody', utcTime('2025-01-10T10:23:45.678Z'), '2025-01-10 10:23:45 UTC');
check('a minute from its first moment', parseLocal('2025-01-10T10:23'), new Date(2025, 0, 10, 10, 23).toISOString());
check(
  'a minute through its last',
  parseLocal('2025-01-10T10:23', true),
  new Date(2025, 0, 10, 10, 23, 59, 999).toISOString(),
);
check('that minute again', localInput(parseLocal('2025-01-10T10:23', true)), '2025-01-10T10:23');
check('a year that is being typed', parseLocal('0020-01-10T10:23'), '');
check('a year too far', parseLocal('+020250-01-10T10:23'), '');
check('no time', parseLocal(''), '');
check('garbage in the address', localInput('garbage'), '');

const due = (inMs) => ({ status: 'waiting', next_attempt_at: new Date(Date.now() + inMs).toISOString() });
const looks = (name, deliveries, quiet, expected) =>
  test(name, () => expect(refreshDelay(deliveries(), quiet) / 1000).toBeCloseTo(expected, 1));
looks('looks again when the next attempt is due', () => [due(7000), due(9000), { status: 'failed' }], undefined, 7);
looks(
  'at once for what is being sent',
  () => [due(7000), { status: 'sending', next_attempt_at: null }],
  undefined,
  1.5,
);
looks('not too often for what is overdue', () => [due(-60_000)], undefined, 1.5);
looks('not too seldom for what waits long', () => [due(3_600_000)], undefined, 15);
looks('for new ones', () => [due(3_600_000)], 5000, 5);
looks('when there is none', () => [], 5000, 5);

check('no pause without an error', backoff(5000, 0, null), 5000);
check(
  'a longer one with each error',
  [1, 2, 3, 9].map((failures) => backoff(5000, failures, {})),
  [10_000, 20_000, 40_000, 60_000],
);
check('as long as the answer says', backoff(5000, 1, { retryAfter: 120 }), 120_000);

check(
  'a member as it stands',
  member('{"a":1, "payload" : {"x":1.0,"payload":"}"} ,"z":[]}', 'payload'),
  '{"x":1.0,"payload":"}"}',
);
check(
  'the last member',
  member('{"b":{"payload":3},"payload":12345678901234567890}', 'payload'),
  '12345678901234567890',
);
check('not a deeper one', member('{"b":[{"payload":3}]}', 'payload'), undefined);
check('not a value of that name', member('{"b":"payload","payload":"\\"x,\\""}', 'payload'), '"\\"x,\\""');
check('none', member('{}', 'payload'), undefined);
check(
  'without a member',
  without('{"a":1, "payload" : {"x":1.0} ,"z":[]}', 'payload'),
  '{"a":1, "payload" :null,"z":[]}',
);
check('without one that is not there', without('{"a":{"payload":1}}', 'payload'), '{"a":{"payload":1}}');
check(
  'indented, values untouched',
  indented('{"a":[],"b":{}, "c":[1.50,"\\u00fc,{"],"c":1e5}'),
  '{\n  "a": [],\n  "b": {},\n  "c": [\n    1.50,\n    "\\u00fc,{"\n  ],\n  "c": 1e5\n}',
);
test('the longest payload', () => {
  const text = JSON.stringify({ payload: { long: 'x\\'.repeat(120_000), many: Array(5000).fill(1) } });
  expect(member(text, 'payload').length).toBe(text.length - 12);
  expect(indented(text).split('\n').length).toBe(5007);
});
test('a payload of any depth', () => {
  const levels = 131_072;
  const nested = '['.repeat(levels) + ']'.repeat(levels);
  const text = `{"id":"dlv_1","payload":${nested}}`;
  const started = performance.now();
  expect(member(text, 'payload')).toBe(nested);
  expect(JSON.parse(without(text, 'payload'))).toEqual({ id: 'dlv_1', payload: null });
  const shown = indented(nested);
  expect(shown.length).toBeLessThan(nested.length + 5000);
  expect(shown.replace(/\s/g, '')).toBe(nested);
  // Loose, for a busy machine: with indentation at every level it would be 34 GB.
  expect(performance.now() - started).toBeLessThan(5000);
});
test('only so many levels are indented', () => {
  const lines = indented(`${'['.repeat(41)}1, 2${']'.repeat(41)}`).split('\n');
  expect(lines[39]).toBe(`${'  '.repeat(39)}[`);
  expect(lines[40]).toBe(`${'  '.repeat(40)}[1, 2]`);
  expect(lines.length).toBe(81);
});
check('what is no JSON is shown all the same', indented('not { json "'), 'not{\n  json"');

test('a quotation mark does not end the argument', () => {
  const integration = {
    method: 'POST',
    url: "https://example.com/'",
    headers: { 'x-key': { last4: null } },
    has_signing_secret: false,
  };
  const command = curl(
    integration,
    { id: 'dlv_1', event_type: 'alert.triggered', attempts: [] },
    `{"a":"'; rm -rf ~"}`,
  );
  expect(command).toContain(`--data-binary '{"a":"'\\''; rm -rf ~"}'`);
  expect(command).toContain(`curl --globoff --request POST 'https://example.com/'\\'''`);
  expect(command).toContain("'X-Key: ••••'");
  expect(command).not.toContain('Signature');
});

const STORED = {
  name: 'Before',
  url: 'https://example.com/',
  method: 'POST',
  enabled: true,
  headers: { 'x-a': { last4: '1234' }, 'x-b': { last4: null } },
  event_types: ['alert.triggered'],
  severities: ['critical'],
  project_ids: ['12345678901234567890', 7],
};
const before = draftOf(STORED);
const after = (fields) => changes(before, { ...before, ...fields });
const header = (name, value) => ({ key: 'new', name, value, stored: false });

check('nothing was edited', after({}), {});
check('the name was edited', after({ name: 'After' }), { name: 'After' });
check('white space around it is not', after({ name: ' Before\n', url: '\ufeff https://example.com/\u00a0' }), {});
check('all events again', after({ events: ['alert.resolved', 'alert.triggered', 'alert.acknowledged'] }), {
  event_types: [],
});
check('no severity any more', after({ severities: ' ' }), { severities: [] });
check('projects, one of which is none', after({ projects: '7, x' }), { project_ids: [7, 'x'] });
check('a header less', after({ headers: before.headers.slice(1) }), { headers: { 'x-a': null } });
check('a header more', after({ headers: [...before.headers, header(' x-c', 'v')] }), { headers: { 'x-c': 'v' } });
check('an empty line of a header', after({ headers: [...before.headers, header('', '')] }), {});
check('a header without a name is told to the API', after({ headers: [...before.headers, header('', 'v')] }), {
  headers: { '': 'v' },
});
check('another value', after({ headers: [{ ...before.headers[0], value: 'v' }, before.headers[1]] }), {
  headers: { 'x-a': 'v' },
});
check('removed and written again', after({ headers: [before.headers[1], header('x-a', 'v')] }), {
  headers: { 'x-a': 'v' },
});

check('a new one asks for a secret', creation(draftOf(null)).generate_signing_secret, true);
check('a secret as pasted', creation({ ...draftOf(null), secret: 'own', ownSecret: ' s\n' }).signing_secret, 's');
check(
  'no secret',
  Object.keys(creation({ ...draftOf(null), secret: 'none' })).filter((key) => /secret/.test(key)),
  [],
);

const mistaken = (fields) => mistakesIn({ ...before, ...fields }).map(({ field }) => field);
check('no mistake', mistaken({}), []);
check('a header twice', mistaken({ headers: [...before.headers, header('X-A ', 'v')] }), ['headers.x-a']);
check('no event', mistaken({ events: [] }), ['event_types']);

// Merging edits with what another user has saved meanwhile.
const onTop = (mine, theirs) => rebase(before, { ...before, ...mine }, draftOf({ ...STORED, ...theirs }));

check('theirs where only they changed it', onTop({}, { name: 'Theirs' }).draft.name, 'Theirs');
check('mine where only I changed it', onTop({ name: 'Mine' }, { url: 'https://other.example/' }).draft.name, 'Mine');
check('mine where both did, and it is said', onTop({ name: 'Mine' }, { name: 'Theirs' }), {
  draft: { ...before, name: 'Mine' },
  both: ['name'],
  lost: false,
});
check('no conflict over the same change', onTop({ method: 'PUT' }, { method: 'PUT' }).both, []);
test('headers: theirs, less what I removed, with what I wrote', () => {
  const headers = [{ ...before.headers[1], value: 'new' }, header('x-mine', 'v')];
  const theirs = { 'x-a': { last4: '1234' }, 'x-b': { last4: '9' }, 'x-c': { last4: null } };
  const { draft } = onTop({ headers }, { headers: theirs });
  expect(draft.headers.map(({ name, value }) => [name, value])).toEqual([
    ['x-b', 'new'],
    ['x-c', ''],
    ['x-mine', 'v'],
  ]);
});

test('what I wrote for one place does not follow their URL to another', () => {
  const headers = [
    { ...before.headers[0], value: 'new' },
    before.headers[1],
    header('x-mine', 'v'),
    header('x-empty', ''),
  ];
  const values = ({ draft }) => draft.headers.map(({ name, value }) => [name, value]);
  const elsewhere = onTop({ headers }, { url: 'https://evil.example/' });
  expect(elsewhere.lost).toBe(true);
  expect(values(elsewhere)).toEqual([
    ['x-a', ''],
    ['x-b', ''],
    ['x-mine', ''],
    ['x-empty', ''],
  ]);
  expect(mistakesIn(elsewhere.draft).map(({ field }) => field)).toEqual(['headers.x-mine']);
  // The origin is the same, or the value was given for the new one.
  for (const kept of [
    onTop({ headers }, { url: 'https://EXAMPLE.com:443/other' }),
    onTop({ headers, url: 'https://mine.example/' }, { url: 'https://evil.example/' }),
  ]) {
    expect(kept.lost).toBe(false);
    expect(values(kept)).toEqual([
      ['x-a', 'new'],
      ['x-b', ''],
      ['x-mine', 'v'],
      ['x-empty', ''],
    ]);
  }
});

check('another path is the same place', changesOrigin('https://a.example/1', ' https://A.example:443/2?3'), false);
check('another port is another place', changesOrigin('https://a.example/', 'https://a.example:8443/'), true);
check('another scheme is another place', changesOrigin('https://a.example/', 'http://a.example/'), true);
check('another host is another place', changesOrigin('https://a.example/', 'https://a.example.evil.example/'), true);
check('what is called', calledUrl(' https://example.com/a/../b'), 'https://example.com/b');
check('as it is called', calledUrl('https://example.com/b?c'), null);
check('a slash is no difference', calledUrl('https://example.com'), null);
check('a name with an umlaut', calledUrl('HTTPS://Bücher.example/ü'), 'https://xn--bcher-kva.example/%C3%BC');
check('what the API refuses', ['https:/a.example/../b', 'https://a.example/../#b', 'ftp://a/../b'].map(calledUrl), [
  null,
  null,
  null,
]);

const exposed = (fields, current) =>
  exposesSecrets({ url: 'http://a.example/', secret: 'none', headers: [], ...fields }, current);
check('nothing to expose', exposed({}), false);
check('headers are exposed', exposed({ headers: [header('x-a', '')] }), true);
check(
  'what is signed is exposed',
  [exposed({ secret: 'generate' }), exposed({}, { has_signing_secret: true })],
  [true, true],
);
check('encrypted', exposed({ url: 'https://a.example/', secret: 'generate' }), false);

check('no URL is no place yet', changesOrigin('https://a.example/', 'https:/'), false);
