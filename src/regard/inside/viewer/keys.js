// The keyboard: single keys for what the buttons do. They can be switched off, as some tools type letters by themselves.

const KEYS = [
  ["1 to 6", "the views, from Answer to Opinions"],
  ["[ and ]", "the head before, the next head"],
  ["{ and }", "the layer before, the next layer"],
  ["p", "the next part: encoder, decoder, cross"],
  ["m", "heads one by one, or their mean"],
  ["w", "tokens or words"],
  ["n", "weights or norms"],
  ["c", "even colours, or small numbers spread"],
  ["d", "with two looks: A, B, both, the difference"],
  [", and .", "one step back, one step on"],
  ["space", "play or pause, in Steps"],
  ["arrows", "in a picture: move; Enter keeps the place"],
  ["Esc", "let go of what is kept"],
  ["t", "light or dark"],
  ["?", "this list"],
];

function cycle(list, now, step = 1) {
  return list[(list.indexOf(now) + step + list.length) % list.length];
}

function layersNow() {
  return ["mean", ...new Set(LOOKS.flatMap((each) => layersOf(each, state.part)).map((each) => each.layer))];
}

function headsNow() {
  const layers = LOOKS.flatMap((each) => layersOf(each, state.part)).filter(
    (each) => state.layer === "mean" || each.layer === state.layer,
  );
  return ["mean", ...[...new Set(layers.flatMap((each) => each.heads))].sort((a, b) => a - b)];
}

function partsNow() {
  return Object.keys(PARTS).filter((part) => LOOKS.some((each) => layersOf(each, part).length));
}

function hasNorms() {
  return LOOKS.some((each) => each.attentions.some((one) => one.norms));
}

const ACTS = {
  "[": () => go({ head: cycle(headsNow(), state.head, -1), view: headed() }),
  "]": () => go({ head: cycle(headsNow(), state.head), view: headed() }),
  "{": () => go({ layer: cycle(layersNow(), state.layer, -1), view: headed() }),
  "}": () => go({ layer: cycle(layersNow(), state.layer), view: headed() }),
  p: () => partsNow().length && go({ part: cycle(partsNow(), state.part), view: headed() }),
  m: () => go({ head: state.head === "mean" ? (headsNow()[1] ?? "mean") : "mean" }),
  w: () => go({ unit: cycle(CHOICES.unit, state.unit) }),
  n: () => hasNorms() && go({ measure: cycle(CHOICES.measure, state.measure) }),
  c: () => go({ curve: cycle(CHOICES.curve, state.curve) }),
  d: () => go({ look: cycle(CHOICES.look, state.look) }),
  ",": () => stepTo(state.step - 1),
  ".": () => stepTo(state.step + 1),
  " ": () => state.view === "steps" && play(),
  Escape: () => go({ row: "", column: "" }),
  t: () => turnTheme(),
  "?": () => openKeys(),
};

/** Keys that choose a head show it. */
function headed() {
  return ["head", "lines", "steps", "opinions"].includes(state.view) ? state.view : "head";
}

function onKey(event) {
  if (
    event.defaultPrevented ||
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    (!state.keys && event.key !== "Escape")
  )
    return;
  const { tagName } = event.target;
  if (
    ["INPUT", "SELECT", "TEXTAREA"].includes(tagName) ||
    (event.key === " " && ["BUTTON", "SUMMARY"].includes(tagName))
  )
    return;
  const view = CHOICES.view[Number(event.key) - 1];
  const act = view ? () => go({ view }) : Object.hasOwn(ACTS, event.key) ? ACTS[event.key] : null;
  if (!act) return;
  event.preventDefault();
  act();
  if (["[", "]", "{", "}", "p", "m"].includes(event.key)) announce(headName());
}

function openKeys() {
  opened.add("keys");
  draw();
  document.getElementById("summary-keys").focus();
}

function keyList() {
  return make(
    "div",
    {},
    make(
      "dl",
      { class: "keys" },
      KEYS.map(([key, does]) => make("div", {}, make("dt", {}, make("kbd", {}, key)), make("dd", {}, does))),
    ),
    make(
      "label",
      { class: "check" },
      make("input", {
        type: "checkbox",
        id: "use-keys",
        checked: state.keys,
        onchange: (event) => {
          state.keys = event.target.checked;
        },
      }),
      " Single keys do this",
    ),
  );
}
