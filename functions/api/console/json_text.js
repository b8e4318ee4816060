// JSON as text. A payload is shown and copied as the bytes that were sent: parsing it and writing it out again would
// change numbers, escapes and names that occur twice.

const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const OTHER = /[^\s"{}[\],:]+/y;

// The pieces of a JSON text: brackets, commas, colons, strings, other values; without the space between them.
function* pieces(text, from = 0) {
  for (let at = from; at < text.length; ) {
    if (/\s/.test(text[at])) {
      at += 1;
      continue;
    }
    const pattern = text[at] === '"' ? STRING : OTHER;
    pattern.lastIndex = at;
    const piece = '{}[],:'.includes(text[at]) ? text[at] : (pattern.exec(text)?.[0] ?? text[at]);
    yield { at, piece };
    at += piece.length;
  }
}

// The text of a member of the outermost object, as it stands there; undefined when there is none.
export function member(text, name) {
  let depth = 0;
  let label = null;
  let start = null;
  for (const { at, piece } of pieces(text)) {
    const ends = (piece === ',' && depth === 1) || (piece === '}' && depth === 1);
    if (ends && start !== null) return text.slice(start, at).trim();
    if (piece === '}' || piece === ']') depth -= 1;
    if (depth === 1 && piece === ':' && label === JSON.stringify(name)) start = at + 1;
    if (depth === 1 && piece.startsWith('"')) label = piece;
    if (piece === '{' || piece === '[') depth += 1;
  }
  return undefined;
}

// The same values on lines of their own, indented by two spaces.
export function indented(text) {
  let depth = 0;
  let before = '';
  let result = '';
  for (const { piece } of pieces(text)) {
    const closes = piece === '}' || piece === ']';
    if (closes) depth -= 1;
    const opened = before === '{' || before === '[';
    if (before === ',' || opened !== closes) result += `\n${'  '.repeat(depth)}`;
    result += piece === ':' ? ': ' : piece;
    if (piece === '{' || piece === '[') depth += 1;
    before = piece;
  }
  return result;
}
