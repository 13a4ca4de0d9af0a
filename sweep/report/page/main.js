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
const exhibitSpec = (drawing) => {
  const values = drawing.data?.values;
  if (!Array.isArray(values)) return drawing;
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
  return { ...drawing, data: { ...drawing.data, values: values.filter(isShown) } };
};
const startExhibit = (place) => addFigure(place, () => draw(place, exhibitSpec(data.drawings[Number(place.dataset.drawing)])));

const start = () => {
  document.documentElement.classList.add("scripted");
  startTheme();
  if (!allRows.length) return;
  startFilters();
  document.querySelectorAll("[data-table]").forEach(startTable);
  const cells = () => chosenRows.filter((row) => !isControl(row) && isDefined(row));
  document.querySelectorAll("[data-legend]").forEach((place) => addLegend(place, place.dataset.legend === "line" ? LINE : PANEL, cells));
  const starts = { curves: startCurves, heatmap: startHeatmap, ladder: startLadder, parameter: startParameter };
  document.querySelectorAll("[data-figure]").forEach((place) => starts[place.dataset.figure](place));
  document.querySelectorAll("[data-drawing]").forEach(startExhibit);
  changed();
  document.documentElement.dataset.ready = "true";
};
start();
