// All heads at once: rows are layers, columns are heads, one scale for all that is on the screen.

const GAP = 6,
  NARROWEST = 16,
  WIDEST = 104,
  COMFORT = 50,
  LABEL = 34,
  HEADING = 46; // pixels

/** The parts of a subject as blocks: sizes of a small picture, and how many blocks stand beside each other. */
function gridLayout(subject, width) {
  const looks = subject === "difference" ? LOOKS : [LOOKS[subject]];
  const blocks = partsOf(looks[0])
    .filter((part) => looks.every((each) => layersOf(each, part).length))
    .map((part) => blockOf(looks[0], part));
  const most = Math.max(1, ...blocks.map((block) => block.heads.length));
  const sizeFor = (beside) => ((width - (beside - 1) * 36) / beside - LABEL) / most - GAP;
  const beside = [3, 2, 1].find((each) => each <= Math.max(1, blocks.length) && sizeFor(each) >= COMFORT) || 1;
  return placed(blocks, clamp(sizeFor(beside), NARROWEST, WIDEST), beside, (width + 36) / beside, width);
}

function blockOf(look, part) {
  const layers = layersOf(look, part);
  return {
    part,
    layers: layers.map((each) => each.layer),
    heads: [...new Set(layers.flatMap((each) => each.heads))].sort((a, b) => a - b),
    ratio: clamp(layers[0].rows / Math.max(1, layers[0].columns), 0.5, 1.5),
  };
}

function placed(blocks, size, beside, stride, width) {
  let y = 36,
    tallest = 0;
  blocks.forEach((block, place) => {
    if (place && place % beside === 0) {
      y += tallest + 30;
      tallest = 0;
    }
    Object.assign(block, { x: (place % beside) * stride, y, size, tall: size * block.ratio, room: stride - 36 });
    tallest = Math.max(tallest, HEADING + block.layers.length * (block.tall + GAP));
  });
  const wide = Math.max(0, ...blocks.map((block) => block.x + LABEL + block.heads.length * (size + GAP)));
  return { blocks, width: Math.max(wide, Math.min(width, 300)), height: y + tallest + 6 };
}

function boxOf(block, layer, head) {
  return [
    block.x + LABEL + block.heads.indexOf(head) * (block.size + GAP),
    block.y + HEADING + block.layers.indexOf(layer) * (block.tall + GAP),
    block.size,
    block.tall,
  ];
}

function everyHead({ blocks }) {
  return blocks.flatMap((block) =>
    block.layers.flatMap((layer) => block.heads.map((head) => ({ part: block.part, layer, head }))),
  );
}

// The largest number of a subject costs a pass over all its heads: it is kept, a few words a head.
const peaks = new Map();

function peak(subject, place) {
  const key = [subject, place.part, place.layer, place.head, state.measure, state.unit].join(" ");
  if (!peaks.has(key)) {
    const exact = subject !== "difference" && state.unit === "tokens" && state.measure === "weights";
    peaks.set(key, exact ? largestCode(LOOKS[subject], place) : largestSeen(subject, place));
  }
  return peaks.get(key);
}

function largestSeen(subject, place) {
  const found = seen(subject, place.part, place.layer, place.head, options());
  return found.why ? 0 : largest(found.matrix);
}

/** The same without unpacking: a larger code is a larger number. */
function largestCode(look, { part, layer, head }) {
  const each = layerOf(look, part, layer),
    packed = each && each.weights,
    place = each ? each.heads.indexOf(head) : -1;
  if (!packed || place < 0) return 0;
  const all = codes(packed.block, DATA.bits),
    size = all.length / each.heads.length;
  let most = 0;
  for (let at = place * size; at < (place + 1) * size; at++) if (all[at] > most) most = all[at];
  return TABLES[DATA.bits][most] * packed.top;
}

// Small pictures stay as they are until the look of the numbers changes: a thousand may be on the screen.
const smalls = new Map();

function smallKey(subject, place, size, top) {
  return [
    subject,
    place.part,
    place.layer,
    place.head,
    state.measure,
    state.unit,
    state.curve,
    shownTheme(),
    size,
    top,
  ].join(" ");
}

function small(subject, place, size, top) {
  const key = smallKey(subject, place, size, top);
  if (!smalls.has(key)) {
    const found = seen(subject, place.part, place.layer, place.head, options());
    const settings = {
      colourOf: scale(top, found.signed, state.curve),
      table: colourTable(found.signed),
      mirrored: found.rtl,
      most: Math.max(24, Math.round(size * (window.devicePixelRatio || 1))),
    };
    if (smalls.size > 4000) smalls.clear();
    smalls.set(key, found.why ? null : pixels(found.matrix, settings));
  }
  return smalls.get(key);
}

function headsDrawing(subject, width, top) {
  const layout = gridLayout(subject, width),
    places = everyHead(layout),
    same = (one) => (other) => one.part === other.part && one.layer === other.layer && one.head === other.head;
  const block = (part) => layout.blocks.find((each) => each.part === part);
  return {
    width: layout.width,
    height: layout.height,
    name: "",
    hint: "Point at a head to read what it does; click to see it large.",
    begin: places[0],
    paint: (surface) => paintGrid(surface, subject, layout, top),
    at: (x, y) =>
      places.find(({ part, layer, head }) => {
        const [left, above, wide, tall] = boxOf(block(part), layer, head);
        return x >= left - GAP / 2 && x < left + wide + GAP / 2 && y >= above - GAP / 2 && y < above + tall + GAP / 2;
      }) || null,
    mark: (surface, { part, layer, head }) =>
      surface.rect(...grown(boxOf(block(part), layer, head), 2), { stroke: ink("accent"), line: 2.5, radius: 2 }),
    move: (place, key) => moved(places, places.findIndex(same(place)), key, block(place.part).heads.length),
    fits: (place) => places.some(same(place)),
    say: (place) => saysHead(subject, place),
  };
}

