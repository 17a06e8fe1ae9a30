// What views are built of: pictures that answer to mouse and keys, choices, hints.

const pictures = []; // those on the page now: what is hovered in one is marked in its companions too

/** A drawing on the page. `locked`: the place that a click fixed. `choose` is called with a place, or null to let go. */
function picture(drawing, { title, group = "", locked = null, choose = () => {}, id, lockable = true }) {
  const readout = make("p", { class: "readout" }),
    overlay = canvasFor(`${id} overlay`);
  const base = canvasOf(drawing, undefined, canvasFor(id));
  overlay.className = "overlay";
  const frame = make(
    "div",
    {
      class: "picture",
      id,
      tabindex: 0,
      role: "application",
      "aria-label": title,
      css: { width: `${drawing.width}px`, height: `${drawing.height}px` },
    },
    base,
    overlay,
  );
  const self = {
    drawing,
    title,
    group,
    at: null,
    show: (place) => showPlace(self, place),
    overlay,
    readout,
    locked,
    lockable,
  };
  pictures.push(self);
  listen(frame, self, choose);
  showPlace(self, null);
  return make("div", { class: "pictured" }, readout, make("div", { class: "scroll" }, frame));
}

function placeOf(event, frame) {
  const box = frame.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function listen(frame, self, choose) {
  const { drawing } = self;
  frame.addEventListener("pointermove", (event) => hover(self, drawing.at(...placeOf(event, frame))));
  frame.addEventListener("pointerleave", () => hover(self, null));
  frame.addEventListener("click", (event) => {
    const place = drawing.at(...placeOf(event, frame));
    choose(place && self.locked && JSON.stringify(place) === JSON.stringify(self.locked) ? null : place);
  });
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = self.at || self.locked;
    if (event.key.startsWith("Arrow"))
      hover(self, place ? drawing.move(place, event.key) : drawing.begin || { row: 0, column: 0 });
    else if ((event.key === "Enter" || event.key === " ") && place)
      choose(self.locked && JSON.stringify(self.locked) === JSON.stringify(place) ? null : place);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Marks a place in a picture and in its companions; null goes back to what is locked. */
function hover(self, place) {
  if (JSON.stringify(place) === JSON.stringify(self.at)) return;
  for (const each of pictures) if (each === self || (self.group && each.group === self.group)) each.show(place);
}

function showPlace(self, place) {
  const { drawing, overlay, readout } = self;
  self.at = place;
  const shown = place || self.locked;
  overlay.hidden = !(shown && drawing.fits(shown));
  if (!overlay.hidden) {
    drawing.mark(new CanvasSurface(blank(overlay, drawing)), shown);
    readout.replaceChildren(
      ...[drawing.say(shown)].flat(),
      place || !self.lockable ? "" : make("span", { class: "soft" }, "  (locked; click it again to let go)"),
    );
    if (place && document.activeElement === overlay.parentNode) announce(readout.textContent);
  } else
    readout.replaceChildren(
      make("span", { class: "soft" }, drawing.hint || "Point at a cell to read its number; click to keep it."),
    );
}

/** Said by screen readers. */
function announce(text) {
  document.getElementById("said").textContent = text;
}

/** Buttons of which one is pressed. `items`: [value, name, hint]. */
function choice(title, items, now, pick, id) {
  return make(
    "div",
    { class: "choice", role: "group", "aria-label": title },
    make("span", { class: "choice-title", "aria-hidden": "true" }, title),
    make(
      "span",
      { class: "buttons" },
      items.map(([value, name, hint], place) =>
        make(
          "button",
          {
            type: "button",
            id: id && `${id}-${place}`,
            "aria-pressed": String(value === now),
            title: hint,
            onclick: () => pick(value),
          },
          name,
        ),
      ),
    ),
  );
}

/** A list to pick one from. */
function menu(title, items, now, pick, id) {
  const picked = (event) => pick(items[event.target.selectedIndex][0]);
  return make(
    "label",
    { class: "choice" },
    make("span", { class: "choice-title" }, title),
    make(
      "select",
      { id, onchange: picked },
      items.map(([value, name]) => make("option", { selected: value === now }, name)),
    ),
  );
}

/** A folded part that stays open when the page is drawn again. `content` is made only when it is seen. */
function folded(name, summary, content) {
  const box = make(
    "details",
    { id: `folded-${name}`, open: opened.has(name) },
    make("summary", { id: `summary-${name}` }, summary),
  );
  const body = make("div", { class: "folded" });
  box.append(body);
  if (opened.has(name)) body.append(content());
  box.addEventListener("toggle", () => {
    if (box.open === opened.has(name)) return;
    opened[box.open ? "add" : "delete"](name);
    body.replaceChildren(...(box.open ? [content()] : []));
  });
  return box;
}

function hint(...text) {
  return make("p", { class: "hint" }, ...text);
}

function nothing(why) {
  return make("p", { class: "nothing" }, why);
}

/** The width that a picture may take in one of so many columns. */
function roomFor(panes) {
  const whole = document.getElementById("view").clientWidth || 900;
  return panes > 1 && whole > 760 ? (whole - 40 * (panes - 1)) / panes : whole;
}

/** Panes beside each other, each with its name if there are two looks. */
function panes(shown, build) {
  const name = (subject) => (subject === "difference" ? "A less B" : lookName(subject));
  const headed = (subject) =>
    LOOKS.length > 1
      ? make(
          "h3",
          { class: "pane-name" },
          make("span", { class: "badge" }, name(subject)),
          subject === "difference" ? "" : ` ${describe(subject)}`,
        )
      : null;
  return make(
    "div",
    { class: shown.length > 1 ? "panes two" : "panes" },
    shown.map((subject) => make("section", { class: "pane" }, headed(subject), build(subject))),
  );
}

function describe(place) {
  const { model, changed, search } = LOOKS[place];
  return visible([model, changed.length ? `with ${changed.join(", ")}` : "", search.name].filter(Boolean).join(", "));
}
