// A measure over backbones and layers: a panel a data set, mode and probe. A backbone's controls stand below it at
// their layers, those of the data set below all.
const MOST_NUMBERS = 16;

const heatmapPanels = () => {
  const shown = chosenRows.filter((row) => isDefined(row));
  const [low, high] = valueLimits(shown);
  const domain = state.measure.unit === "ratio" ? [0, Math.max(1, Math.min(high, 1.05))] : [Math.min(0, low), high];
  const cells = chosenRows.filter((row) => !isControl(row));
  const width = document.querySelector('[data-figure="heatmap"]').clientWidth;
  return grouped(cells, ["dataset", "probe", "mode"]).map((rows) => () => {
    const same = (row) => ["dataset", "probe", "mode"].every((part) => columns[part][row] === columns[part][rows[0]]);
    const controls = chosenRows.filter((row) => isControl(row) && same(row));
    const layers = [...layersOf(rows), ...(controls.some(isOfDataSet) ? ["control"] : [])];
    const step = Math.max(15, Math.min(54, Math.floor((Math.min(width, 1100) - 230) / Math.max(layers.length, 6))));
    return heatmapPanel(rows, controls, layers, step, domain);
  });
};
const heatmapPlace = (row) => [
  Number(isOfDataSet(row)), columns.control_of[row] ?? columns.backbone[row], columns.control[row], columns.backbone[row],
];
const heatmapPanel = (rows, controls, layers, step, domain) => {
  const digits = layers.length > MOST_NUMBERS || step < 34 ? null : Math.min(2, state.measure.decimals);
  const shareOf = (value) => (value - domain[0]) / (domain[1] - domain[0]);
  const value = (row) => {
    const one = estimateOf(row).value;
    return {
      backbone: shortened(nameOf(row, "backbone"), 34), layer: isOfDataSet(row) ? "control" : nameOf(row, "layer"), value: one, tip: facts(row),
      text: isFailed(row) ? "×" : one === null ? "–" : digits === null ? "" : decimal(one, digits),
      dark: one !== null && shareOf(one) < 0.5,
    };
  };
  const values = [...rows, ...controls].sort((a, b) => comparedLists(heatmapPlace(a), heatmapPlace(b))).map(value);
  const order = [...new Set(values.map((one) => one.backbone))];
  const x = { field: "layer", type: "ordinal", sort: layers, title: "layer", axis: { labelOverlap: "greedy", domain: false, ticks: false } };
  const y = { field: "backbone", type: "nominal", sort: order, title: null, axis: { labelLimit: step < 20 ? 130 : 210 } };
  const text = (of, color) => ({
    data: { values: of }, mark: { type: "text", fontSize: 10.5, color }, encoding: { x, y, text: { field: "text" }, tooltip: { field: "tip" } },
  });
  const scheme = { domain, clamp: true, scheme: "cividis" };
  const colour = { field: "value", type: "quantitative", scale: scheme, title: axisTitle(state.measure), legend: { gradientLength: 180, orient: "top", titleFontWeight: "normal", titleLimit: 300 } };
  return {
    width: { step }, height: { step: 26 },
    title: panelTitle(rows[0], names.dataset.length > 1 ? ["probe", "mode", "dataset"] : ["probe", "mode"]),
    layer: [
      { data: { values: values.filter((one) => one.value !== null) }, mark: { type: "rect", cornerRadius: 2 }, encoding: { x, y, color: colour, tooltip: { field: "tip" } } },
      text(values.filter((one) => one.value === null), TEXT_COLOUR),
      text(values.filter((one) => one.value !== null && one.dark), "#ffffff"),
      text(values.filter((one) => one.value !== null && !one.dark), "#111111"),
    ],
  };
};
const startHeatmap = (place) => addPanels(
  place, (count) => `${state.measure.label} by backbone and layer, ${counted(count, "panel")}; the numbers are in the table of all cells.`, heatmapPanels, 460);
