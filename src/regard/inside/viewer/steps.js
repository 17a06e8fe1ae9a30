// A player that writes the answer again, a token at a time: what could have stood there, and where the model looked.

const PACE = 1100; // milliseconds a step

function lastStep() {
  return Math.max(0, ...subjects(false).map((subject) => LOOKS[subject].target.tokens.length - 1));
}

function play() {
  state.playing = !state.playing;
  if (state.playing && state.step >= lastStep()) go({ step: 0, playing: true });
  else draw();
  if (state.playing) setTimeout(tick, PACE);
}

function tick() {
  if (!state.playing || state.view !== "steps") return stop();
  if (state.step >= lastStep()) {
    stop();
    return draw();
  }
  go({ step: state.step + 1 });
  setTimeout(tick, PACE);
}

function stepTo(step) {
  stop();
  go({ step: clamp(step, 0, lastStep()) });
}

function player() {
  const last = lastStep(),
    button = (name, says, id, act, off) =>
      make(
        "button",
        { type: "button", class: "round", "aria-label": says, title: says, id, onclick: act, disabled: off },
        name,
      );
  return make(
    "div",
    { class: "player", role: "group", "aria-label": "Player" },
    button("⏮", "To the first step", "step-first", () => stepTo(0), state.step === 0),
    button("◀", "One step back", "step-back", () => stepTo(state.step - 1), state.step === 0),
    button(state.playing ? "❚❚" : "▶", state.playing ? "Pause" : "Play", "step-play", play, last === 0),
    button("▶▏", "One step on", "step-on", () => stepTo(state.step + 1), state.step >= last),
    make("input", {
      type: "range",
      min: 0,
      max: last,
      value: state.step,
      id: "step-slider",
      "aria-label": "Step",
      "aria-valuetext": `step ${state.step + 1} of ${last + 1}`,
      oninput: (event) => stepTo(Number(event.target.value)),
    }),
    make("span", { class: "soft tabular" }, `step ${state.step + 1} of ${last + 1}`),
  );
}

function stepsView() {
  const shown = subjects(false);
  return [player(), panes(shown, (subject) => stepPane(subject, shown.length))];
}

function stepPane(subject, beside) {
  const look = LOOKS[subject],
    at = state.step,
    step = look.steps[at];
  if (!look.target.tokens.length) return nothing("The answer is empty.");
  if (at >= look.target.tokens.length)
    return [written(look, subject), nothing("This answer has ended before this step.")];
  return [
    written(look, subject),
    step ? said(look, at, step) : null,
    make(
      "div",
      { class: "cards" },
      step ? alternatives(look, step, at) : null,
      step && step.early.length ? early(step, look, at) : null,
      rowCards(look, at),
    ),
    tree(look, subject, beside),
    greedyBeside(look),
  ];
}

/** The answer with what is written bold and what is to come pale; each token leads to its step. */
function written(look, subject) {
  return make(
    "div",
    { class: "written", dir: direction(look.target.text) },
    labels(look.target).map((each, place) =>
      make(
        "button",
        {
          type: "button",
          class: `tokenlet ${place < state.step ? "past" : place === state.step ? "now" : "later"}${each.special ? " special" : ""}`,
          id: `token-${subject}-${place}`,
          "aria-current": place === state.step ? "step" : undefined,
          "aria-label": `step ${place + 1}: ${each.whole}`,
          onclick: () => stepTo(place),
        },
        make("bdi", { dir: each.rtl ? "rtl" : "ltr" }, each.shown),
      ),
    ),
  );
}

function said(look, at, step) {
  const own = label(step.token, look.target.ends && at === look.target.tokens.length - 1),
    rank = step.alternatives.findIndex((each) => each.token === step.token);
  const why = rank > 0 ? ` It was choice ${rank + 1} here; the search kept it because the whole became likelier.` : "";
  return make(
    "p",
    { class: "lead" },
    `Step ${at + 1} writes `,
    mention(own),
    ` with `,
    make("strong", {}, percent(step.log_probability)),
    ".",
    why,
  );
}

function bars(list) {
  return make(
    "ol",
    { class: "bars" },
    list.map(({ name, value, amount, own, title }) =>
      make(
        "li",
        { class: own ? "own" : "", title },
        make("span", { class: "name" }, name),
        make("span", { class: "bar" }, make("span", { class: "fill", css: { width: `${100 * value}%` } })),
        make("span", { class: "amount" }, amount),
      ),
    ),
  );
}

function alternatives(look, step, at) {
  const ends = look.target.ends && at === look.target.tokens.length - 1;
  const list = step.alternatives.map((each) => ({
    name: mention(label(each.token, ends && each.token === step.token)),
    value: Math.exp(each.log_probability),
    amount: percent(each.log_probability),
    own: each.token === step.token,
    title: `log-probability ${number(each.log_probability)}`,
  }));
  const rest = 1 - step.alternatives.reduce((sum, each) => sum + Math.exp(each.log_probability), 0);
  return make(
    "section",
    { class: "card" },
    make("h3", {}, "What could have stood here"),
    bars(list),
    hint(`All other tokens together: ${share(Math.max(0, rest))}.`),
  );
}

