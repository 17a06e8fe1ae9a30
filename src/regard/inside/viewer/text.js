// Text: elements made without markup, tokens made visible, numbers made short.

/** An element. Everything that is shown goes in as text; there is no other way in. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in PLACES) PLACES[name](element, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// The policy of the page forbids style attributes; a property set by the script is none.
const PLACES = {
  css: (element, style) => Object.entries(style).forEach(([name, value]) => element.style.setProperty(name, value)),
  value: (element, value) => {
    element.value = value;
  },
  checked: (element, value) => {
    element.checked = value;
  },
  disabled: (element, value) => {
    element.disabled = value;
  },
};

// Characters that would not be seen, or would turn or join what stands around them.
const HIDDEN = new RegExp(
  "[\\u0080-\\u009f\\u00a0\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u2000-\\u200b\\u200e\\u200f\\u2028-\\u202f" +
    "\\u205f-\\u2064\\u2066-\\u206f\\u3000\\ufeff\\ufff0-\\ufffc\\ufffe\\uffff\\ue000-\\uf8ff\\ud800-\\udfff\\u{e0000}-\\u{e007f}]",
  "gu",
);
const JOINERS = /^[\u200c\u200d]+|[\u200c\u200d]+$/g; // inside a word they shape its letters, at an end they hide
const CONTROL = /[\u0000-\u001f\u007f]/g;
const LONGEST = 28; // characters of a token in a picture
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const LEFT_TO_RIGHT = /[A-Za-z\u00c0-\u024f\u0370-\u058f\u0900-\u1fff\u2c00-\ud7af]/;

function codePoint(character) {
  return `[U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`;
}

/** Any text with all its characters to be seen, on one line, in the order they come in. */
function visible(text) {
  return String(text)
    .replace(CONTROL, (each) => String.fromCharCode(each === "\u007f" ? 0x2421 : 0x2400 + each.charCodeAt(0)))
    .replace(JOINERS, (each) => [...each].map(codePoint).join(""))
    .replace(HIDDEN, codePoint)
    .replace(/^\p{M}/u, "\u25cc$&"); // a mark alone sits on a dotted circle
}

/** A token: blanks are seen too. An empty one is ∅. */
function token(text) {
  return visible(text).replaceAll(" ", "␣") || "∅";
}

/** A token short enough for a picture; cut between characters as they are seen. */
function short(text, longest = LONGEST) {
  const whole = token(text);
  if (whole.length <= longest) return whole;
  const parts = graphemes(whole);
  return parts.length <= longest
    ? whole.slice(0, longest * 6)
    : parts
        .slice(0, longest - 1)
        .join("")
        .slice(0, longest * 6) + "…";
}

let segmenter = null;

function graphemes(text) {
  if (typeof Intl === "undefined" || !Intl.Segmenter) return [...text];
  segmenter = segmenter || new Intl.Segmenter();
  return [...segmenter.segment(text.slice(0, 2000))].map((each) => each.segment);
}

/** "rtl" if the first letter with a direction runs from right to left. */
function direction(text) {
  for (const character of String(text)) {
    if (RIGHT_TO_LEFT.test(character)) return "rtl";
    if (LEFT_TO_RIGHT.test(character)) return "ltr";
  }
  return "ltr";
}

/** A text in an element that keeps its direction to itself. */
function bdi(text, properties = {}) {
  return make("bdi", { dir: direction(text), ...properties }, visible(text));
}

function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const written = size !== 0 && (size < 0.0005 || size >= 1e5) ? value.toExponential(1) : value.toFixed(digits);
  return written.replaceAll("-", "−");
}

/** A probability from its logarithm. */
function percent(logProbability) {
  return share(Math.exp(logProbability));
}

function share(value) {
  if (!Number.isFinite(value)) return "–";
  if (value > 0 && value < 0.001) return "< 0.1 %";
  return `${(value * 100).toFixed(value < 0.0995 || (value > 0.995 && value < 1) ? 1 : 0)} %`;
}

function count(amount, one, many = `${one}s`) {
  return `${amount.toLocaleString("en")} ${amount === 1 ? one : many}`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}
