// Other methods beside attention: what each finds important in the source, and how often they agree.

/** The name of a method as words. */
function method(name) {
  return visible(Object.hasOwn(DATA.methods, name) ? name.replaceAll("_", " ") : name);
}

/** Attention and the opinions of a subject, by name, as `seen` numbers. */
function opinionsOf(subject) {
  const look = LOOKS[subject],
    list = [];
  const attended = seen(subject, "cross", ...(state.part === "cross" ? [state.layer, state.head] : ["mean", "mean"]), {
    unit: state.unit,
  });
  if (!attended.why)
    list.push({
      attended: true,
      name: `attention (${state.part === "cross" ? headName() : headName("cross", "mean", "mean")})`,
      found: attended,
    });
  for (const name of Object.keys(look.opinions)) {
    const found = { ...labelled(opinion(look, name), axes(look, "cross"), state.unit), part: "cross", subject };
    list.push({ name, found: { ...found, signed: found.matrix.cells.some((value) => value < 0) } });
  }
  return list;
}

/** The place of the largest number of each row. */
function tops({ rows, columns, cells }) {
  return Array.from({ length: rows }, (_, row) => {
    let best = 0;
    for (let column = 1; column < columns; column++)
      if (cells[row * columns + column] > cells[row * columns + best]) best = column;
    return best;
  });
}

function agreement(list) {
  if (list.length < 2 || !list[0].attended) return null;
  const own = tops(list[0].found.matrix),
    unit = state.unit === "words" ? "word" : "token";
  return make(
    "ul",
    { class: "plain" },
    list.slice(1).map(({ name, found }) => {
      const theirs = tops(found.matrix),
        same = own.filter((place, row) => place === theirs[row]).length;
      return make(
        "li",
        {},
        make("strong", {}, method(name)),
        ` points to the same source ${unit} as attention in ${same} of ${count(own.length, "row")}.`,
      );
    }),
  );
}

function opinionsView() {
  const shown = subjects(false);
  return [
    make("p", { class: "honest" }, DATA.caveat),
    panes(shown, (subject) => {
      const list = opinionsOf(subject),
        across = shown.length > 1 ? 1 : list.length > 1 && roomFor(1) > 760 ? 2 : 1,
        room = (roomFor(shown.length) - 36 * (across - 1)) / across;
      if (!list.length) return nothing("This look holds neither attention to the source nor other opinions.");
      return [
        agreement(list),
        make(
          "div",
          { class: across > 1 ? "opinions two" : "opinions" },
          list.map(({ name, found }, place) =>
            make(
              "section",
              {},
              make("h3", {}, method(name)),
              make(
                "p",
                { class: "hint means" },
                Object.hasOwn(DATA.methods, name) ? capital(`${DATA.methods[name]}.`) : "",
              ),
              picture(opinionDrawing(found, room, name), {
                title: `${method(name)} as a heat map`,
                id: `picture-${subject}-${place}`,
                group: "cells",
                locked: lockedCell(),
                choose: (at) => go(at || { row: "", column: "" }),
              }),
            ),
          ),
        ),
        list.length === 1
          ? hint("No other method was asked; only attention is shown.")
          : hint(
              "Each picture has a scale of its own: the methods measure different things. Rows are the answer, columns the source.",
            ),
      ];
    }),
  ];
}

function opinionDrawing(found, room, name) {
  return heatMap(found, room, largest(found.matrix) || 1, name.startsWith("attention") ? "weight" : "");
}

function opinionsTable(subject) {
  const list = opinionsOf(subject);
  if (!list.length) return { caption: "Nothing to show", head: [], rows: [] };
  const strongest = list.map(({ found }) => tops(found.matrix)),
    { rows } = list[0].found;
  return {
    caption: "For each token of the answer, the source that each method puts first",
    head: ["answer", ...list.map(({ name }) => method(name))],
    rows: rows.map((each, row) => [
      each.whole,
      ...list.map(({ found }, place) => found.columns[strongest[place][row]]?.whole ?? ""),
    ]),
  };
}
