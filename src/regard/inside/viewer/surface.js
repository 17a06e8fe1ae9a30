// Where pictures are drawn: the same calls make a canvas on the screen, a PNG, and an SVG.

const FONT = 'system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif';
const ruler = document.createElement("canvas").getContext("2d");

function font(size = 12, weight = 400) {
  return `${weight} ${size}px ${FONT}`;
}

function widthOf(text, size = 12, weight = 400) {
  ruler.font = font(size, weight);
  return ruler.measureText(text).width;
}

/** A text cut so that it is at most so wide. */
function fitted(text, most, size = 12, weight = 400) {
  if (widthOf(text, size, weight) <= most) return text;
  let parts = graphemes(text);
  const rough = Math.max(1, Math.ceil((most / widthOf(text, size, weight)) * parts.length) + 2);
  parts = parts.slice(0, rough);
  while (parts.length > 1 && widthOf(parts.join("") + "…", size, weight) > most) parts.pop();
  return parts.join("") + "…";
}

class CanvasSurface {
  constructor(context) {
    this.context = context;
  }

  rect(x, y, width, height, { fill, stroke, line = 1, radius = 0 } = {}) {
    const { context } = this;
    context.beginPath();
    if (radius && context.roundRect) context.roundRect(x, y, width, height, radius);
    else context.rect(x, y, width, height);
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    if (stroke) {
      context.strokeStyle = stroke;
      context.lineWidth = line;
      context.stroke();
    }
  }

  text(x, y, text, { size = 12, weight = 400, fill = ink("ink"), align = "left", turn = 0, rtl = false } = {}) {
    const { context } = this;
    context.save();
    context.translate(x, y);
    if (turn) context.rotate((turn * Math.PI) / 180);
    context.font = font(size, weight);
    context.fillStyle = fill;
    context.direction = rtl ? "rtl" : "ltr";
    context.textAlign = align;
    context.textBaseline = "alphabetic";
    context.fillText(text, 0, 0);
    context.restore();
  }

  path(points, { stroke, line = 1, opacity = 1, dash = [] } = {}) {
    const { context } = this;
    context.save();
    context.globalAlpha = opacity;
    context.strokeStyle = stroke;
    context.lineWidth = line;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(...points[0]);
    if (points.length === 4) context.bezierCurveTo(...points[1], ...points[2], ...points[3]);
    else points.slice(1).forEach((point) => context.lineTo(...point));
    context.stroke();
    context.restore();
  }

  image(source, x, y, width, height, smooth = false) {
    this.context.imageSmoothingEnabled = smooth;
    this.context.drawImage(source.canvas, x, y, width, height);
  }
}

const SVG = "http://www.w3.org/2000/svg";
const MOST_RECTANGLES = 16384; // cells of a picture in an SVG; above it the cells are one image in it

class SvgSurface {
  constructor(width, height) {
    this.root = document.createElementNS(SVG, "svg");
    this.set(this.root, { viewBox: `0 0 ${width} ${height}`, width, height, "font-family": FONT });
    this.rectangles = 0;
  }

  set(element, attributes) {
    for (const [name, value] of Object.entries(attributes))
      if (value !== undefined && value !== "")
        element.setAttribute(name, typeof value === "number" ? String(+value.toFixed(2)) : value);
    return element;
  }

  add(tag, attributes, text) {
    const element = this.set(document.createElementNS(SVG, tag), attributes);
    if (text !== undefined) element.textContent = text;
    this.root.append(element);
    return element;
  }

  rect(x, y, width, height, { fill = "none", stroke, line = 1, radius = 0 } = {}) {
    this.add("rect", {
      x,
      y,
      width,
      height,
      fill,
      stroke,
      "stroke-width": stroke ? line : undefined,
      rx: radius || undefined,
    });
  }

