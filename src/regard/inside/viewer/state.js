// What is being looked at. It stands in the link, so that a link shows the same again.

const BEGIN = {
  view: "answer", // a name of VIEWS
  look: LOOKS.length > 1 ? "both" : "0", // "0", "1", "both" or "difference"
  part: partsOf(LOOKS[0]).includes("cross") ? "cross" : partsOf(LOOKS[0])[0] || "cross",
  layer: "mean",
  head: "mean", // or a number
  measure: "weights",
  unit: "tokens",
  curve: "even",
  row: "",
  column: "", // what is locked, by place; "" for nothing
  step: 0, // of the answer
  all: "", // in the tree: "yes" shows the candidates that died too
};
const CHOICES = {
  // what a link may say; numbers are checked against the look
  view: ["answer", "heads", "head", "lines", "steps", "opinions"],
  look: LOOKS.length > 1 ? ["0", "1", "both", "difference"] : ["0"],
  part: Object.keys(PARTS),
  measure: ["weights", "norms"],
  unit: ["tokens", "words"],
  curve: ["even", "root"],
  all: ["", "yes"],
};
const state = { ...BEGIN, theme: "auto", keys: true, playing: false };
const opened = new Set(); // names of folded parts that are open

/** What a link may hold for a name, or undefined. */
function allowed(name, value) {
  if (Object.hasOwn(CHOICES, name)) return CHOICES[name].includes(value) ? value : undefined;
  if ((name === "layer" || name === "head") && value === "mean") return value;
  if ((name === "row" || name === "column") && value === "") return value;
  return /^\d{1,5}$/.test(value) ? Number(value) : undefined;
}

/** The state of a link; what it does not say is as in the beginning. */
function fromLink(link) {
  const found = { ...BEGIN };
  for (const [name, text] of new URLSearchParams(link.replace(/^#/, ""))) {
    const value = Object.hasOwn(BEGIN, name) ? allowed(name, text) : undefined;
    if (value !== undefined) found[name] = value;
  }
  return found;
}

function toLink() {
  const said = Object.keys(BEGIN).filter((name) => String(state[name]) !== String(BEGIN[name]));
  return said.length ? `#${new URLSearchParams(said.map((name) => [name, String(state[name])]))}` : "#";
}

/** What is wanted if it is there, the only one if there is one, else their mean. */
function one(there, wanted) {
  return there.includes(wanted) ? wanted : new Set(there).size === 1 ? there[0] : "mean";
}

/** Whether a layer and a head are there, in a look that is shown. */
function corrected(wanted) {
  const layers = LOOKS.flatMap((look) => layersOf(look, wanted.part));
  if (!layers.length && partsOf(LOOKS[0]).length) return corrected({ ...wanted, part: partsOf(LOOKS[0])[0] });
  const layer = one(
    layers.map((each) => each.layer),
    wanted.layer,
  );
  const heads = layers.filter((each) => layer === "mean" || each.layer === layer).flatMap((each) => each.heads);
  const longest = Math.max(1, ...LOOKS.map((look) => look.target.tokens.length));
  const measure = layers.some((each) => each.norms) ? wanted.measure : "weights";
  return {
    ...wanted,
    layer,
    measure,
    head: one(heads, wanted.head),
    step: clamp(wanted.step, 0, longest - 1),
  };
}

/** Changes what is looked at, draws it and writes the link. */
function go(change) {
  const moved = ["part", "layer", "view", "look", "unit"].some(
    (name) => name in change && change[name] !== state[name],
  );
  const matters = ["part", "unit"].some((name) => name in change && change[name] !== state[name]);
  Object.assign(state, corrected({ ...state, ...(matters ? { row: "", column: "" } : {}), ...change }));
  if (moved && !("playing" in change)) stop();
  remember();
  draw();
}

function stop() {
  state.playing = false;
}

let remembering = 0; // browsers allow few changes of the address a second: the last of several is kept

// A frame without an address of its own, and a browser that stores nothing, refuse these; the page goes on without.
function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    try {
      history.replaceState(null, "", toLink());
    } catch {
      /* the link stays as it was */
    }
  }, 150);
}

function stored(name) {
  try {
    return localStorage.getItem(`regard.${name}`);
  } catch {
    return null;
  }
}

function store(name, value) {
  try {
    localStorage.setItem(`regard.${name}`, value);
  } catch {
    /* forgotten with the page */
  }
}

/** The subjects that a view shows beside each other. */
function subjects(differs) {
  if (state.look === "both" || (state.look === "difference" && !differs)) return LOOKS.map((_, place) => place);
  return state.look === "difference" ? ["difference"] : [Number(state.look)];
}

function options() {
  return { measure: state.measure, unit: state.unit };
}

function headName(part = state.part, layer = state.layer, head = state.head) {
  if (layer === "mean")
    return head === "mean" ? `${part}, mean of all layers and heads` : `${part}, head ${head}, mean of all layers`;
  return head === "mean" ? `${part}.${layer}, mean of its heads` : `${part}.${layer}.${head}`;
}

function lookName(place) {
  const names = LOOKS.map((each) =>
    each.changed.length ? `${each.model} with ${each.changed.join(", ")}` : each.model,
  );
  return LOOKS.length > 1 ? `${"AB"[place]}` : names[place];
}
