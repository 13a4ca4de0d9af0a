// Begins: colours, filters, tables, figures.
const THEMES = ["auto", "light", "dark"];
const showTheme = (theme) => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.querySelector("span").textContent = theme;
  button.setAttribute("aria-label", `Colours: ${theme === "auto" ? "as the system has them" : theme}`);
};
const startTheme = () => {
  let at = 0;
  document.getElementById("theme").addEventListener("click", () => {
    at = (at + 1) % THEMES.length;
    showTheme(THEMES[at]);
  });
};

// The read-out's own specifications; values that say their data set, backbone or a dimension are shown while a chosen
// row has the same.
const exhibitSpec = (drawing, room) => {
  const values = drawing.data?.values;
  const fit = (spec) => fitted(inOurColours(spec), room);
  if (!Array.isArray(values)) return fit(drawing);
  const chosen = new Map();
  const placesBy = (parts) => {
    const key = parts.join(" ");
    if (!chosen.has(key)) chosen.set(key, new Set(chosenRows.map((row) => JSON.stringify(parts.map((name) => nameOf(row, name))))));
    return chosen.get(key);
  };
  const isShown = (value) => {
    const parts = dimensions.map(({ name }) => name).filter((name) => names[name].includes(value[name]));
    return !parts.length || placesBy(parts).has(JSON.stringify(parts.map((name) => value[name])));
  };
  return fit({ ...drawing, data: { ...drawing.data, values: values.filter(isShown) } });
};
// What is coloured by backbone or by the dimension of lines has the colours that its values have in all figures.
const LINES = dimensions.filter(({ role }) => role === "line");
const colouredPart = (field) => (field === "backbone" ? "backbone" : LINES.length === 1 && field === LINES[0].name ? LINE : null);
const inOurColours = (spec) => {
  if (Array.isArray(spec)) return spec.map(inOurColours);
  if (spec === null || typeof spec !== "object") return spec;
  const { data: values, ...rest } = spec;
  const walked = Object.fromEntries(Object.entries(rest).map(([name, of]) => [name, inOurColours(of)]));
  const color = walked.encoding?.color;
  const coloured = color?.scale || !color?.field ? null : colouredPart(color.field);
  if (coloured !== null) {
    const present = presentNames(chosenRows, coloured);
    const scale = { domain: present.map((at) => names[coloured][at]), range: present.map((at) => styleOf(coloured, at).colour) };
    walked.encoding = { ...walked.encoding, color: { ...color, scale } };
  }
  return values === undefined ? walked : { ...walked, data: values };
};
// No wider than there is room for: panels in fewer columns, and a single one narrower.
const EXHIBIT_MARGIN = 70;
const NARROW = 420; // panels stand below one another, and hardly a name fits above one
const STACKED = { labelExpr: "split(datum.label, /, | · /)", titleAnchor: "start" }; // a name of several parts in lines
const fitted = (spec, room) => {
  if (typeof spec.width === "number") return { ...spec, width: Math.min(spec.width, Math.max(180, room - EXHIBIT_MARGIN)) };
  const width = panelWidth(spec);
  if (!width || !spec.facet) return spec;
  const isStepped = typeof spec.spec.width !== "number"; // cells of a matrix: nothing but the gap lies between two
  const gap = CONFIG.facet.spacing;
  const abreast = isStepped ? (room - EXHIBIT_MARGIN + gap) / (width + gap) : room / (width + EXHIBIT_MARGIN);
  const columns = Math.max(1, Math.min(spec.columns ?? 1, Math.floor(abreast)));
  const header = { ...spec.facet.header, ...STACKED };
  const facet = room < NARROW || columns < (spec.columns ?? 1) ? { ...spec.facet, header } : spec.facet;
  const inner = isStepped ? {} : { width: Math.min(width, Math.max(180, room - EXHIBIT_MARGIN)) };
  return { ...spec, columns, facet, spec: { ...spec.spec, ...inner } };
};
// Of a panel of several, given as a number or as a step for each value across.
const panelWidth = ({ data: { values } = {}, spec: panel = {} }) => {
  if (typeof panel.width === "number") return panel.width;
  const across = [panel, ...(panel.layer ?? [])].map((layer) => layer.encoding?.x?.field).find(Boolean);
  return panel.width?.step && across && Array.isArray(values) ? panel.width.step * new Set(values.map((value) => value[across])).size : 0;
};
const startExhibit = (place) => {
  const number = Number(place.dataset.drawing);
  const spec = () => exhibitSpec(data.drawings[number], place.clientWidth);
  addFigure(place, () => draw(place, spec()));
  figureTools(place, () => place.drawn, () => fileName(data.title, place.closest("figure").querySelector("h3").textContent));
  const height = heightOf(spec());
  if (height) place.style.minHeight = `${height}px`;
};
// About how high a specification will be, so that its place is kept.
const heightOf = (spec) => {
  const values = spec.data?.values ?? [];
  const kinds = (field) => new Set(values.map((value) => value[field])).size;
  if (spec.facet?.field && spec.spec) {
    const one = typeof spec.spec.height === "number" ? spec.spec.height : 200;
    return Math.ceil(kinds(spec.facet.field) / (spec.columns ?? 1)) * (one + 95) + 40;
  }
  if (typeof spec.height === "number") return spec.height + 70;
  const y = [spec, ...(spec.layer ?? [])].map((layer) => layer.encoding?.y?.field).find(Boolean);
  return spec.height?.step && y ? spec.height.step * kinds(y) + 80 : 0;
};

const start = () => {
  document.documentElement.classList.add("scripted");
  startTheme();
  if (!allRows.length) return;
  startFilters();
  readAddress();
  document.querySelectorAll("[data-search]").forEach(startSearch);
  document.querySelectorAll("[data-table]").forEach(startTable);
  document.querySelectorAll("[data-overlay]").forEach(startOverlay);
  startStory();
  const cells = () => chosenRows.filter((row) => !isControl(row) && isDefined(row));
  const legends = { line: () => LINE, panel: () => PANEL, curves: () => (state.overlaid ? "backbone" : LINE) };
  document.querySelectorAll("[data-legend]").forEach((place) => {
    const isOfLadder = place.dataset.legend === "panel";
    addLegend(place, legends[place.dataset.legend], () => (isOfLadder && isCrowded(cells()) ? [] : cells()));
  });
  const starts = { curves: startCurves, heatmap: startHeatmap, ladder: startLadder, parameter: startParameter };
  document.querySelectorAll("[data-figure]").forEach((place) => starts[place.dataset.figure](place));
  document.querySelectorAll("[data-drawing]").forEach(startExhibit);
  const showAddress = () => {
    document.getElementById("filters").dispatchEvent(new Event("read-state"));
    document.querySelectorAll("[data-overlay]").forEach((box) => { box.checked = state.overlaid; });
    document.querySelectorAll("[data-search] input").forEach((field) => { field.value = state.query; });
    const open = state.cell;
    changed();
    if (open !== null) openStory(open); else closeStory();
  };
  showAddress();
  listeners.push(writeAddress);
  window.addEventListener("hashchange", () => { if (readAddress()) showAddress(); });
  document.documentElement.dataset.ready = "true";
};
start();
