// One matrix large: labels on both sides, the number in a cell where there is room.

const MOST_LABEL = 150,
  CELL = 46,
  LEGIBLE = 34,
  LINE = 13; // pixels: a label, a cell, one with a number in it, a line of text

/** Sizes and places of a heat map in so much width. */
function heatLayout(found, width) {
  const { rows, columns } = found.matrix;
  const room = Math.min(MOST_LABEL, width * 0.28);
  const left = Math.min(room, Math.max(24, ...thinned(found.rows, 400).map((each) => widthOf(each.shown)))) + 10;
  const cell = Math.max(0.5, Math.min(CELL, (width - left - 6) / Math.max(1, columns)));
  const widest = Math.max(0, ...thinned(found.columns, 400).map((each) => widthOf(each.shown)));
  const turned = widest > cell - 4;
  const top = 34 + (turned ? Math.min(room, widest) + 10 : 20);
  const height = Math.max(cell, Math.min(cell * 1.0, CELL));
  return {
    left,
    top,
    cell,
    tall: height,
    turned,
    room,
    every: Math.max(1, Math.ceil(LINE / cell)),
    width: left + cell * columns + 6,
    height: top + height * rows + 8,
  };
}

function thinned(list, most) {
  return list.length <= most ? list : list.filter((_, place) => place % Math.ceil(list.length / most) === 0);
}

/** The drawing of `seen` numbers; `top` is what the last colour stands for. */
function heatMap(found, width, top, name) {
  const at = heatLayout(found, width),
    { matrix: numbers } = found,
    mirrored = found.rtl;
  const x = (column) => at.left + at.cell * (mirrored ? numbers.columns - 1 - column : column);
  const y = (row) => at.top + at.tall * row;
  const colourOf = scale(top, found.signed, state.curve);
  return {
    width: Math.max(at.width, Math.min(width, 340)),
    height: at.height,
    name,
    paint: (surface) => paintHeat(surface, found, at, { x, y, colourOf, mirrored, top, name }),
    at: (left, above) => {
      const place = Math.floor((left - at.left) / at.cell),
        row = Math.floor((above - at.top) / at.tall);
      const column = mirrored ? numbers.columns - 1 - place : place;
      return row >= 0 && row < numbers.rows && column >= 0 && column < numbers.columns ? { row, column } : null;
    },
    mark: (surface, { row, column }) => markCell(surface, found, at, { x, y }, row, column),
    move: ({ row, column }, key) => {
      const step = {
        ArrowUp: [-1, 0],
        ArrowDown: [1, 0],
        ArrowLeft: [0, mirrored ? 1 : -1],
        ArrowRight: [0, mirrored ? -1 : 1],
      }[key];
      return {
        row: clamp(row + step[0], 0, numbers.rows - 1),
        column: clamp(column + step[1], 0, numbers.columns - 1),
      };
    },
    fits: ({ row, column }) => row < numbers.rows && column < numbers.columns,
    say: ({ row, column }) => sayCell(found, row, column),
  };
}

function forbidden({ matrix: numbers, rows }, row, column) {
  return numbers.triangle && column * rows.length > row * numbers.columns + numbers.columns - 1;
}

/** "dog → Hund 0.83", as parts. */
function sayCell(found, row, column) {
  const value = found.matrix.cells[row * found.matrix.columns + column];
  const amount = forbidden(found, row, column)
    ? "not allowed: it comes later"
    : (found.signed && value > 0 ? "+" : "") + number(value, DATA.bits === 16 ? 4 : 3);
  return [mention(found.rows[row]), " looks at ", mention(found.columns[column]), ": ", make("strong", {}, amount)];
}

/** A label in running text, whole, its direction kept to itself. */
function mention({ whole, rtl, special }) {
  return make("bdi", { dir: rtl ? "rtl" : "ltr", class: special ? "token special" : "token" }, whole);
}

