// The first view: the answer, what each word of it goes back to, and where the model was unsure.

const UNSURE = 0.5; // a probability below it is called unsure
const SURE = Math.log(0.9); // of the least sure step
const SHOWN_UNSURE = 4; // steps that are named

function answerPane(subject) {
  const look = LOOKS[subject],
    words = answerWords(look),
    box = make("div", { class: "answer" });
  const light = (sources, targets) => {
    box
      .querySelectorAll("[data-source]")
      .forEach((each) => each.classList.toggle("on", sources.includes(Number(each.dataset.source))));
    box
      .querySelectorAll("[data-target]")
      .forEach((each) => each.classList.toggle("on", targets.includes(Number(each.dataset.target))));
  };
  const parts = [
    make("div", { class: "eyebrow" }, "Source"),
    sourceLine(look, words, light),
    make("div", { class: "eyebrow" }, "Answer"),
    answerLine(look, subject, words, light),
    legend(look),
    unsure(look, subject),
    foundBy(look),
    otherSearch(look),
  ];
  box.append(...parts.filter(Boolean));
  return box;
}

const LONG_TEXT = 70; // words; above it a text scrolls in a box, so that what follows is on the first screen too

/** What lets a long text scroll. */
function boxed(words, name) {
  return words.length > LONG_TEXT ? { tabindex: 0, role: "region", "aria-label": name } : {};
}

function sourceLine(look, words, light) {
  const aligned = (source) => words.filter((word) => word.aligned.includes(source)).map((word) => word.place);
  return make(
    "div",
    { class: "sentence source", dir: direction(look.source.text), ...boxed(sourceWords(look), "Source") },
    sourceWords(look).map((word, place) =>
      make(
        "span",
        {
          class: word.special ? "word special" : "word",
          "data-source": place,
          onpointerenter: () => light([place], aligned(place)),
          onpointerleave: () => light([], []),
        },
        make("bdi", {}, word.whole),
      ),
    ),
  );
}

function answerLine(look, subject, words, light) {
  if (!words.length) return nothing("The answer is empty.");
  const other = LOOKS.length > 1 ? new Set(unmatched(words, answerWords(LOOKS[1 - subject]))) : new Set();
  return make(
    "div",
    { class: "sentence glossed", dir: direction(look.target.text), ...boxed(words, "Answer") },
    words.map((word) =>
      make(
        "button",
        {
          type: "button",
          class: [
            "gloss",
            word.special ? "special" : "",
            word.probability < UNSURE ? "unsure" : "",
            other.has(word.place) ? "differs" : "",
          ].join(" "),
          "data-target": word.place,
          "aria-label": wordSays(word),
          id: `word-${subject}-${word.place}`,
          onclick: () => go({ view: "steps", step: word.first }),
          title: wordSays(word),
          onpointerenter: () => light(word.aligned, [word.place]),
          onpointerleave: () => light([], []),
          onfocus: () => light(word.aligned, [word.place]),
          onblur: () => light([], []),
        },
        make("bdi", { class: "said" }, word.whole),
        meter(word.probability),
        make(
          "span",
          { class: "from", dir: direction(look.source.text) },
          word.gloss.map((each) => each.whole).join(" ") || "–",
        ),
      ),
    ),
  );
}

function wordSays(word) {
  const from = word.gloss.length ? `, aligned with ${word.gloss.map((each) => each.whole).join(" ")}` : "";
  return `${word.whole}${Number.isFinite(word.probability) ? `, ${share(word.probability)} sure` : ""}${from}. See how this was chosen.`;
}

function meter(probability) {
  const written = probability < UNSURE ? make("span", { class: "amount", dir: "ltr" }, share(probability)) : null;
  const bar = make(
    "span",
    { class: "bar" },
    make("span", { class: "fill", css: { width: `${100 * (Number.isFinite(probability) ? probability : 0)}%` } }),
  );
  return make("span", { class: "meter" }, bar, written);
}

