// The search as a tree: a column a step, a box a candidate, a line to what it grew from.

const BOX = { width: 118, height: 24, gap: 5, stride: 156, left: 70, top: 30 },
  WINDOW = 40; // pixels; steps drawn at once
const FATES = {
  kept: "kept for the next step",
  finished: "ended the sentence",
  pruned: "died: others had a higher total",
  filtered: "died: it was not allowed here",
};

/** The candidates of each step, with the place of the answer's own one: -1 where the trace does not hold it. */
function traced(search, target) {
  let alive = 0;
  return search.trace.map(({ candidates }, step) => {
    const last = target.ends && step === target.tokens.length - 1;
    const chosen = candidates.findIndex(
      (each) =>
        (alive === 0 && step === 0 ? true : each.parent === alive) &&
        (last ? each.fate === "finished" : each.fate === "kept" && each.token === target.tokens[step]),
    );
    alive = chosen < 0 ? -1 : (candidates[chosen].place ?? -1);
    return { candidates, chosen };
  });
}

function shownCandidates({ candidates, chosen }) {
  return candidates
    .map((each, place) => ({ ...each, own: place === chosen }))
    .filter((each) => state.all === "yes" || ["kept", "finished"].includes(each.fate));
}

/** Boxes with places on the paper. `parent` of a box is the box it grew from, or null for the start. */
function boxes(steps, from) {
  let before = [];
  return steps.flatMap((step, place) => {
    const column = shownCandidates(step).map((candidate, row) => ({
      candidate,
      step: from + place,
      row,
      x: BOX.left + place * BOX.stride,
      y: BOX.top + row * (BOX.height + BOX.gap),
      above: before.find((each) => each.candidate.fate === "kept" && each.candidate.place === candidate.parent) || null,
    }));
    before = column;
    return column;
  });
}

function treeDrawing(search, target, room) {
  const steps = traced(search, target),
    from = steps.length <= WINDOW ? 0 : clamp(state.step - WINDOW / 2, 0, steps.length - WINDOW);
  const shown = boxes(steps.slice(from, from + WINDOW), from),
    tallest = Math.max(1, ...shown.map((each) => each.row + 1));
  const width = Math.max(Math.min(room, 300), BOX.left + Math.min(WINDOW, steps.length) * BOX.stride),
    height = BOX.top + tallest * (BOX.height + BOX.gap) + 6;
  const same = (one) => (other) => one.step === other.step && one.row === other.row;
  return {
    width,
    height,
    name: "Beam",
    from,
    steps: steps.length,
    begin: { step: clamp(state.step, 0, Math.max(0, steps.length - 1)), row: 0 },
    hint: "Point at a candidate to read its numbers and what became of it; click to go to its step.",
    paint: (surface) => paintTree(surface, shown, height, from),
    at: (x, y) =>
      place(shown.find((each) => x >= each.x && x <= each.x + BOX.width && y >= each.y && y <= each.y + BOX.height)),
    mark: (surface, at) => markLineage(surface, shown.find(same(at))),
    move: (at, key) => movedBox(shown, shown.find(same(at)) || shown[0], key),
    fits: (at) => shown.some(same(at)),
    say: (at) => sayCandidate(shown.find(same(at)).candidate),
  };
}

function place(box) {
  return box ? { step: box.step, row: box.row } : null;
}

function movedBox(shown, now, key) {
  const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  const column = shown.filter((each) => each.step === now.step + across);
  return place(column.length ? column[clamp(now.row + down, 0, column.length - 1)] : now);
}

function sayCandidate(each) {
  return [
    mention(label(each.token)),
    `: ${percent(each.log_probability)}, log-probability ${number(each.log_probability)}, total ${number(each.total)}, `,
    make("strong", {}, FATES[each.fate] || visible(each.fate)),
    each.place === undefined ? "" : `, as hypothesis ${each.place}`,
    each.own ? "; it stands in the answer." : ".",
  ];
}

function paintTree(surface, shown, height, from) {
  const now = BOX.left + (state.step - from) * BOX.stride;
  if (state.step >= from && state.step < from + WINDOW)
    surface.rect(now - 8, 4, BOX.width + 16, height - 6, { fill: ink("wash"), radius: 6 });
  surface.text(2, BOX.top + BOX.height / 2 + 4, from ? "…" : "start", { fill: ink("soft") });
  for (const step of new Set(shown.map((each) => each.step)))
    surface.text(BOX.left + (step - from) * BOX.stride + BOX.width / 2, 20, `step ${step + 1}`, {
      size: 11,
      align: "center",
      fill: ink("soft"),
    });
  const ordered = [...shown].sort((a, b) => Number(a.candidate.own) - Number(b.candidate.own));
  ordered.forEach((each) => edge(surface, each, from));
  shown.forEach((each) => paintBox(surface, each));
}