function paintHeat(surface, found, at, { x, y, colourOf, mirrored, top, name }) {
  const { matrix: numbers } = found,
    table = colourTable(found.signed);
  colourBar(surface, at.left, 2, Math.min(180, at.width - at.left - 6), top, found.signed, name);
  surface.image(
    pixels(numbers, { colourOf, table, mirrored, most: 2048 }),
    at.left,
    at.top,
    at.cell * numbers.columns,
    at.tall * numbers.rows,
  );
  surface.rect(at.left - 0.5, at.top - 0.5, at.cell * numbers.columns + 1, at.tall * numbers.rows + 1, {
    stroke: ink("line"),
  });
  found.rows.forEach((each, row) => {
    if (row % at.every === 0) rowLabel(surface, each, at, y(row));
  });
  found.columns.forEach((each, column) => {
    if (column % at.every === 0) columnLabel(surface, each, at, x(column));
  });
  if (at.cell >= LEGIBLE && at.tall >= 18) writeNumbers(surface, found, at, { x, y, colourOf, table });
}

function labelInk({ special }, strong) {
  return ink(strong ? "accent" : special ? "soft" : "ink");
}

function rowLabel(surface, each, at, y, strong = false) {
  surface.text(at.left - 8, y + at.tall / 2 + 4, fitted(each.shown, at.left - 9), {
    align: "right",
    fill: labelInk(each, strong),
    weight: strong ? 700 : 400,
    rtl: each.rtl,
  });
}

function columnLabel(surface, each, at, x, strong = false) {
  const style = { fill: labelInk(each, strong), weight: strong ? 700 : 400, rtl: each.rtl };
  const text = fitted(each.shown, at.turned ? at.room : at.cell * 3);
  if (at.turned) surface.text(x + at.cell / 2 + 4, at.top - 7, text, { ...style, turn: -90, align: "left" });
  else surface.text(x + at.cell / 2, at.top - 8, text, { ...style, align: "center" });
}

function writeNumbers(surface, found, at, { x, y, colourOf, table }) {
  const { rows, columns, cells } = found.matrix;
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const value = cells[row * columns + column];
      if (Math.abs(value) < 0.005) continue; // would be written .00
      const text = number(value, 2).replace(/^(−?)0\./, "$1.");
      surface.text(x(column) + at.cell / 2, y(row) + at.tall / 2 + 4, text, {
        size: 11,
        align: "center",
        fill: inkOn(table[colourOf(value)]),
      });
    }
}

/** What the colours stand for, in a line above the picture. */
function colourBar(surface, x, y, width, top, signed, name) {
  const table = colourTable(signed),
    colourOf = scale(top, signed, state.curve),
    parts = 64,
    low = signed ? -top : 0;
  for (let part = 0; part < parts; part++) {
    const value = low + ((top - low) * (part + 0.5)) / parts;
    surface.rect(x + (width * part) / parts, y, width / parts + 0.5, 8, { fill: css(table[colourOf(value)]) });
  }
  surface.rect(x, y, width, 8, { stroke: ink("line") });
  surface.text(x, y + 21, number(low, 2), { size: 11, fill: ink("soft") });
  surface.text(x + width, y + 21, number(top, 2), { size: 11, fill: ink("soft"), align: "right" });
  if (name)
    surface.text(x + width / 2, y + 21, fitted(name, width - 70, 11), { size: 11, fill: ink("soft"), align: "center" });
}

function markCell(surface, found, at, { x, y }, row, column) {
  const { rows, columns } = found.matrix,
    frame = { stroke: ink("accent"), line: 1.5 };
  surface.rect(at.left, y(row), at.cell * columns, at.tall, frame);
  surface.rect(x(column), at.top, at.cell, at.tall * rows, frame);
  surface.rect(0, y(row) + at.tall / 2 - 8, at.left - 3, 16, { fill: ink("paper") });
  rowLabel(surface, found.rows[row], at, y(row), true);
  const half = Math.max(at.cell / 2, 8);
  if (at.turned) surface.rect(x(column) + at.cell / 2 - half, 32, half * 2, at.top - 35, { fill: ink("paper") });
  columnLabel(surface, found.columns[column], at, x(column), true);
}
