// What all figures share: looks, tooltips, reference bands, and drawing only what is seen.
// One colour has one meaning on the page: a line of the figures by depth, a panel of them, or a backbone.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]; // Okabe and Ito
const PANEL_COLOUR = "#8a6d3b"; // panels are told apart by shape and dashes
const BACKBONE_COLOURS = ["#882255", "#44aa99", "#999933", "#332288", "#aa4499", "#117733"]; // Paul Tol, muted
const DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [1, 3]];
const HOLLOW = "#fffffe"; // the style sheet replaces it by what lies behind
const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"];
const CONTROL_COLOUR = "#8a949f";
const TEXT_COLOUR = "#6b7580"; // the style sheet replaces it by that of the theme
const MOST_PANELS = 12;
const PANEL_HEIGHT = 310; // with titles, axis and gap
const PANEL_MARGIN = 84; // axis labels and the gap to the next panel
const NAMES_MARGIN = 98; // names of controls, right of a panel
const FAR = 0.5; // how far beyond all estimates intervals are drawn, in spans of the estimates
const MOST_PANEL_WIDTH = 620;
const CONFIG = {
  background: null,
  font: 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
  view: { stroke: null },
  range: { category: COLOURS },
  axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", tickSize: 3, labelPadding: 4, titlePadding: 8, domainWidth: 1 },
  axisX: { grid: false, labelAngle: 0 },
  axisY: { domain: false, ticks: false, minExtent: 26 },
  title: { fontSize: 13, fontWeight: 600, anchor: "start", frame: "group", subtitleFontSize: 12, offset: 8 },
  header: { labelFontSize: 12.5, labelFontWeight: 600, titleFontSize: 12 },
  legend: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", orient: "top", symbolType: "square", symbolStrokeWidth: 2 },
  concat: { spacing: 26 },
  facet: { spacing: 14 },
  aria: false,
};
const styleOf = (part, at) => ({
  colour: part === PANEL ? PANEL_COLOUR : (part === "backbone" ? BACKBONE_COLOURS : COLOURS)[at % COLOURS.length],
  shape: SHAPES[(at + Math.floor(at / COLOURS.length)) % SHAPES.length],
  dashes: part === PANEL ? DASHES[at % DASHES.length] : DASHES[0],
});