/** The places of words that the other answer does not have, by the longest common sequence. */
function unmatched(words, others) {
  const table = Array.from({ length: words.length + 1 }, () => new Uint16Array(others.length + 1));
  for (let i = words.length - 1; i >= 0; i--)
    for (let j = others.length - 1; j >= 0; j--)
      table[i][j] =
        words[i].text === others[j].text ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const found = [];
  for (let i = 0, j = 0; i < words.length;) {
    if (j < others.length && words[i].text === others[j].text) {
      i++;
      j++;
    } else if (j < others.length && table[i][j + 1] > table[i + 1][j]) j++;
    else found.push(words[i++].place);
  }
  return found;
}

function legend(look) {
  const { by, attended, links } = glosses(look),
    { layer, head, measure } = alignedBy(look),
    shown = attention(look, "cross", layer, head, measure);
  const below = by
    ? ["The small word below is the source it is aligned with, read from ", make("strong", {}, visible(by)), ". "]
    : links.length
      ? ["The small word below is the source it looked at most (attention ", make("strong", {}, attended), "). "]
      : "This look has no alignment. ";
  const see = () => go({ view: "head", part: "cross", layer, head, measure });
  return make(
    "p",
    { class: "hint" },
    "The bar under a word is how sure the model was of it. ",
    below,
    shown ? make("button", { type: "button", class: "link", onclick: see }, "See that attention") : null,
  );
}

function unsure(look, subject) {
  const ranked = look.steps
    .map((step, place) => ({ step, place }))
    .sort((a, b) => a.step.log_probability - b.step.log_probability);
  if (!ranked.length) return null;
  const doubtful = ranked
    .filter(({ step }) => Math.exp(step.log_probability) < UNSURE)
    .slice(0, SHOWN_UNSURE)
    .sort((a, b) => a.place - b.place);
  const shown = doubtful.length ? doubtful : ranked.slice(0, 1);
  return make(
    "div",
    { class: "card" },
    make("h3", {}, unsureTitle(look, doubtful, shown)),
    make(
      "ul",
      { class: "plain" },
      shown.map(({ step, place }) =>
        make(
          "li",
          {},
          doubtSays(look, step, place, !doubtful.length),
          " ",
          make(
            "button",
            {
              type: "button",
              class: "link",
              id: `doubt-${subject}-${place}`,
              "aria-label": `See step ${place + 1}`,
              onclick: () => go({ view: "steps", step: place }),
            },
            `See step ${place + 1}`,
          ),
        ),
      ),
    ),
  );
}

function doubtSays(look, step, place, least) {
  const other = step.alternatives.find((each) => each.token !== step.token),
    special = look.target.ends && place === look.target.tokens.length - 1;
  const better = other && other.log_probability > step.log_probability,
    given = isGiven(look);
  const beat = other
    ? [
        !better ? "; the next best was " : given ? " where it would have written " : " although it gave ",
        mention(label(other.token)),
        ` ${percent(other.log_probability)}`,
      ]
    : "";
  return [
    least ? "The least sure step wrote " : given ? "It gives " : "It wrote ",
    mention(label(step.token, special)),
    `${given && !least ? "" : " with"} ${percent(step.log_probability)}`,
    beat,
    ".",
  ];
}

function unsureTitle(look, doubtful, shown) {
  if (doubtful.length) return isGiven(look) ? "Where it would not have written this" : "Where it was unsure";
  const least = shown.length ? shown[0].step.log_probability : 0;
  return least > SURE ? "It was sure throughout" : "It was more sure than not throughout";
}

function isGiven({ search }) {
  return search.name === "forced";
}

function foundBy({ search }) {
  const facts = [
    ["Found by", search.name === "forced" ? "nobody: it was given" : visible(search.name)],
    ["Probability of the whole", percent(search.log_probability)],
    ["Log-probability", number(search.log_probability, 2)],
    ["Score", number(search.score, 2)],
    search.length_penalty !== 1 ? ["Length penalty", number(search.length_penalty, 2)] : null,
    search.coverage ? ["Coverage", number(search.coverage, 2)] : null,
    search.finished ? null : ["Ended", "no: cut at its limit"],
    search.met ? null : ["Conditions", "not all met"],
  ];
  const list = facts
    .filter(Boolean)
    .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  const by = search.length_penalty === 1 ? "" : " / length penalty",
    more = search.coverage ? " + coverage" : "";
  const rule = `Of all it tried, a search answers with the highest score, ${by || more ? "" : "the "}log-probability${by}${more}.`;
  return make("div", {}, make("dl", { class: "facts" }, list), search.trace.length ? hint(rule) : null);
}

