// The numbers of the looks: unpacked when they are wanted, averaged, merged to words, subtracted.

const DATA = JSON.parse(document.getElementById("data").textContent, (key, value) =>
  value && typeof value.infinite === "number" ? value.infinite * Infinity : value,
);
const LOOKS = DATA.looks;
const START = "⟨start⟩";
const PARTS = {
  encoder: {
    name: "Encoder",
    says: "each source token looks at the source",
    rows: "source token that looks",
    columns: "source token looked at",
  },
  decoder: {
    name: "Decoder",
    says: "each step looks at what was written before it",
    rows: "answer token being written",
    columns: "what was written before",
  },
  cross: {
    name: "Cross",
    says: "each step of the answer looks at the source",
    rows: "answer token being written",
    columns: "source token looked at",
  },
};
const unpacked = new Map();

function bytes(block) {
  const text = document.getElementById(`block${block}`).textContent;
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const found = new Uint8Array(characters.length);
  for (let place = 0; place < found.length; place++) found[place] = characters.charCodeAt(place);
  return found;
}

function half(code) {
  const exponent = (code >> 10) & 31,
    fraction = code & 1023,
    sign = code & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// What each code stands for: the root of a share in a byte, or float16.
const TABLES = {
  8: Float32Array.from({ length: 256 }, (_, code) => (code / 255) ** 2),
  16: Float32Array.from({ length: 65536 }, (_, code) => half(code)),
};

/** The codes of a block, one a number; kept, as they are small. */
function codes(block, bits) {
  if (!unpacked.has(block)) {
    const raw = bytes(block);
    unpacked.set(block, bits === 8 ? raw : new Uint16Array(raw.buffer, raw.byteOffset, raw.byteLength >> 1));
  }
  return unpacked.get(block);
}

/** Numbers in rows. `triangle`: what lies above the diagonal was forbidden. */
function matrix(rows, columns, cells = new Float32Array(rows * columns), triangle = false) {
  return { rows, columns, cells, triangle };
}

function layersOf(look, part) {
  return look.attentions.filter((each) => each.part === part);
}

function partsOf(look) {
  return Object.keys(PARTS).filter((part) => layersOf(look, part).length);
}

function layerOf(look, part, layer) {
  return look.attentions.find((each) => each.part === part && each.layer === layer);
}

/** Adds one head of a layer, times a factor, onto a matrix. */
function addHead(onto, layer, head, measure, factor) {
  const place = layer.heads.indexOf(head),
    lengths = measure === "norms" && keyLengths(layer, place),
    packed = lengths ? layer.weights : layer[measure];
  const table = TABLES[DATA.bits],
    all = codes(packed.block, DATA.bits),
    scale = packed.top * factor;
  const { rows, columns } = layer;
  let at = place * (layer.triangle ? (rows * (rows + 1)) / 2 : rows * columns);
  for (let row = 0; row < rows; row++) {
    const width = layer.triangle ? row + 1 : columns,
      start = row * columns;
    for (let column = 0; column < width; column++)
      onto.cells[start + column] += table[all[at++]] * scale * (lengths ? lengths[column] : 1);
  }
}

/** What weights are multiplied with to be norms, a number a key; null if norms are packed themselves. */
function keyLengths(layer, place) {
  if (layer.norms.lengths === undefined) return null;
  const all = codes(layer.norms.lengths, 16).subarray(place * layer.columns, (place + 1) * layer.columns);
  return Float32Array.from(all, (code) => half(code) * layer.norms.top);
}

/** One head, or the mean over the heads and layers that are "mean". Null if the look has no such thing. */
function attention(look, part, layer, head, measure = "weights") {
  const layers = layersOf(look, part).filter((each) => layer === "mean" || each.layer === layer);
  const wanted = layers.flatMap((each) =>
    each.heads.filter((one) => head === "mean" || one === head).map((one) => [each, one]),
  );
  if (!wanted.length || wanted.some(([each]) => !each[measure])) return null;
  const first = wanted[0][0];
  const found = matrix(
    first.rows,
    first.columns,
    undefined,
    layers.every((each) => each.triangle),
  );
  for (const [each, one] of wanted) addHead(found, each, one, measure, 1 / wanted.length);
  return found;
}

function opinion(look, name) {
  const { block, top, rows, columns } = look.opinions[name];
  return matrix(
    rows,
    columns,
    Float32Array.from(codes(block, 16), (code) => half(code) * top),
  );
}

/** Spans of tokens as one row and column each: columns are added up, rows are averaged, so rows still sum to 1. */
function merged(source, rowSpans, columnSpans) {
  const found = matrix(rowSpans.length, columnSpans.length, undefined, source.triangle);
  rowSpans.forEach(([top, bottom], row) =>
    columnSpans.forEach(([left, right], column) => {
      let sum = 0;
      for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += source.cells[y * source.columns + x];
      found.cells[row * found.columns + column] = bottom > top ? sum / (bottom - top) : 0;
    }),
  );
  return found;
}

/** The first rows and columns of `first` less those of `second`; 0 where the page is too coarse to tell them apart. */
function less(first, second, rows, columns, most = 1) {
  const found = matrix(rows, columns, undefined, first.triangle);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const one = first.cells[row * first.columns + column],
        other = second.cells[row * second.columns + column];
      if (Math.abs(one - other) > rounding(one, most) + rounding(other, most))
        found.cells[row * columns + column] = one - other;
    }
  return found;
}

