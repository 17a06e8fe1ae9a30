// The words of an answer: as the text has them, how sure they are, and what in the source they go back to.

/** The words of an answer: text, probability (of all its tokens), the source words it goes back to, first step. */
function answerWords(look) {
  const { links } = glosses(look),
    sources = sourceWords(look),
    spans = shownSpans(look.target);
  return wordLabels(look.target, spans).map((word, place) => {
    const [first, last] = spans[place],
      steps = look.steps.slice(first, last);
    const aligned = links
      .filter(([source, target]) => target === place && source < sources.length)
      .map(([source]) => source);
    const logProbability = steps.reduce((sum, each) => sum + each.log_probability, 0);
    return {
      ...word,
      place,
      first,
      probability: steps.length ? Math.exp(logProbability) : NaN,
      aligned,
      gloss: aligned.map((source) => sources[source]),
    };
  });
}

function sourceWords(look) {
  return wordLabels(look.source, shownSpans(look.source));
}

/** Words; or tokens, where the text is all one word (letters of one, or a script without spaces). */
function shownSpans(side) {
  const spans = spansOf(side),
    tokens = side.tokens.length - side.ends,
    words = spans.length - side.ends;
  return words <= 1 || tokens / words > 6 ? side.tokens.map((_, place) => [place, place + 1]) : spans;
}

/** As the text itself has the words, if it does; tokens may be bytes. */
function wordLabels(side, spans) {
  const texts = side.text.split(" ").filter(Boolean);
  const fit = spans === side.words && texts.length === spans.length - side.ends;
  return joined(labels(side), spans).map((each, place) => (fit && place < texts.length ? label(texts[place]) : each));
}

/** Where an alignment was read: a head or a mean, weights or norms, at the step or the next. */
function alignedBy(look) {
  const found = look.alignment && /^cross(?:\.(\d+))?(?:\.(\d+))?(:norms)?(:next)?$/.exec(look.alignment.by);
  const place = (text) => (text === undefined ? "mean" : Number(text));
  return found
    ? {
        layer: place(found[1]),
        head: place(found[2]),
        measure: found[3] ? "norms" : "weights",
        next: Boolean(found[4]),
      }
    : { layer: "mean", head: "mean", measure: "weights", next: false };
}

/** Each row told by the one after it; the last, which has none, by itself. */
function oneLater({ rows, columns, cells }) {
  const found = matrix(rows, columns, cells.slice());
  found.cells.set(cells.subarray(columns, rows * columns), 0);
  return found;
}

/** Links (source, answer) between the words as they are shown, and what says them. */
function glosses(look) {
  const whole = shownSpans(look.source) === look.source.words && shownSpans(look.target) === look.target.words;
  if (look.alignment && whole) return { links: look.alignment.links, by: look.alignment.by };
  const { layer, head, measure, next } = alignedBy(look),
    exact = attention(look, "cross", layer, head, measure),
    found = exact || attention(look, "cross", "mean", "mean");
  if (!found) return { links: [], by: "" };
  const between = merged(next ? oneLater(found) : found, shownSpans(look.target), shownSpans(look.source)),
    last = look.source.ends ? between.columns - 1 : between.columns;
  const links = Array.from({ length: between.rows }, (_, row) => {
    const ends = look.target.ends && row === between.rows - 1 && last < between.columns;
    const cells = between.cells.subarray(row * between.columns, row * between.columns + last);
    return [ends || !last ? last : cells.indexOf(Math.max(...cells)), row];
  });
  const name = exact ? headName("cross", layer, head) : headName("cross", "mean", "mean");
  return { links, by: "", attended: name + (next ? ", the step after" : "") };
}
