// Lines between two columns of tokens: who looks at whom, the thicker the more.

const ROW = 24,
  FAINTEST = 0.02,
  MOST_CELLS_LINED = 24000,
  PER_ROW = 4; // pixels; share of the largest; cells, above which a row has so many lines

function isMany({ rows, columns }) {
  return rows * columns > MOST_CELLS_LINED;
}

/** The lines to draw, the faintest first. Of a large matrix each row gives its strongest few. */
function strands(found, top) {
  const all = [],
    most = isMany(found.matrix) ? PER_ROW : Infinity;
  for (let row = 0; row < found.matrix.rows; row++) all.push(...strongest(found.matrix, row, top * FAINTEST, most));
  return all.sort((a, b) => Math.abs(a.value) - Math.abs(b.value));
}

function strongest({ columns, cells }, row, least, most) {
  const some = [];
  for (let column = 0; column < columns; column++) {
    const value = cells[row * columns + column],
      size = Math.abs(value);
    if (size < least || size === 0 || (some.length >= most && size <= Math.abs(some[most - 1].value))) continue;
    some.push({ row, column, value });
    if (most < Infinity) some.sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).splice(most);
  }
  return some;
}

function linesDrawing(found, width, top) {
  const longest = Math.max(found.rows.length, found.columns.length),
    step = longest > 160 ? 11 : ROW,
    side = Math.min(170, width * 0.3);
  const whole = Math.min(width, 760),
    left = side,
    right = whole - side;
  const offset = (list) => 44 + ((longest - list.length) * step) / 2;
  const y = {
    row: (place) => offset(found.rows) + step * (place + 0.5),
    column: (place) => offset(found.columns) + step * (place + 0.5),
  };
  const all = strands(found, top),
    at = { left, right, y, step, whole, top };
  return {
    width: whole,
    height: 44 + longest * step + 10,
    name: "",
    begin: { row: 0 },
    hint: "Point at a token to follow its lines; click to keep them.",
    paint: (surface) => paintLines(surface, found, all, at),
    at: (x, above) => {
      const side = x < left + 12 ? "column" : x > right - 12 ? "row" : null;
      const place = side && Math.floor((above - offset(found[`${side}s`])) / step);
      return side && place >= 0 && place < found[`${side}s`].length ? { [side]: place } : null;
    },
    mark: (surface, place) => markLines(surface, found, all, at, place),
    move: (place, key) => movedToken(found, place, key),
    fits: ({ row = 0, column = 0 }) => row < found.rows.length && column < found.columns.length,
    say: (place) => sayToken(found, place),
  };
}

function movedToken(found, { row, column }, key) {
  if (key === "ArrowLeft") return { column: Math.min(column ?? row, found.columns.length - 1) };
  if (key === "ArrowRight") return { row: Math.min(row ?? column, found.rows.length - 1) };
  const step = key === "ArrowUp" ? -1 : 1;
  return row === undefined
    ? { column: clamp(column + step, 0, found.columns.length - 1) }
    : { row: clamp(row + step, 0, found.rows.length - 1) };
}

function strandInk(found, value) {
  return found.signed ? ink(value > 0 ? "warm" : "cool") : ink("accent");
}

function paintLines(surface, found, all, at, chosen = null) {
  const { left, right, y } = at;
  surface.text(left - 12, 18, "looked at", { align: "right", fill: ink("soft"), size: 11 });
  surface.text(right + 12, 18, state.part === "encoder" ? "looks" : "being written", { fill: ink("soft"), size: 11 });
  for (const { row, column, value } of all) {
    const size = Math.min(1, Math.abs(value) / at.top),
      on = chosen === null || chosen.row === row || chosen.column === column;
    if (!on) continue;
    const middle = (left + right) / 2,
      points = [
        [left, y.column(column)],
        [middle, y.column(column)],
        [middle, y.row(row)],
        [right, y.row(row)],
      ];
    surface.path(points, {
      stroke: strandInk(found, value),
      line: 0.6 + 3.4 * size,
      opacity: Math.min(1, (chosen ? 0.25 : 0.08) + 0.85 * size),
    });
  }
  const every = Math.max(1, Math.ceil(LINE / at.step)),
    here = (name, place) => chosen && chosen[name] === place;
  found.columns.forEach((each, place) => {
    if (place % every === 0 || here("column", place))
      surface.text(left - 12, y.column(place) + 4, fitted(each.shown, left - 14), {
        align: "right",
        fill: labelInk(each, here("column", place)),
        weight: here("column", place) ? 700 : 400,
        rtl: each.rtl,
      });
  });
  found.rows.forEach((each, place) => {
    if (place % every === 0 || here("row", place))
      surface.text(right + 12, y.row(place) + 4, fitted(each.shown, at.whole - right - 14), {
        fill: labelInk(each, here("row", place)),
        weight: here("row", place) ? 700 : 400,
        rtl: each.rtl,
        ...(each.rtl ? { align: "left" } : {}),
      });
  });
}

function markLines(surface, found, all, at, chosen) {
  surface.rect(0, 0, at.whole, 44 + Math.max(found.rows.length, found.columns.length) * at.step + 10, {
    fill: ink("paper"),
  });
  paintLines(surface, found, all, at, chosen);
}

function sayToken(found, { row, column }) {
  const { columns, cells } = found.matrix,
    list = row === undefined ? found.rows : found.columns;
  const value = (place) => (row === undefined ? cells[place * columns + column] : cells[row * columns + place]);
  const best = list
    .map((each, place) => [each, value(place)])
    .filter(([, amount]) => amount !== 0)
    .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
    .slice(0, 4);
  const one = row === undefined ? found.columns[column] : found.rows[row];
  return [
    mention(one),
    row === undefined ? " is looked at by " : " looks at ",
    best.map(([each, amount], place) => [place ? ", " : "", mention(each), ` ${number(amount, 2)}`]),
    ".",
  ].flat(3);
}

function lockedToken() {
  if (state.row !== "") return { row: state.row };
  return state.column === "" ? null : { column: state.column };
}

function linesView() {
  const shown = subjects(true),
    { found, top } = headTop(shown),
    width = roomFor(shown.length);
  return panes(shown, (subject) => {
    const one = found[shown.indexOf(subject)];
    if (one.why) return nothing(one.why);
    return [
      one.note ? hint(one.note) : null,
      picture(linesDrawing(one, width, top), {
        title: `${headName()} as lines. Arrow keys move over the tokens, Enter keeps one.`,
        id: `picture-${subject}`,
        group: "tokens",
        locked: lockedToken(),
        choose: (place) => go({ row: "", column: "", ...place }),
      }),
      isMany(one.matrix) ? hint(`These are many tokens: of each the ${PER_ROW} strongest lines are drawn.`) : null,
    ];
  });
}
