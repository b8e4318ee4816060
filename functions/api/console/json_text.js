// Handles JSON as text. A payload is shown and copied as it was sent: parsing and serializing it would change numbers,
// escapes and duplicate names.

const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const OTHER = /[^\s"{}[\],:]+/y;

// The tokens of a JSON text: brackets, commas, colons, strings and other values, without white space.
function* tokens(text, from = 0) {
  for (let at = from; at < text.length; ) {
    if (/\s/.test(text[at])) {
      at += 1;
      continue;
    }
    const pattern = text[at] === '"' ? STRING : OTHER;
    pattern.lastIndex = at;
    const token = '{}[],:'.includes(text[at]) ? text[at] : (pattern.exec(text)?.[0] ?? text[at]);
    yield { at, token };
    at += token.length;
  }
}

// The text of a member of the outermost object, unchanged; undefined when there is none.
export function member(text, name) {
  const [start, end] = find(text, name) ?? [];
  return start === undefined ? undefined : text.slice(start, end).trim();
}

// The text with `null` for a member of the outermost object, if there is one.
export function without(text, name) {
  const [start, end] = find(text, name) ?? [];
  return start === undefined ? text : `${text.slice(0, start)}null${text.slice(end)}`;
}

// Where the value of a member of the outermost object begins and ends.
function find(text, name) {
  let depth = 0;
  let label = null;
  let start = null;
  for (const { at, token } of tokens(text)) {
    const ends = (token === ',' && depth === 1) || (token === '}' && depth === 1);
    if (ends && start !== null) return [start, at];
    if (token === '}' || token === ']') depth -= 1;
    if (depth === 1 && token === ':' && label === JSON.stringify(name)) start = at + 1;
    if (depth === 1 && token.startsWith('"')) label = token;
    if (token === '{' || token === '[') depth += 1;
  }
  return null;
}

// Levels that are indented; what is deeper stays on one line. Otherwise indentation would grow with the square of a
// payload's depth: a payload of 256 KiB can have 131,072 levels.
const MAX_LEVELS = 40;

// The same tokens, one value a line, indented by two spaces.
export function indented(text) {
  let depth = 0;
  let before = '';
  let result = '';
  for (const { token } of tokens(text)) {
    const closes = token === '}' || token === ']';
    if (closes) depth -= 1;
    const opened = before === '{' || before === '[';
    const isDeep = closes ? depth >= MAX_LEVELS : depth > MAX_LEVELS;
    if (!isDeep && (before === ',' || opened !== closes)) result += `\n${'  '.repeat(depth)}`;
    else if (before === ',') result += ' ';
    result += token === ':' ? ': ' : token;
    if (token === '{' || token === '[') depth += 1;
    before = token;
  }
  return result;
}
