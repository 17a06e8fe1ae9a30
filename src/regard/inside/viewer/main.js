// The page: views, the choices above them, what is below them; drawn again whenever something is chosen.

const VIEWS = {
  answer: {
    title: "Answer",
    says: "What the model answered, how sure it was of each word, and which source words it goes back to.",
    differs: false,
    controls: [],
    build: () => [LOOKS.length > 1 ? compared() : null, panes(subjects(false), answerPane), next()],
    drawings: (subject, width) => [answerDrawing(LOOKS[subject], width)],
    tables: [answerTable],
  },
  heads: {
    title: "All heads",
    says: "Every attention at a glance: each small picture is a head, with the strongest colour where it looks.",
    differs: true,
    controls: ["measure", "unit", "curve"],
    build: headsView,
    drawings: (subject, width, shown) => [headsDrawing(subject, width, commonTop(shown, width))],
    tables: [headsTable],
  },
  head: {
    title: "One head",
    says: "Who looks at whom, with numbers.",
    differs: true,
    controls: ["part", "layer", "head", "measure", "unit", "curve"],
    build: headView,
    drawings: (subject, width, shown) => drawn(subject, shown, (found, top) => headDrawing(found, width, top)),
    locked: lockedCell,
    tables: [cellsTable],
  },
  lines: {
    title: "Lines",
    says: "The same as lines between tokens: the stronger the line, the more a token looks there.",
    differs: true,
    controls: ["part", "layer", "head", "measure", "unit"],
    build: linesView,
    drawings: (subject, width, shown) => drawn(subject, shown, (found, top) => linesDrawing(found, width, top)),
    locked: lockedToken,
    tables: [cellsTable],
  },
  steps: {
    title: "Steps",
    says: "The answer written again, one token at a time: what else could have stood there, and what the search did.",
    differs: false,
    controls: ["part", "layer", "head"],
    build: stepsView,
    drawings: stepDrawings,
    tables: [stepTable, treeTable],
  },
  opinions: {
    title: "Opinions",
    says: "Other methods beside attention: what each holds to matter in the source.",
    differs: false,
    controls: ["layer", "head", "unit", "curve"],
    build: opinionsView,
    drawings: (subject, width) =>
      opinionsOf(subject).map(({ name, found }) => ({ ...opinionDrawing(found, width, name), name: method(name) })),
    locked: lockedCell,
    tables: [opinionsTable],
  },
};

/** Drawings of the chosen head for a subject, on the scale of all that are shown. */
function drawn(subject, shown, drawing) {
  const { found, top } = headTop(shown),
    one = found[shown.indexOf(subject)];
  return one.why ? [] : [drawing(one, top)];
}

function stepDrawings(subject, width) {
  const { search, target } = LOOKS[subject];
  return [stepDrawing(subject, width), ...(search.trace.length ? [treeDrawing(search, target, width)] : [])];
}

function stepTable(subject) {
  const step = LOOKS[subject].steps[state.step];
  return {
    caption: `Step ${state.step + 1}: what could have stood there`,
    head: ["token", "probability", "log-probability"],
    rows: step
      ? step.alternatives.map((each) => [
          token(each.token),
          percent(each.log_probability),
          number(each.log_probability),
        ])
      : [],
  };
}

/** Where a new reader may go from the answer. */
function next() {
  const item = (view, says) =>
    make(
      "button",
      { type: "button", class: "way", id: `way-${view}`, onclick: () => go({ view }) },
      make("strong", {}, VIEWS[view].title),
      make("span", {}, says),
    );
  return make(
    "div",
    { class: "ways" },
    item("steps", "Watch it being written, with what else could have come"),
    item("heads", "See every attention of the model at once"),
    item("opinions", "Ask other methods what mattered"),
  );
}

const CONTROLS = {
  look: () =>
    LOOKS.length < 2
      ? null
      : choice(
          "Show",
          [
            ["0", "A"],
            ["1", "B"],
            ["both", "Both"],
            ...(VIEWS[state.view].differs ? [["difference", "Difference"]] : []),
          ],
          state.look === "difference" && !VIEWS[state.view].differs ? "both" : state.look,
          (value) => go({ look: value }),
          "look",
        ),
  part: () => {
    const parts = partsNow().filter((part) => state.view !== "steps" || part !== "encoder");
    const items = parts.map((part) => [part, PARTS[part].name, PARTS[part].says]);
    return parts.length > 1 && choice("Attention", items, state.part, (part) => go({ part }), "part");
  },
  layer: () =>
    layersNow().length > 2 &&
    menu(
      "Layer",
      layersNow().map((layer) => [layer, layer === "mean" ? "mean of all" : String(layer)]),
      state.layer,
      (layer) => go({ layer }),
      "layer",
    ),
  head: () =>
    headsNow().length > 2 &&
    menu(
      "Head",
      headsNow().map((head) => [head, head === "mean" ? "mean of all" : String(head)]),
      state.head,
      (head) => go({ head }),
      "head",
    ),
  measure: () =>
    hasNorms()
      ? choice(
          "Numbers",
          [
            ["weights", "Weights", "How much a token looks at another"],
            ["norms", "Norms", "How much it takes from there"],
          ],
          state.measure,
          (measure) => go({ measure }),
          "measure",
        )
      : null,
  unit: () =>
    choice(
      "By",
      [
        ["tokens", "Tokens"],
        ["words", "Words", "Columns are added up, rows averaged"],
      ],
      state.unit,
      (unit) => go({ unit }),
      "unit",
    ),
  curve: () =>
    choice(
      "Colours",
      [
        ["even", "Even"],
        ["root", "Spread", "Small numbers are easier to tell apart"],
      ],
      state.curve,
      (curve) => go({ curve }),
      "curve",
    ),
};