function early(step, look, at) {
  const rows = step.early.map((each, place) => [
    `after layer ${place}`,
    label(each.token),
    each.log_probability,
    each.written,
  ]);
  rows.push([
    "the answer",
    label(step.token, look.target.ends && at === look.target.tokens.length - 1),
    step.log_probability,
    step.log_probability,
  ]);
  return make(
    "section",
    { class: "card" },
    make("h3", {}, "Early guesses"),
    make(
      "table",
      { class: "small" },
      make("caption", { class: "hidden" }, "What each layer would have written"),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          ["when", "would write", "sure", "gives the token written"].map((each) => make("th", { scope: "col" }, each)),
        ),
      ),
      make(
        "tbody",
        {},
        rows.map(([name, guess, sure, own]) =>
          make(
            "tr",
            {},
            make("th", { scope: "row" }, name),
            make("td", {}, mention(guess)),
            make("td", { class: "amount" }, percent(sure)),
            make("td", { class: "amount" }, percent(own)),
          ),
        ),
      ),
    ),
    hint("What the output layer makes of the state after each decoder layer, before the rest has worked on it."),
  );
}

/** Rows of the step: what it looked at in the source and in what was written. */
function rowCards(look, at) {
  return ["cross", "decoder"].map((part) => {
    const [layer, head] = state.part === part ? [state.layer, state.head] : ["mean", "mean"];
    const found = attention(look, part, layer, head);
    if (!found || at >= found.rows) return null;
    const columns = axes(look, part).columns,
      row = found.cells.slice(at * found.columns, (at + 1) * found.columns);
    return make(
      "section",
      { class: "card" },
      make("h3", {}, part === "cross" ? "Where it looked in the source" : "Where it looked in what was written"),
      shaded(columns, row, part === "decoder" ? at + 1 : Infinity, look),
      hint(`Attention ${headName(part, layer, head)}.`),
    );
  });
}

function shaded(columns, row, until, look) {
  const top = Math.max(...row, 1e-9),
    colourOf = scale(top, false, state.curve),
    table = colourTable(false);
  return make(
    "div",
    { class: "chips", dir: columns.rtl ? "rtl" : "ltr" },
    columns.labels.slice(0, until).map((each, place) => {
      const colour = table[colourOf(row[place])];
      return make(
        "span",
        {
          class: "chip shaded",
          title: `${each.whole}: ${number(row[place], 4)}`,
          css: { background: css(colour), color: inkOn(colour) },
        },
        make("bdi", { dir: each.rtl ? "rtl" : "ltr" }, each.shown),
        row[place] >= 0.05 ? make("small", { dir: "ltr" }, number(row[place], 2).replace(/^0/, "")) : null,
      );
    }),
  );
}

function tree(look, subject, beside) {
  if (!look.search.trace.length)
    return hint(
      `No tree to show: ${look.search.name === "forced" ? "the answer was given, not searched for." : "the search was not traced."}`,
    );
  const drawing = treeDrawing(look.search, look.target, roomFor(beside)),
    dead = look.search.trace.reduce(
      (sum, each) => sum + each.candidates.filter((one) => !["kept", "finished"].includes(one.fate)).length,
      0,
    );
  const windowed =
    drawing.steps > WINDOW
      ? ` Steps ${drawing.from + 1} to ${drawing.from + WINDOW} of ${drawing.steps} are drawn, around the current one.`
      : "";
  return make(
    "section",
    { class: "tree" },
    make("h3", {}, `The search, ${visible(look.search.name)}`),
    make(
      "div",
      { class: "controls" },
      choice(
        "Show",
        [
          ["", "what was kept"],
          ["yes", `every candidate (${dead.toLocaleString("en")} died)`],
        ],
        state.all,
        (all) => go({ all }),
        `all-${subject}`,
      ),
    ),
    picture(drawing, {
      title: "The beam as a tree. Arrow keys move over its candidates, Enter goes to a step.",
      id: `tree-${subject}`,
      lockable: false,
      choose: (at) => at && stepTo(at.step),
    }),
    hint(
      "Filled: the answer. ■ ended, × died because others were better, ⊘ was not allowed. Percent: of the token, given what stands before it.",
      windowed,
    ),
  );
}

/** Brings the current step into sight, in the answer and in trees. */
function scrollToStep() {
  document.querySelectorAll(".written").forEach((each) => {
    const now = each.querySelector(".now");
    if (now) each.scrollTop = now.offsetTop - each.clientHeight / 2;
  });
  document.querySelectorAll(".tree .scroll").forEach((each) => {
    const look = LOOKS[Number(each.querySelector(".picture").id.slice(5))],
      from =
        look.search.trace.length <= WINDOW ? 0 : clamp(state.step - WINDOW / 2, 0, look.search.trace.length - WINDOW);
    each.scrollLeft = BOX.left + (state.step - from) * BOX.stride - each.clientWidth / 2 + BOX.width / 2;
  });
}

/** The step as a picture, to be saved. */
function stepDrawing(subject, width) {
  const look = LOOKS[subject],
    step = look.steps[state.step],
    list = step ? step.alternatives : [],
    wide = Math.min(width, 460);
  return {
    width: wide,
    height: 30 + list.length * 22,
    name: "",
    paint: (surface) => {
      surface.text(
        0,
        16,
        step ? `Step ${state.step + 1} writes ${short(step.token)} with ${percent(step.log_probability)}` : "",
        { size: 14, weight: 600 },
      );
      list.forEach((each, place) => {
        const own = each.token === step.token,
          y = 30 + place * 22,
          part = Math.exp(each.log_probability);
        surface.text(0, y + 14, fitted(short(each.token), 130), { weight: own ? 600 : 400 });
        surface.rect(140, y + 4, (wide - 210) * part, 12, { fill: ink(own ? "accent" : "edge"), radius: 2 });
        surface.text(wide, y + 14, percent(each.log_probability), { size: 11, align: "right", fill: ink("soft") });
      });
    },
  };
}