const tip = document.getElementById("tip");
let hovered = null; // the row under the pointer
document.addEventListener("keydown", (event) => {
  if (event.key !== "c" || event.ctrlKey || event.metaKey || hovered === null || tip.hidden) return;
  copied(data.ids[hovered]);
  tip.querySelectorAll("tr").forEach((line, at, lines) => { if (at === lines.length - 1) line.lastChild.textContent = "id copied"; });
});
const showTip = (event, value) => {
  if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
  const entries = typeof value === "object" ? Object.entries(value) : [["", String(value)]];
  const lines = entries.map(([name, text]) => element("tr", {}, element("th", {}, name), element("td", {}, String(text))));
  tip.replaceChildren(element("table", {}, ...lines));
  tip.hidden = false;
  const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 16 + tip.offsetHeight < window.innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? event.clientY + 16 : Math.max(8, event.clientY - tip.offsetHeight - 10)}px`;
};

// Draws a specification in place of what is there; where two overlap, the later one stays.
const embed = (canvas, spec, tooltip = () => {}) => vegaEmbed(canvas, { padding: 2, ...spec, config: { ...CONFIG, ...(spec.config ?? {}) } }, {
  mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, logLevel: 1, tooltip,
});
const draw = async (place, spec) => {
  const turn = (place.turn ?? 0) + 1;
  place.turn = turn;
  const canvas = element("div");
  const rowOf = (item) => item?.datum?.row ?? item?.datum?.rows?.[0] ?? null;
  const drawn = await embed(canvas, spec, (_handler, event, item, value) => { hovered = rowOf(item); showTip(event, value); });
  drawn.view.addEventListener("click", (_event, item) => {
    const row = rowOf(item);
    if (row === null) return;
    tip.hidden = true;
    openStory(row);
  });
  if (place.turn !== turn) { drawn.finalize(); return; }
  place.drawn?.finalize();
  place.drawn = drawn;
  place.replaceChildren(canvas);
  if (place.dataset.drawing !== undefined) keepHeight(place);
};
// A figure holds the height that it had, so that what stands below it moves only when it grows.
const keepHeight = (place) => {
  place.style.minHeight = "";
  place.style.minHeight = `${place.offsetHeight}px`;
};
const clear = (place, ...children) => {
  place.turn = (place.turn ?? 0) + 1;
  place.drawn?.finalize();
  place.drawn = null;
  place.replaceChildren(...children);
};

// A figure is drawn when it comes into view, and again when what it shows has changed since.
const figures = [];
const watcher = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    const figure = figures.find(({ place }) => place === target);
    figure.visible = isIntersecting;
    if (isIntersecting) refresh(figure);
  }
}, { rootMargin: "250px" });
const refresh = (figure) => {
  if (!figure.stale) return;
  figure.stale = false;
  figure.render();
};
const addFigure = (place, render) => {
  const figure = { place, render, stale: true, visible: false };
  figures.push(figure);
  watcher.observe(place);
  listeners.push(() => { figure.stale = true; if (figure.visible) refresh(figure); else whenIdle(drawRest); });
  return figure;
};
// What is not seen is drawn while nothing else is to do, so that it is there when it is seen or printed.
const whenIdle = window.requestIdleCallback ?? ((act) => setTimeout(act, 50));
const drawRest = () => {
  const next = figures.find((figure) => figure.stale);
  if (!next) return;
  refresh(next);
  whenIdle(drawRest);
};
window.addEventListener("beforeprint", () => figures.forEach(refresh));

// As many panels side by side as there is room for, in rows of about the same length.
const panelsAbreast = (place, count, least) => {
  const most = Math.max(1, Math.floor(place.clientWidth / least));
  return Math.ceil(count / Math.ceil(count / most));
};

// Panels in rows, a drawing each, so that paper can be turned between them.
const drawRows = async (canvas, panels, abreast, length) => {
  const rows = [];
  for (let at = 0; at < panels.length; at += length) rows.push(panels.slice(at, at + length));
  if (canvas.children.length !== rows.length || !canvas.drawn) {
    clearRows(canvas);
    canvas.replaceChildren(...rows.map(() => element("div", { class: "row" })));
  }
  await Promise.all(rows.map((row, at) => draw(canvas.children[at], { concat: row, columns: abreast })));
  canvas.drawn = { spec: { concat: panels, columns: abreast } };
  keepHeight(canvas);
};
const clearRows = (canvas) => {
  [...canvas.children].forEach((row) => clear(row));
  canvas.drawn = null;
};

// A figure of panels: as many as are asked for, the rest behind a button.
const addPanels = (place, name, describe, find, least, heightOf = () => PANEL_HEIGHT, isWhole = false) => {
  let most = MOST_PANELS;
  const canvas = element("div");
  const more = element("button", { type: "button", class: "more" });
  place.append(canvas, more);
  figureTools(place, () => canvas.drawn, () => fileName(data.title, name, state.measure.column));
  const reserve = () => {
    if (canvas.drawn) return;
    const count = Math.min(find().length, most);
    const rows = Math.ceil(count / panelsAbreast(place, count, least));
    canvas.style.minHeight = `${count ? rows * heightOf() : 60}px`;
  };
  const render = async () => {
    const panels = find();
    place.setAttribute("aria-label", describe(panels.length));
    more.hidden = panels.length <= most;
    more.textContent = `Show ${Math.min(MOST_PANELS, panels.length - most)} more of ${panels.length} panels`;
    if (!panels.length) {
      clearRows(canvas);
      canvas.replaceChildren(element("p", { class: "empty" }, "Nothing to draw with these filters."));
      return;
    }
    const shown = panels.slice(0, most);
    const abreast = panelsAbreast(place, shown.length, least);
    const margin = PANEL_MARGIN + (chosenRows.some(isControl) ? NAMES_MARGIN : 0);
    const width = Math.min(MOST_PANEL_WIDTH, Math.floor(place.clientWidth / abreast) - margin);
    await drawRows(canvas, shown.map((panel) => panel(width)), abreast, isWhole ? shown.length : abreast);
  };
  const figure = addFigure(place, render);
  more.addEventListener("click", () => { most += MOST_PANELS; render(); });
  listeners.push(() => { most = MOST_PANELS; reserve(); });
  new ResizeObserver(() => {
    if (figure.width !== undefined && figure.width !== place.clientWidth) {
      figure.stale = true;
      if (figure.visible) refresh(figure);
    }
    figure.width = place.clientWidth;
  }).observe(place);
};

// Limits of the value axis: all estimates, and their intervals unless these go far beyond; a unit's ceiling is shown in
// any case.
const valueLimits = (rows) => {
  const shown = rows.filter((row) => isDefined(row)).map((row) => estimateOf(row));
  const lowest = shown.reduce((low, one) => Math.min(low, one.value), 0);
  const highest = shown.reduce((high, one) => Math.max(high, one.value), state.measure.ceiling ?? 0);
  const room = FAR * (highest - lowest || 1);
  const low = Math.max(lowest - room, shown.reduce((low, one) => Math.min(low, one.low ?? low), lowest));
  const high = Math.min(highest + room, shown.reduce((high, one) => Math.max(high, one.high ?? high), highest));
  const margin = 0.04 * (high - low || 1);
  return [low < 0 ? low - margin : low, high + margin];
};
const valueAxis = (limits) => ({
  type: "quantitative",
  scale: { domain: limits, nice: false, zero: false },
  title: axisTitle(state.measure),
  axis: { tickCount: 5 },
});

// Which line of a figure a row belongs to; a control of the data set is of no backbone.
const seriesOf = (row, part) => {
  if (part !== "backbone" || !isControl(row)) return nameOf(row, part);
  return data.control_of[row] === null ? "" : names.backbone[data.control_of[row]] ?? "";
};
const seriesColour = (series, part) => {
  const at = names[part].indexOf(series);
  return at < 0 || series === "" ? CONTROL_COLOUR : styleOf(part, at).colour;
};
// Controls, dashed, each line of the figure with its own: at each place of the x axis the ends of their interval. One
// that has a single place on an axis that all share, such as layers, goes over the whole width.
const controlBand = (rows, at, part) => {
  const all = rows.map((row) => estimateOf(row));
  const name = names.control[columns.control[rows[0]]];
  const one = (row) => [joined([nameOf(row, PANEL), nameOf(row, LINE), nameOf(row, PLACE)]), estimateText(row)];
  return {
    ...at, name, rows, series: seriesOf(rows[0], part),
    low: Math.min(...all.map((one) => one.low ?? one.value)),
    high: Math.max(...all.map((one) => one.high ?? one.value)),
    value: all.reduce((sum, one) => sum + one.value, 0) / all.length,
    tip: { control: name, ...Object.fromEntries(rows.map(one)), cell: shortId(rows[0]), [HINT]: "click: its story · c: copy its id" },
  };
};
const controlBands = (rows, x, placeOf, part) => {
  const lines = new Map();
  for (const row of rows) {
    const key = [columns.control[row], seriesOf(row, part)].join(" ");
    if (!lines.has(key)) lines.set(key, new Map());
    const places = lines.get(key), at = placeOf(row);
    places.set(at, [...(places.get(at) ?? []), row]);
  }
  return [...lines.values()].map((places) => [...places].map(([at, rows]) => controlBand(rows, { [x.field]: at }, part)));
};
const controlLayers = (rows, x, placeOf, limits, width, part, isFlat = () => false) => {
  const bands = controlBands(rows, x, placeOf, part);
  const y = { field: "value", ...valueAxis(limits) };
  const ends = { y: { ...y, field: "low" }, y2: { field: "high" } };
  const layers = bands.flatMap((values) => {
    const color = seriesColour(values[0].series, part);
    const dashed = { color, strokeDash: [4, 3], strokeWidth: 1.2, opacity: 0.85 };
    const tooltip = { field: "tip" };
    if (isFlat(values)) return [
      { data: { values }, mark: { type: "rect", color, opacity: 0.1, clip: true }, encoding: { ...ends, tooltip } },
      { data: { values }, mark: { type: "rule", ...dashed }, encoding: { y, tooltip } }];
    return [
      { data: { values }, mark: { type: "area", color, opacity: 0.1, clip: true }, encoding: { x, ...ends } },
      { data: { values: values.length > 1 ? [] : values }, mark: { type: "rule", color, clip: true }, encoding: { x, ...ends } },
      { data: { values }, mark: { type: "line", ...dashed }, encoding: { x, y } },
      { data: { values }, mark: { type: "point", color, filled: true, size: 22, opacity: 1 }, encoding: { x, y, tooltip } }];
  });
  return bands.length ? [...layers, controlLabels(bands, x, limits, width)] : [];
};
// Names right of the panel, each at the height of its last place and once for lines that lie together, moved apart from
// the lowest up.
const controlLabels = (bands, x, limits, width) => {
  const gap = 0.075 * (limits[1] - limits[0]);
  const labels = [];
  const order = x.sort ?? x.scale?.domain ?? null;
  const place = (one) => (order ? order.indexOf(one[x.field]) : one[x.field]);
  const last = bands.map((places) => places.reduce((a, b) => (place(b) > place(a) ? b : a))).sort((a, b) => a.value - b.value);
  const named = last.filter((one, at) => !last.slice(0, at).some((other) => other.name === one.name && one.value - other.value < gap));
  for (const { name, value } of named) {
    labels.push({ name: shortened(name, 15), at: Math.max(value, labels.length ? labels.at(-1).at + gap : limits[0]) });
  }
  let ceiling = limits[1];
  for (const label of labels.toReversed()) {
    label.at = Math.min(label.at, ceiling);
    ceiling = label.at - gap;
  }
  return {
    data: { values: labels },
    mark: { type: "text", align: "left", baseline: "middle", fontSize: 12, color: TEXT_COLOUR, x: width + 5 },
    encoding: { y: { field: "at", ...valueAxis(limits) }, text: { field: "name" } },
  };
};

const SYMBOLS = {
  circle: "M0-4.5A4.5 4.5 0 1 1 0 4.5A4.5 4.5 0 1 1 0-4.5", square: "M-4-4h8v8h-8z", "triangle-up": "M0-5L5 4H-5z",
  diamond: "M0-5.5L5 0L0 5.5L-5 0z", cross: "M-1.7-5h3.4v3.3H5v3.4H1.7V5h-3.4V1.7H-5v-3.4h3.3z", "triangle-down": "M0 5L5-4H-5z",
};
const addLegend = (place, partOf, rows) => listeners.push(() => {
  const part = partOf();
  const present = presentNames(rows(), part).filter((at) => names[part][at] !== "");
  place.replaceChildren(...present.map((at) => {
    const style = styleOf(part, at);
    const picture = drawing({ width: 26, height: 12, viewBox: "-13 -6 26 12" }, `<path d="M-13 0H13" stroke="${style.colour}" stroke-width="2" stroke-dasharray="${style.dashes.join(" ")}"/><path d="${SYMBOLS[style.shape]}" fill="${style.colour}"/>`);
    return element("span", {}, picture, names[part][at]);
  }));
});
const markScales = (part) => {
  const domain = names[part], field = FIELDS[part] ?? part;
  const scaled = (look) => ({ field, type: "nominal", legend: null, scale: { domain, range: domain.map((_, at) => styleOf(part, at)[look]) } });
  return { color: scaled("colour"), shape: scaled("shape"), strokeDash: scaled("dashes") };
};
// Line, band, whiskers and points of estimates over an ordinal axis; `apart` moves what lies at one place.
const estimateLayers = (values, x, limits, part, apart = {}) => {
  const y = { field: "value", ...valueAxis(limits) };
  const { color, shape, strokeDash } = markScales(part);
  const point = { type: "point", opacity: 1, size: 46, cursor: "pointer" };
  const bounded = values.filter((one) => one.low !== null && one.high !== null);
  return [
    { data: { values: bounded }, mark: { type: "area", opacity: 0.16, clip: true }, encoding: { x, ...apart, y: { ...y, field: "low" }, y2: { field: "high" }, color } },
    { data: { values: bounded }, mark: { type: "rule", strokeWidth: 1.3, opacity: 0.75, clip: true }, encoding: { x, ...apart, y: { ...y, field: "low" }, y2: { field: "high" }, color } },
    { data: { values }, mark: { type: "line", strokeWidth: 1.8 }, encoding: { x, ...apart, y, color, ...(part === PANEL ? { strokeDash } : {}) } },
    { data: { values: values.filter((one) => !one.flagged) }, mark: { ...point, filled: true }, encoding: { x, ...apart, y, color, shape, tooltip: { field: "tip" } } },
    { data: { values: values.filter((one) => one.flagged) }, mark: { ...point, filled: false, fill: HOLLOW, strokeWidth: 2 }, encoding: { x, ...apart, y, color, shape, tooltip: { field: "tip" } } },
  ];
};
const valueOf = (row) => ({
  ...estimateOf(row), place: nameOf(row, PLACE), line: nameOf(row, LINE), panel: nameOf(row, PANEL),
  backbone: nameOf(row, "backbone"), row, flagged: isRedFlagged(row), tip: facts(row),
});
const joined = (texts) => texts.filter(Boolean).join(" · ");
// The first part that has a name is the title, the others stand below it; the data set is one where there are several.
const panelTitle = (row, parts) => {
  const [first, ...others] = parts.map((part) => nameOf(row, part)).filter(Boolean);
  const dataset = names.dataset.length > 1 ? [nameOf(row, "dataset")] : [];
  const [text, ...below] = [...(first === undefined ? [] : [first]), ...others, ...dataset];
  return { text: shortened(text ?? "", 42), subtitle: shortened(joined(below), 52) };
};
// Names on the axis of depth; one that ends several backbones, such as the last layer, is at the end, however deep.
const placesOf = (rows) => {
  const depth = new Map();
  for (const row of rows) depth.set(nameOf(row, PLACE), Math.max(depth.get(nameOf(row, PLACE)) ?? -Infinity, data.depth[row] ?? 0));
  return [...depth.keys()].sort((a, b) => depth.get(a) - depth.get(b));
};