function header() {
  const first = LOOKS[0],
    themed = shownTheme() === "dark" ? "Light" : "Dark";
  const line = (place) =>
    make(
      "p",
      { class: "title" },
      LOOKS.length > 1 ? make("span", { class: "badge" }, lookName(place)) : null,
      " ",
      bdi(cutText(LOOKS[place].source.text)),
      make("span", { class: "arrow", "aria-hidden": "true" }, " → "),
      bdi(cutText(LOOKS[place].target.text), { class: "strong" }),
    );
  return make(
    "header",
    {},
    make(
      "div",
      { class: "brand" },
      make("h1", {}, "Look inside"),
      LOOKS.every((each) => each.model === first.model) ? make("span", { class: "soft" }, visible(first.model)) : null,
      LOOKS.length === 1 && first.changed.length
        ? make("span", { class: "changed" }, `changed: ${visible(first.changed.join(", "))}`)
        : null,
      make("button", { type: "button", id: "theme", class: "quiet", onclick: turnTheme }, themed),
    ),
    LOOKS.map((_, place) => line(place)),
  );
}

function cutText(text) {
  const parts = text.length > 110 ? graphemes(text) : [];
  return parts.length > 110 ? `${parts.slice(0, 109).join("")}…` : text;
}

function navigation() {
  return make(
    "nav",
    { "aria-label": "Views" },
    CHOICES.view.map((view) =>
      make(
        "button",
        {
          type: "button",
          id: `view-${view}`,
          "aria-current": state.view === view ? "page" : undefined,
          onclick: () => go({ view }),
        },
        VIEWS[view].title,
      ),
    ),
  );
}

function footer() {
  const left = [...DATA.left_out, DATA.chosen.length ? `all but ${DATA.chosen.join(", ")}` : ""].filter(Boolean);
  return make(
    "footer",
    {},
    folded("table", "This view as a table", tables),
    folded("keys", "Keyboard", keyList),
    left.length
      ? make("p", { class: "soft" }, `Left out to keep the page small, or by choice: ${visible(left.join("; "))}.`)
      : null,
    make(
      "p",
      { class: "soft" },
      `${precisely()} This page is one file and asks for nothing from any network. regard ${visible(DATA.regard)}.`,
    ),
  );
}

function draw() {
  const focused = document.activeElement && document.activeElement.id,
    root = document.getElementById("root"),
    above = window.scrollY;
  inks.clear();
  pictures.length = 0;
  document.documentElement.dataset.theme = shownTheme();
  const view = VIEWS[state.view],
    place = make("div", { id: "view" });
  const scrolls = [...root.querySelectorAll("#view .scroll")].map((each) => each.scrollLeft);
  const main = make(
    "main",
    { id: "main" },
    make("div", { class: "head" }, make("h2", { id: "heading" }, titleOf(view)), hint(view.says)),
    make(
      "div",
      { class: "controls" },
      ["look", ...(partsNow().length ? view.controls : [])].map((name) => CONTROLS[name]()),
    ),
    place,
    saveBar(),
  );
  root.replaceChildren(header(), navigation(), main, footer());
  place.append(...[view.build()].flat(3).filter(Boolean));
  root.querySelectorAll("#view .scroll").forEach((each, index) => {
    each.scrollLeft = scrolls[index] || 0;
  });
  scrollToStep();
  window.scrollTo(0, above);
  const again = focused && document.getElementById(focused);
  if (again) again.focus({ preventScroll: true });
}

function turnTheme() {
  state.theme = shownTheme() === "dark" ? "light" : "dark";
  store("theme", state.theme);
  draw();
}

function begin() {
  document.title = `Look inside: ${cutText(visible(LOOKS[0].source.text))}`;
  document.body.append(make("p", { id: "said", class: "hidden", "aria-live": "polite" }));
  state.theme = ["light", "dark"].includes(stored("theme")) ? stored("theme") : "auto";
  Object.assign(state, corrected(fromLink(location.hash)));
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", () => {
    Object.assign(state, corrected(fromLink(location.hash)));
    draw();
  });
  let width = window.innerWidth,
    waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(draw, 120);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}

// For the curious, and for tests: what the page is made of.
window.regard = {
  DATA,
  LOOKS,
  state,
  go,
  seen,
  attention,
  merged,
  pooled,
  statistics,
  visible,
  token,
  short,
  direction,
  toLink,
  fromLink,
  svgText,
  pngBlob,
  jsonPieces,
  TABLE,
  luminance,
  overlap,
  share,
  number,
};

begin();