/** How far a packed number may be from the true one; `most` is what the shares of 8 bits are of. */
function rounding(value, most) {
  const size = Math.abs(value);
  return DATA.bits === 16 ? size / 1024 + most * 2 ** -24 : Math.sqrt(size * most) / 255 + most / 510 ** 2;
}

function largest(source) {
  let found = 0;
  for (const value of source.cells) if (Math.abs(value) > found) found = Math.abs(value);
  return found;
}

// Labels

/** A token as a label; `special` ones were put there by the model, whatever their text is. */
function label(text, special = false) {
  return { text, special, shown: short(text), whole: token(text), rtl: direction(text) === "rtl" };
}

function labels(side) {
  return side.tokens.map((text, place) => label(text, side.ends && place === side.tokens.length - 1));
}

function inputs(side) {
  return [label(START, true), ...labels(side)].slice(0, side.tokens.length);
}

function spansOf(side) {
  return side.words.length ? side.words : side.tokens.map((_, place) => [place, place + 1]);
}

/** The words of a decoder's inputs: the start alone, then the answer's, one place later. */
function inputSpans(spans, length) {
  const moved = spans.map(([first, last]) => [first + 1, Math.min(last + 1, length)]);
  return length ? [[0, 1], ...moved.filter(([first, last]) => first < last)] : [];
}

function joined(tokens, spans) {
  return spans.map(([first, last]) => {
    const some = tokens.slice(first, last),
      text = some.map((each) => each.text).join("");
    // A piece marks the blank before it; a word needs none.
    return label(text.replaceAll("␣", " ").trim() || text, some.length > 0 && some.every((each) => each.special));
  });
}

/** What stands at the rows and columns of a part: labels by token, and the spans that make words of them. */
function axes(look, part) {
  const source = {
    labels: labels(look.source),
    spans: spansOf(look.source),
    rtl: direction(look.source.text) === "rtl",
  };
  const target = {
    labels: labels(look.target),
    spans: spansOf(look.target),
    rtl: direction(look.target.text) === "rtl",
  };
  if (part === "encoder") return { rows: source, columns: source };
  if (part === "cross") return { rows: target, columns: source };
  const written = inputs(look.target);
  return {
    rows: target,
    columns: { labels: written, spans: inputSpans(target.spans, written.length), rtl: target.rtl },
  };
}

// Two looks

function sameTokens(first, second) {
  return (
    first.tokens.length === second.tokens.length && first.tokens.every((text, place) => text === second.tokens[place])
  );
}

/** The steps that both answers came to with the same words before them. */
function commonSteps(first, second) {
  const length = Math.min(first.target.tokens.length, second.target.tokens.length);
  let same = 0;
  while (same < length && first.target.tokens[same] === second.target.tokens[same]) same++;
  return Math.min(same + 1, length);
}