function grown([x, y, width, height], by) {
  return [x - by, y - by, width + 2 * by, height + 2 * by];
}

function moved(places, now, key, across) {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  return places[clamp(now + step, 0, places.length - 1)];
}

function saysHead(subject, { part, layer, head }) {
  const found = seen(subject, part, layer, head);
  const doing =
    found.why ||
    (found.signed
      ? `Largest change of a weight: ${number(largest(found.matrix))}.`
      : habit(statistics(found.matrix, part), part));
  return [make("strong", {}, `${part}.${layer}.${head}`), ` ${doing}`];
}

function paintGrid(surface, subject, { blocks }, top) {
  colourBar(
    surface,
    blocks.length ? blocks[0].x + LABEL : 0,
    2,
    180,
    top,
    subject === "difference",
    state.measure === "norms" ? "norm" : "weight",
  );
  for (const block of blocks) paintBlock(surface, subject, block, top);
}

function paintBlock(surface, subject, block, top) {
  surface.text(block.x, block.y + 14, PARTS[block.part].name, { size: 14, weight: 600 });
  surface.text(
    block.x + widthOf(PARTS[block.part].name, 14, 600) + 8,
    block.y + 14,
    fitted(PARTS[block.part].says, block.room - widthOf(PARTS[block.part].name, 14, 600) - 8, 12),
    { fill: ink("soft") },
  );
  for (const head of block.heads)
    surface.text(
      boxOf(block, block.layers[0], head)[0] + block.size / 2,
      block.y + HEADING - 8,
      `head ${head}`.slice(block.size < 44 ? 5 : 0),
      { size: 11, align: "center", fill: ink("soft") },
    );
  for (const layer of block.layers) {
    const [, y] = boxOf(block, layer, block.heads[0]);
    surface.text(block.x + LABEL - 8, y + block.tall / 2 + 4, String(layer), {
      size: 11,
      align: "right",
      fill: ink("soft"),
    });
    for (const head of block.heads) paintSmall(surface, subject, block, layer, head, top);
  }
  surface.text(block.x, block.y + HEADING - 8, "layer", { size: 11, fill: ink("soft") });
}

// Hundreds of large heads take seconds: what is not ready in time is drawn in the next frames, and the page stays awake.
const PATIENCE = 120; // milliseconds
let patience = Infinity,
  late = false;

function inTime(subject, place, size, top) {
  if (performance.now() < patience || smalls.has(smallKey(subject, place, size, top)))
    return small(subject, place, size, top);
  late = true;
  return null;
}

function paintSmall(surface, subject, block, layer, head, top) {
  const box = boxOf(block, layer, head),
    image = inTime(subject, { part: block.part, layer, head }, block.size, top);
  if (image) surface.image(image, ...box, image.columns > box[2]); // smooth only where several cells share a pixel
  surface.rect(...box, { stroke: ink("line") });
}

/** One scale for all subjects that are shown. */
function commonTop(shown, width) {
  const places = (subject) => everyHead(gridLayout(subject, width));
  return Math.max(0, ...shown.flatMap((subject) => places(subject).map((place) => peak(subject, place)))) || 1;
}

function headsView() {
  const shown = subjects(true),
    width = roomFor(shown.length),
    top = commonTop(shown, width);
  patience = performance.now() + PATIENCE;
  late = false;
  setTimeout(() => {
    patience = Infinity; // what is saved is whole
    if (late && state.view === "heads") draw();
  });
  return panes(shown, (subject) => {
    if (!everyHead(gridLayout(subject, width)).length)
      return nothing("This look holds no attentions that can be shown here.");
    const note =
      subject === "difference"
        ? partsOf(LOOKS[0])
            .map((part) => overlap(LOOKS[0], LOOKS[1], part))
            .map((each) => each.why || each.note)
            .find(Boolean)
        : "";
    return [
      note ? hint(note) : null,
      picture(headsDrawing(subject, width, top), {
        title: "All heads. Arrow keys move, Enter opens a head.",
        id: `picture-${subject}`,
        group: "heads",
        lockable: false,
        choose: (place) => place && go({ ...place, view: "head", row: "", column: "" }),
      }),
    ];
  });
}

function headsTable(subject) {
  const head = [
    "head",
    "entropy (bits)",
    "itself or same place",
    "one before",
    "one after",
    "first",
    "last",
    "what it does",
  ];
  const rows = everyHead(gridLayout(subject, 900)).map((place) => {
    const found = seen(subject, place.part, place.layer, place.head);
    if (found.why) return [headName(place.part, place.layer, place.head), found.why];
    const sums = statistics(found.matrix, place.part);
    const shares =
      subject === "difference" ? [] : ["same", "before", "after", "first", "last"].map((name) => share(sums[name]));
    return [
      headName(place.part, place.layer, place.head),
      ...(shares.length
        ? [number(sums.entropy, 2), ...shares, habit(sums, place.part)]
        : [number(largest(found.matrix))]),
    ];
  });
  return {
    caption: "What each head does: shares of its weight, means over rows",
    head: subject === "difference" ? ["head", "largest change"] : head,
    rows,
  };
}
