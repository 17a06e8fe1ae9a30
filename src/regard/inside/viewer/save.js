// What is seen as a file: PNG and SVG of the pictures, JSON of the whole look.

const MARGIN = 24;

/** A surface that draws somewhere else on another one. */
function shifted(surface, left, top) {
  return {
    rect: (x, y, ...rest) => surface.rect(x + left, y + top, ...rest),
    text: (x, y, ...rest) => surface.text(x + left, y + top, ...rest),
    image: (source, x, y, ...rest) => surface.image(source, x + left, y + top, ...rest),
    path: (points, style) =>
      surface.path(
        points.map(([x, y]) => [x + left, y + top]),
        style,
      ),
  };
}

/** All pictures of the view as one drawing, below what they are pictures of. */
function composed() {
  const view = VIEWS[state.view],
    shown = subjects(view.differs),
    width = 920;
  const parts = shown.flatMap((subject) =>
    view
      .drawings(subject, width, shown)
      .map((drawing, place) => ({ drawing, title: place ? drawing.name : captionOf(subject) })),
  );
  let height = 42;
  const placed = parts.map(({ drawing, title }) => {
    const top = height;
    height += drawing.height + 44;
    return { drawing, title, top };
  });
  const whole = Math.max(420, ...parts.map(({ drawing }) => drawing.width)) + 2 * MARGIN;
  return {
    width: whole,
    height: height + 18,
    paint: (surface) => {
      surface.rect(0, 0, whole, height + 18, { fill: ink("paper") });
      surface.text(MARGIN, 32, titleOf(view), { size: 17, weight: 600 });
      surface.text(MARGIN, height + 4, precisely(), { size: 10, fill: ink("soft") });
      for (const { drawing, title, top } of placed) {
        surface.text(MARGIN, top + 22, fitted(title, whole - 2 * MARGIN, 12), { fill: ink("soft") });
        paintMarked(drawing, shifted(surface, MARGIN, top + 34), view.locked && view.locked());
      }
    },
  };
}

/** A drawing with what is kept in it. */
function paintMarked(drawing, surface, locked) {
  drawing.paint(surface);
  if (locked && drawing.fits && drawing.fits(locked)) drawing.mark(surface, locked);
}

function titleOf(view) {
  const named = ["head", "lines"].includes(state.view) ? `: ${headName()}` : "";
  return `${view.title}${named}`;
}

function captionOf(subject) {
  if (subject === "difference") return "A less B";
  const { source, target, model } = LOOKS[subject];
  const cut = (text) => graphemes(visible(text)).slice(0, 90).join("");
  return `${LOOKS.length > 1 ? `${lookName(subject)}  ` : ""}${visible(model)}  ${cut(source.text)} → ${cut(target.text)}`;
}

function svgText() {
  const drawing = composed(),
    surface = new SvgSurface(drawing.width, drawing.height);
  drawing.paint(surface);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${surface}`;
}

function pngBlob() {
  return new Promise((done) => canvasOf(composed(), 2).toBlob(done, "image/png"));
}

/** How near the numbers of the page are to those of the model. */
function precisely() {
  if (DATA.bits === 16) return "Numbers are kept in 16 bits: three significant digits.";
  return "Numbers are kept in 8 bits: a weight w is within √w / 255 of the true one, so 0.004 at most; zeros are exact.";
}

/** The look as the JSON that regard reads, in pieces, as one text may be longer than a browser allows. */
function jsonPieces(look) {
  const { attentions, opinions, ...facts } = look,
    digits = DATA.bits === 16 ? 5 : 4;
  const rounded = (value) => Number(value.toPrecision(digits));
  const grid = (found) =>
    Array.from({ length: found.rows }, (_, row) =>
      Array.from(found.cells.subarray(row * found.columns, (row + 1) * found.columns), rounded),
    );
  const heads = (each, measure) =>
    each[measure] &&
    each.heads.map((head) => grid(attention({ attentions: [each] }, each.part, each.layer, head, measure)));
  const start = withInfinities({
    kind: DATA.kind,
    version: DATA.version,
    precision: precisely(),
    left_out: DATA.left_out,
    chosen: DATA.chosen,
    ...facts,
  }).slice(0, -1);
  const pieces = [
    start,
    ',"opinions":',
    JSON.stringify(Object.fromEntries(Object.keys(opinions).map((name) => [name, grid(opinion(look, name))]))),
    ',"attentions":[',
  ];
  attentions.forEach((each, place) =>
    pieces.push(
      place ? "," : "",
      JSON.stringify({
        part: each.part,
        layer: each.layer,
        heads: each.heads,
        weights: heads(each, "weights"),
        norms: heads(each, "norms"),
      }),
    ),
  );
  pieces.push("]}");
  return pieces;
}

/** JSON with infinities as numbers too large for any reader, which all of them take for infinite. */
function withInfinities(value) {
  const plain = JSON.stringify(value);
  let mark = "infinite";
  while (plain.includes(mark)) mark += "-"; // a word that no text of the look holds
  const marked = JSON.stringify(value, (_, each) =>
    typeof each === "number" && Math.abs(each) === Infinity ? `${mark}${Math.sign(each)}` : each,
  );
  return marked.replaceAll(`"${mark}1"`, "1e999").replaceAll(`"${mark}-1"`, "-1e999");
}

function download(blob, name) {
  const address = URL.createObjectURL(blob),
    link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 30000);
  announce(`Saved ${name}.`);
}

function fileName(suffix) {
  const named = ["head", "lines"].includes(state.view) ? `-${state.part}-${state.layer}-${state.head}` : "";
  return `look-${state.view}${named}.${suffix}`;
}

const SAVES = {
  PNG: async () => download(await pngBlob(), fileName("png")),
  SVG: async () => download(new Blob([svgText()], { type: "image/svg+xml" }), fileName("svg")),
  JSON: async () =>
    subjects(false).forEach((subject) =>
      download(
        new Blob(jsonPieces(LOOKS[subject]), { type: "application/json" }),
        LOOKS.length > 1 ? `look-${lookName(subject)}.json` : "look.json",
      ),
    ),
  link: copyLink,
};

async function copyLink() {
  if (location.protocol === "about:")
    return notice(`In a frame there is no link; add ${toLink()} to the page's address.`);
  try {
    await navigator.clipboard.writeText(location.href.replace(/#.*$/, "") + toLink());
    notice("Link copied.");
  } catch {
    notice("The link to this view stands in the address bar."); // no clipboard for files in this browser
  }
}

function notice(text) {
  const line = document.getElementById("notice");
  line.textContent = text;
  announce(text);
  setTimeout(() => {
    if (line.textContent === text) line.textContent = "";
  }, 4000);
}

function saveBar() {
  const button = (name, says, text) =>
    make("button", { type: "button", id: `save-${name}`, title: says, onclick: SAVES[name] }, text);
  return make(
    "div",
    { class: "saves", role: "group", "aria-label": "Save what is seen" },
    make("span", { class: "choice-title" }, "Save"),
    button("PNG", "This view as a picture", "PNG"),
    button("SVG", "This view as a drawing", "SVG"),
    button("JSON", "The whole look with its numbers", "JSON"),
    button("link", "A link to this very view", "Copy link"),
    make("span", { id: "notice", class: "soft" }),
  );
}
