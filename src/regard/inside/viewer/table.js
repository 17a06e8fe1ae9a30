// What is seen as a table, for those who read it with their ears, and for copying.

function tableOf({ caption, head, rows }, name) {
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": `Table${name && ` ${name}`}: ${caption}` },
    make(
      "table",
      { class: "numbers" },
      make("caption", {}, caption),
      head.length
        ? make(
            "thead",
            {},
            make(
              "tr",
              {},
              head.map((each) => (each === "" ? make("td", {}) : make("th", { scope: "col" }, make("bdi", {}, each)))),
            ),
          )
        : null,
      make(
        "tbody",
        {},
        rows.map((row) =>
          make(
            "tr",
            {},
            row.map((each, place) => make(place ? "td" : "th", place ? {} : { scope: "row" }, make("bdi", {}, each))),
          ),
        ),
      ),
    ),
  );
}

function tables() {
  const view = VIEWS[state.view];
  return make(
    "div",
    {},
    subjects(view.differs).map((subject) => {
      const name = LOOKS.length < 2 ? "" : subject === "difference" ? "A less B" : lookName(subject);
      return [name ? make("h3", {}, name) : null, view.tables.map((table) => tableOf(table(subject), name))];
    }),
  );
}