function otherSearch(look) {
  if (!look.greedy) return null;
  if (look.greedy_text === look.target.text)
    return hint(capital(`${visible(look.greedy.name)} search gives the same answer.`));
  return hint(
    capital(`${visible(look.greedy.name)} search would have said: `),
    bdi(look.greedy_text, { class: "quoted" }),
    ` (log-probability ${number(look.greedy.log_probability, 2)}). `,
    make(
      "button",
      {
        type: "button",
        class: "link",
        onclick: () => go({ view: "steps", step: Math.max(0, parting(look, writtenBy(look.greedy))) }),
      },
      "See where they part",
    ),
  );
}

/** How two answers differ, in a sentence. */
function compared() {
  const [first, second] = LOOKS,
    [mine, theirs] = LOOKS.map(answerWords),
    [gone, come] = [unmatched(mine, theirs), unmatched(theirs, mine)];
  const differ =
    gone.length || come.length
      ? `The answers differ: ${count(gone.length, "word")} only in A, ${count(come.length, "word")} only in B, marked below.`
      : "Both answers are the same words.";
  const source = first.source.text === second.source.text ? "" : " The sources differ too.";
  const likelier =
    first.search.log_probability === second.search.log_probability
      ? "Both are equally likely to their models"
      : `${first.search.log_probability > second.search.log_probability ? "A" : "B"} is the likelier one to its model`;
  return make(
    "p",
    { class: "lead" },
    `${differ}${source} ${likelier}: log-probability ${number(first.search.log_probability, 2)} against ${number(second.search.log_probability, 2)}.`,
  );
}

/** The same as a picture, to be saved. */
function answerDrawing(look, width) {
  const words = answerWords(look),
    rows = flow(
      words.map((word) => Math.max(widthOf(word.whole.slice(0, 60), 18, 600), widthOf(glossOf(word), 12), 28) + 16),
      width,
      direction(look.target.text) === "rtl",
    );
  const lines = flow(
      sourceWords(look).map((word) => widthOf(word.whole.slice(0, 60), 14) + 8),
      width,
      direction(look.source.text) === "rtl",
    ),
    top = 24 * (lines.rows + 1);
  return {
    width,
    height: top + rows.rows * 58 + 8,
    name: "",
    paint: (surface) => {
      sourceWords(look).forEach((word, place) =>
        surface.text(lines.at[place].x, 18 + 24 * lines.at[place].row, word.whole.slice(0, 60), {
          size: 14,
          fill: ink("soft"),
        }),
      );
      words.forEach((word, place) => paintWord(surface, word, rows.at[place], top + 58 * rows.at[place].row));
    },
  };
}

function glossOf(word) {
  return word.gloss
    .map((each) => each.whole)
    .join(" ")
    .slice(0, 60);
}

function paintWord(surface, word, { x, width }, y) {
  surface.text(x, y + 18, word.whole.slice(0, 60), { size: 18, weight: 600, fill: ink(word.special ? "soft" : "ink") });
  surface.rect(x, y + 25, width - 16, 3, { fill: ink("line") });
  if (Number.isFinite(word.probability))
    surface.rect(x, y + 25, (width - 16) * word.probability, 3, {
      fill: ink(word.probability < UNSURE ? "warm" : "accent"),
    });
  surface.text(x, y + 43, glossOf(word), { size: 12, fill: ink("soft") });
}

/** Boxes of these widths in lines: the line and place of each; from the right if `mirrored`. */
function flow(widths, most, mirrored = false) {
  let x = 0,
    row = 0;
  const at = widths.map((width) => {
    if (x && x + width > most) {
      x = 0;
      row++;
    }
    const place = { x: mirrored ? most - x - width : x, row, width };
    x += width;
    return place;
  });
  return { at, rows: row + 1 };
}

function answerTable(subject) {
  return {
    caption: "The words of the answer",
    head: ["word", "probability", "aligned with"],
    rows: answerWords(LOOKS[subject]).map((word) => [word.whole, share(word.probability), glossOf(word)]),
  };
}