  text(x, y, text, { size = 12, weight = 400, fill = ink("ink"), align = "left", turn = 0, rtl = false } = {}) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    const turned = rtl ? { start: "end", middle: "middle", end: "start" }[anchor] : anchor; // an anchor follows the direction
    this.add(
      "text",
      {
        x: turn ? undefined : x,
        y: turn ? undefined : y,
        transform: turn ? `translate(${+x.toFixed(2)} ${+y.toFixed(2)}) rotate(${turn})` : undefined,
        "font-size": size,
        "font-weight": weight === 400 ? undefined : weight,
        fill,
        "text-anchor": turned,
        direction: rtl ? "rtl" : undefined,
      },
      text,
    );
  }

  path(points, { stroke, line = 1, opacity = 1, dash = [] } = {}) {
    const at = points.map((point) => point.map((each) => +each.toFixed(2)).join(" "));
    const d = points.length === 4 ? `M${at[0]}C${at.slice(1).join(" ")}` : `M${at.join("L")}`;
    this.add("path", {
      d,
      fill: "none",
      stroke,
      "stroke-width": line,
      opacity: +opacity.toFixed(3),
      "stroke-dasharray": dash.join(" "),
    });
  }

  image(source, x, y, width, height) {
    const { columns, rows, colour } = source;
    if ((this.rectangles += rows * columns) > MOST_RECTANGLES) {
      this.add("image", {
        href: source.canvas.toDataURL("image/png"),
        x,
        y,
        width,
        height,
        preserveAspectRatio: "none",
        "image-rendering": "pixelated",
      });
      return;
    }
    const [wide, tall] = [width / columns, height / rows];
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        this.add("rect", {
          x: x + column * wide,
          y: y + row * tall,
          width: wide + 0.05,
          height: tall + 0.05,
          fill: colour(row, column),
        });
  }

  toString() {
    return new XMLSerializer().serializeToString(this.root);
  }
}

/** A matrix as pixels, one a cell, or fewer where `most` pixels a side are not enough: then the largest of several. */
function pixels(found, { colourOf, table, mirrored = false, most = Infinity }) {
  const rows = Math.max(1, Math.min(found.rows, most)),
    columns = Math.max(1, Math.min(found.columns, most));
  const shown = rows === found.rows && columns === found.columns ? found.cells : pooled(found, rows, columns);
  const forbidden = channels(ink("forbidden")),
    canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d"),
    image = context.createImageData(columns, rows);
  const place = (column) => (mirrored ? columns - 1 - column : column);
  const chosen = (row, column) =>
    found.triangle && column * rows > row * columns + columns - 1
      ? forbidden
      : table[colourOf(shown[row * columns + column] || 0)];
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const [red, green, blue] = chosen(row, column),
        at = 4 * (row * columns + place(column));
      image.data[at] = red;
      image.data[at + 1] = green;
      image.data[at + 2] = blue;
      image.data[at + 3] = 255;
    }
  context.putImageData(image, 0, 0);
  return { canvas, rows, columns, colour: (row, column) => css(chosen(row, place(column))) };
}

/** A smaller matrix: of the cells that fall together the largest stays, so that no single peak is lost. */
function pooled({ rows, columns, cells }, tall, wide) {
  const found = new Float32Array(tall * wide);
  const columnOf = Uint32Array.from({ length: columns }, (_, column) => Math.floor((column * wide) / columns));
  for (let row = 0; row < rows; row++) {
    const start = Math.floor((row * tall) / rows) * wide;
    for (let column = 0; column < columns; column++) {
      const value = cells[row * columns + column],
        at = start + columnOf[column];
      if (Math.abs(value) > Math.abs(found[at])) found[at] = value;
    }
  }
  return found;
}

// A canvas too large for a browser stays blank; such a picture gets fewer pixels instead.
const MOST_PIXELS = 16e6;

/** A canvas with nothing on it, as large as a drawing, and sharp on this screen. One that has this size is used again. */
function blank(canvas, { width, height }, density = window.devicePixelRatio || 1) {
  const fine = Math.min(density, Math.sqrt(MOST_PIXELS / (width * height || 1)));
  const wide = Math.max(1, Math.round(width * fine)),
    tall = Math.max(1, Math.round(height * fine));
  const context = canvas.getContext("2d");
  if (canvas.width !== wide || canvas.height !== tall) {
    canvas.width = wide;
    canvas.height = tall;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, wide, tall);
  context.scale(wide / width || 1, tall / height || 1);
  return context;
}

/** A drawing (its size, and a function that draws it on a surface) on a canvas. */
function canvasOf(drawing, density, canvas = make("canvas", { "aria-hidden": "true" })) {
  drawing.paint(new CanvasSurface(blank(canvas, drawing, density)));
  return canvas;
}

// Making a large canvas takes longer than drawing on it: each picture keeps its two.
const canvases = new Map();

function canvasFor(id) {
  if (!canvases.has(id)) canvases.set(id, make("canvas", { "aria-hidden": "true" }));
  return canvases.get(id);
}