function edge(surface, each, from, strong = false) {
  if (!each.above && each.step !== from) return;
  const x = each.above ? each.above.x + BOX.width : 38,
    y = each.above ? each.above.y + BOX.height / 2 : BOX.top + BOX.height / 2,
    to = each.y + BOX.height / 2,
    middle = (x + each.x) / 2;
  const own = each.candidate.own || strong;
  surface.path(
    [
      [x, y],
      [middle, y],
      [middle, to],
      [each.x, to],
    ],
    { stroke: ink(own ? "accent" : "line"), line: own ? 2.2 : 1.2 },
  );
}

function paintBox(surface, { candidate, x, y }) {
  const { fate, own } = candidate,
    dead = fate === "pruned" || fate === "filtered",
    amount = percent(candidate.log_probability),
    each = label(candidate.token);
  const colours = own
    ? { fill: ink("accent"), stroke: ink("accent") }
    : dead
      ? {}
      : { fill: ink("paper"), stroke: ink(fate === "finished" ? "ink" : "edge") };
  surface.rect(x, y, BOX.width, BOX.height, { ...colours, radius: 5 });
  const fill = ink(own ? "on-accent" : dead ? "soft" : "ink"),
    sign = { finished: " ■", pruned: " ×", filtered: " ⊘" }[fate] || "";
  surface.text(each.rtl ? x + 8 : x + 8, y + 16, fitted(each.shown, BOX.width - 60), {
    fill,
    weight: own ? 600 : 400,
    rtl: false,
  });
  surface.text(x + BOX.width - 7, y + 16, amount + sign, { size: 11, fill, align: "right" });
}

function markLineage(surface, box) {
  for (let each = box; each; each = each.above) {
    surface.rect(each.x - 2, each.y - 2, BOX.width + 4, BOX.height + 4, { stroke: ink("warm"), line: 2, radius: 6 });
    if (each.above)
      edge({ path: (points, style) => surface.path(points, { ...style, stroke: ink("warm") }) }, each, 0, true);
  }
}

// Greedy beside it

/** The tokens that a search wrote and how sure it was, by its trace. */
function writtenBy(search) {
  const tokens = search.trace
    .map(({ candidates }) => candidates.find((each) => each.fate === "kept" || each.fate === "finished"))
    .filter(Boolean);
  const end = tokens.findIndex((each) => each.fate === "finished");
  return end < 0 ? tokens : tokens.slice(0, end + 1);
}

/** The first step at which another search wrote something else; -1 if none is known. */
function parting({ target }, tokens) {
  return tokens.findIndex((each, step) => {
    const ends = target.ends && step === target.tokens.length - 1;
    return each.fate === "finished" ? !ends : ends || each.token !== target.tokens[step];
  });
}

function greedyBeside(look) {
  if (!look.greedy) return null;
  const tokens = writtenBy(look.greedy),
    own = labels(look.target),
    parts = parting(look, tokens);
  const row = (name, list) =>
    make(
      "div",
      { class: "track" },
      make("span", { class: "eyebrow" }, name),
      make("span", { class: "chips", dir: direction(look.target.text) }, list),
    );
  const chip = (text, amount, differs) =>
    make("span", { class: differs ? "chip differs" : "chip" }, mention(text), make("small", { dir: "ltr" }, amount));
  return make(
    "div",
    { class: "card" },
    make("h3", {}, capital(`${visible(look.greedy.name)} beside ${visible(look.search.name)}`)),
    row(
      visible(look.search.name),
      own.map((each, step) =>
        chip(each, look.steps[step] ? percent(look.steps[step].log_probability) : "", parts >= 0 && step >= parts),
      ),
    ),
    tokens.length
      ? row(
          visible(look.greedy.name),
          tokens.map((each, step) =>
            chip(
              label(each.token, each.fate === "finished"),
              percent(each.log_probability),
              parts >= 0 && step >= parts,
            ),
          ),
        )
      : make("p", {}, bdi(look.greedy_text)),
    hint(parted(look, tokens, parts)),
  );
}

function parted(look, tokens, parts) {
  const [mine, other] = [look.search.log_probability, look.greedy.log_probability];
  if (look.greedy_text === look.target.text) return "Both searches found the same answer.";
  const at = parts >= 0 ? `They part at step ${parts + 1}. ` : "";
  const better =
    mine > other
      ? "The wider search found the likelier answer"
      : "The greedy answer is the likelier one; the score also counts length";
  const against = `log-probability ${number(mine, 2)} against ${number(other, 2)}`;
  return `${at}Greedy takes the best token at each step and cannot go back. ${better}: ${against}.`;
}

function treeTable(subject) {
  const { search, target } = LOOKS[subject];
  const rows = traced(search, target).flatMap(({ candidates, chosen }, step) =>
    candidates.map((each, row) => [
      String(step + 1),
      token(each.token),
      String(each.parent),
      number(each.log_probability),
      number(each.total),
      FATES[each.fate] || visible(each.fate),
      row === chosen ? "yes" : "",
    ]),
  );
  const most = 2000;
  return {
    caption: `Every candidate of the search${rows.length > most ? `; the first ${most} of ${rows.length}` : ""}`,
    head: ["step", "token", "grew from", "log-probability", "total", "what became of it", "in the answer"],
    rows: rows.slice(0, most),
  };
}
