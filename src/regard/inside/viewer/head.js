// One head large, or a mean of several.

function headTop(shown) {
  const found = shown.map((subject) => seen(subject, state.part, state.layer, state.head, options()));
  return { found, top: Math.max(...found.map((each) => (each.why ? 0 : largest(each.matrix)))) || 1 };
}

function headDrawing(found, width, top) {
  return heatMap(found, width, top, state.measure === "norms" ? "norm" : "weight");
}

const SAME = "There is no difference that the numbers of this page could tell.";

function lockedCell() {
  return state.row === "" || state.column === "" ? null : { row: state.row, column: state.column };
}

function headView() {
  const shown = subjects(true),
    { found, top } = headTop(shown),
    width = roomFor(shown.length);
  return panes(shown, (subject) => {
    const one = found[shown.indexOf(subject)];
    if (one.why) return nothing(one.why);
    if (!one.matrix.rows || !one.matrix.columns) return nothing("There are no tokens to show.");
    return [
      one.note ? hint(one.note) : null,
      make(
        "div",
        { class: heatLayout(one, width).width + 320 < width ? "beside" : "" },
        picture(headDrawing(one, width, top), {
          title: `${headName()} as a heat map. Arrow keys move over its cells, Enter keeps one.`,
          id: `picture-${subject}`,
          group: "cells",
          locked: lockedCell(),
          choose: (place) => go(place || { row: "", column: "" }),
        }),
        subject === "difference" ? null : doing(subject),
      ),
      hint(`Each row is the ${PARTS[state.part].rows}, each column the ${PARTS[state.part].columns}. `, rowsSay(one)),
    ];
  });
}

function rowsSay(found) {
  const mirrored = found.rtl ? " Columns run from right to left, as the text does." : "";
  if (found.signed) return `${largest(found.matrix) ? "Orange: more in A; blue: more in B." : SAME}${mirrored}`;
  const words = state.unit === "words" ? " Words: columns of their tokens are added up, rows averaged." : "";
  return (
    (state.measure === "norms"
      ? "A norm is the length of what a token really adds: weight, value and output together."
      : "Each row sums to 1.") +
    words +
    mirrored
  );
}

/** The statistics of a head as a line of facts. */
function doing(subject) {
  const found = seen(subject, state.part, state.layer, state.head);
  if (found.why) return null;
  const sums = statistics(found.matrix, state.part),
    names = HABITS[state.part];
  return make(
    "div",
    { class: "card" },
    make("h3", {}, "What it does"),
    make("p", {}, habit(sums, state.part)),
    make(
      "dl",
      { class: "facts" },
      [
        ["Entropy", `${number(sums.entropy, 2)} bits`],
        ...Object.keys(names).map((name) => [`On ${names[name]}`, share(sums[name])]),
      ].map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
    ),
  );
}

function cellsTable(subject) {
  const found = seen(subject, state.part, state.layer, state.head, options());
  return found.why
    ? { caption: found.why, head: [], rows: [] }
    : matrixTable(found, `${headName()}: ${PARTS[state.part].says}`);
}

const MOST_CELLS = 2600,
  STRONGEST = 5; // of a table; a larger matrix is told by the strongest cells of each row

function matrixTable({ matrix: numbers, rows, columns }, caption) {
  const value = (row, column) => numbers.cells[row * numbers.columns + column];
  if (numbers.rows * numbers.columns <= MOST_CELLS)
    return {
      caption,
      head: ["", ...columns.map((each) => each.whole)],
      rows: rows.map((each, row) => [each.whole, ...columns.map((_, column) => number(value(row, column)))]),
    };
  const strongest = (row) =>
    columns
      .map((each, column) => [each.whole, value(row, column)])
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
      .slice(0, STRONGEST);
  return {
    caption: `${caption}. The matrix is large: of each row the ${STRONGEST} strongest cells.`,
    head: ["", ...Array.from({ length: STRONGEST }, (_, place) => `${place + 1}.`)],
    rows: rows.map((each, row) => [each.whole, ...strongest(row).map(([text, amount]) => `${text} ${number(amount)}`)]),
  };
}
