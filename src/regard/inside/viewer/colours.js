// Colours: one ramp from the paper to the ink, even in lightness, so that it reads without hue; and one with two arms.

const RAMPS = {
  light: ["#fcfcf9", "#dcefd4", "#9ed6b9", "#55aeb0", "#33789f", "#2e4482", "#1c1443"],
  dark: ["#171a20", "#27305c", "#2c5f91", "#3a91a2", "#74c3a1", "#c3e8ab", "#fbfde0"],
};
const ARMS = {
  // less in blue, more in orange: apart for every kind of colour blindness
  light: ["#0b4f94", "#5a9bd0", "#c5ddee", "#fcfcf9", "#f8d3b0", "#e08a3c", "#9c4300"],
  dark: ["#8fc7ff", "#3f86c6", "#244563", "#171a20", "#5c3a1c", "#c0702b", "#ffb877"],
};
const STEPS = 256;
const inks = new Map(); // emptied before each drawing, as the theme may change

function channels(colour) {
  return [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
}

/** A table of STEPS colours between stops. */
function ramp(stops) {
  const points = stops.map(channels);
  return Array.from({ length: STEPS }, (_, step) => {
    const place = (step / (STEPS - 1)) * (points.length - 1),
      low = Math.min(Math.floor(place), points.length - 2);
    return points[low].map((value, channel) => Math.round(value + (points[low + 1][channel] - value) * (place - low)));
  });
}

const TABLE = Object.fromEntries(
  ["light", "dark"].flatMap((theme) => [
    [theme, ramp(RAMPS[theme])],
    [`${theme} signed`, ramp(ARMS[theme])],
  ]),
);

/** From a number to one of the STEPS colours. `curve`: "root" spreads small numbers, "even" keeps distances. */
function scale(top, signed, curve) {
  const bend = curve === "root" ? Math.sqrt : (value) => value,
    most = top || 1;
  return (value) => {
    const size = bend(Math.min(1, Math.abs(value) / most));
    return Math.round((signed ? (1 + Math.sign(value) * size) / 2 : size) * (STEPS - 1));
  };
}

function colourTable(signed, theme = shownTheme()) {
  return TABLE[signed ? `${theme} signed` : theme];
}

function css([red, green, blue], opacity = 1) {
  return opacity === 1 ? `rgb(${red},${green},${blue})` : `rgba(${red},${green},${blue},${opacity})`;
}

/** Black or white, whichever is easier to read on a colour: on every colour one of them has a contrast of 4.5. */
function inkOn(colour) {
  return luminance(colour) > 0.179 ? "#000000" : "#ffffff";
}

function luminance(colour) {
  const [red, green, blue] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** The colours that pictures share with the page; they stand in its style. */
function ink(name) {
  if (!inks.has(name)) inks.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return inks.get(name);
}

function shownTheme() {
  if (state.theme !== "auto") return state.theme;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