/** How much of a part can be subtracted: rows and columns, or a sentence that says why not. */
function overlap(first, second, part) {
  if (part !== "decoder" && !sameTokens(first.source, second.source))
    return { why: "The two sources are different tokens, so their cells cannot be subtracted. See them side by side." };
  const width = first.source.tokens.length,
    steps = commonSteps(first, second);
  const whole = part === "encoder" || (steps === first.target.tokens.length && steps === second.target.tokens.length);
  const note = whole ? "" : `The first ${count(steps, "step")} only: up to there both answers were the same.`;
  return { rows: part === "encoder" ? width : steps, columns: part === "decoder" ? steps : width, note };
}

/** What is to be seen of one look, or of the difference: numbers with labels, or why there is nothing. */
function seen(subject, part, layer, head, { measure = "weights", unit = "tokens" } = {}) {
  const look = LOOKS[subject === "difference" ? 0 : subject];
  let found = attention(look, part, layer, head, measure);
  if (!found) return { why: missing(look, part, measure) };
  let note = "";
  if (subject === "difference") {
    const other = attention(LOOKS[1], part, layer, head, measure),
      common = overlap(look, LOOKS[1], part);
    if (!other) return { why: missing(LOOKS[1], part, measure) };
    if (common.why) return common;
    found = less(found, other, common.rows, common.columns, measure === "weights" ? 1 : largest(found));
    note = common.note;
  }
  return { ...labelled(found, axes(look, part), unit), note, signed: subject === "difference", part, subject };
}

function missing(look, part, measure) {
  if (!layersOf(look, part).length) return `This look holds no ${PARTS[part].name.toLowerCase()} attention.`;
  return measure === "norms" ? "This look holds no norms; choose weights." : "This look does not hold this head.";
}

function labelled(found, { rows, columns }, unit) {
  const [tall, wide] = [rows.labels.slice(0, found.rows), columns.labels.slice(0, found.columns)];
  if (unit === "tokens") return { matrix: found, rows: tall, columns: wide, rtl: columns.rtl };
  const rowSpans = within(rows.spans, found.rows),
    columnSpans = within(columns.spans, found.columns);
  return {
    matrix: merged(found, rowSpans, columnSpans),
    rows: joined(tall, rowSpans),
    columns: joined(wide, columnSpans),
    rtl: columns.rtl,
  };
}

function within(spans, length) {
  return spans.map(([first, last]) => [first, Math.min(last, length)]).filter(([first, last]) => first < last);
}

// What a head does, measured

/** Means over rows: entropy in bits, and the shares of weight on some places. */
function statistics(found, part) {
  const { rows, columns, cells } = found;
  const sums = { entropy: 0, same: 0, before: 0, after: 0, first: 0, last: 0 };
  for (let row = 0; row < rows; row++) {
    const at = (column) => (column >= 0 && column < columns ? cells[row * columns + column] : 0);
    for (let column = 0; column < columns; column++)
      if (at(column) > 0) sums.entropy -= at(column) * Math.log2(at(column));
    sums.same += at(row);
    sums.before += at(row - 1);
    sums.after += at(row + 1);
    sums.first += at(0);
    sums.last += at(columns - 1);
  }
  for (const name of Object.keys(sums)) sums[name] /= rows || 1;
  return sums;
}

const HABITS = {
  encoder: {
    same: "itself",
    before: "the token before",
    after: "the token after",
    first: "the first token",
    last: "the end",
  },
  decoder: { same: "the token just written", before: "the one before that", first: "the start" },
  cross: {
    same: "the same place in the source",
    before: "one place earlier",
    after: "one place later",
    first: "the first source token",
    last: "the source's end",
  },
};

/** A habit in words, if half of the weight or more follows it. */
function habit(sums, part) {
  const [name, value] = Object.keys(HABITS[part])
    .map((each) => [each, sums[each]])
    .sort((a, b) => b[1] - a[1])[0];
  if (value >= 0.5) return `Mostly looks at ${HABITS[part][name]} (${share(value)} of the weight).`;
  return `No single habit: like looking at ${(2 ** sums.entropy).toFixed(1)} tokens at once.`;
}
