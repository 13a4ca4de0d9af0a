// A measure over backbones and depth: a panel a data set, line and panel of the other figures. Without depth, the lines
// are across. A backbone's controls stand below it at their places, those of the data set below all.
const MOST_NUMBERS = 16;
const FACETS = labels.depth === null ? ["dataset", PANEL] : ["dataset", LINE, PANEL];

const heatmapPanels = () => {
  const [low, high] = valueLimits(chosenRows);
  const most = state.measure.ceiling;
  const domain = most === null ? [Math.min(0, low), high] : [0, Math.max(most, Math.min(high, 1.05 * most))];
  const all = foremost(chosenRows);
  const cells = all.filter((row) => !isControl(row));
  const width = document.querySelector('[data-figure="heatmap"]').clientWidth;
  const hasSome = (rows) => rows.some((row) => isDefined(row) || isFailed(row)); // a measure may not be of all lines
  return grouped(cells, FACETS).filter(hasSome).map((rows) => () => {
    const same = (row) => FACETS.every((part) => columns[part][row] === columns[part][rows[0]]);
    const controls = all.filter((row) => isControl(row) && same(row));
    const places = placesAcross(rows, controls);
    const step = Math.max(15, Math.min(54, Math.floor((Math.min(width, 1100) - 230) / Math.max(places.length, 6))));
    return heatmapPanel(rows, controls, places, step, domain);
  });
};
const placesAcross = (rows, controls) => labels.depth === null
  ? presentNames([...rows, ...controls], LINE).map((at) => names[LINE][at])
  : [...placesOf(rows), ...(controls.some(isOfDataSet) ? ["control"] : [])];
const placeAcross = (row) => {
  if (labels.depth === null) return nameOf(row, LINE);
  return isOfDataSet(row) ? "control" : nameOf(row, PLACE);
};
const heatmapPlace = (row) => [
  Number(isOfDataSet(row)), data.control_of[row] ?? columns.backbone[row], columns.control[row], columns.backbone[row],
];
const heatmapPanel = (rows, controls, places, step, domain) => {
  const digits = places.length > MOST_NUMBERS || step < 34 ? null : Math.min(2, state.measure.decimals);
  const shareOf = (value) => (value - domain[0]) / (domain[1] - domain[0]);
  const value = (row) => {
    const one = estimateOf(row).value;
    return {
      backbone: shortened(nameOf(row, "backbone"), 34), place: placeAcross(row), value: one, tip: facts(row),
      text: isFailed(row) ? "×" : one === null ? "–" : digits === null ? "" : decimal(one, digits),
      dark: one !== null && shareOf(one) < 0.5,
    };
  };
  const values = [...rows, ...controls].sort((a, b) => comparedLists(heatmapPlace(a), heatmapPlace(b))).map(value);
  const order = [...new Set(values.map((one) => one.backbone))];
  const x = { field: "place", type: "ordinal", sort: places, title: labels.across, axis: { labelOverlap: "greedy", domain: false, ticks: false } };
  const y = { field: "backbone", type: "nominal", sort: order, title: null, axis: { labelLimit: step < 20 ? 130 : 210 } };
  const text = (of, color) => ({
    data: { values: of }, mark: { type: "text", fontSize: 10.5, color }, encoding: { x, y, text: { field: "text" }, tooltip: { field: "tip" } },
  });
  const scheme = { domain, clamp: true, scheme: "cividis" };
  const colour = { field: "value", type: "quantitative", scale: scheme, title: axisTitle(state.measure), legend: { gradientLength: 180, orient: "top", titleFontWeight: "normal", titleLimit: 300 } };
  return {
    width: { step }, height: { step: 26 },
    title: panelTitle(rows[0], FACETS.slice(1)),
    layer: [
      { data: { values: values.filter((one) => one.value !== null) }, mark: { type: "rect", cornerRadius: 2 }, encoding: { x, y, color: colour, tooltip: { field: "tip" } } },
      text(values.filter((one) => one.value === null), TEXT_COLOUR),
      text(values.filter((one) => one.value !== null && one.dark), "#ffffff"),
      text(values.filter((one) => one.value !== null && !one.dark), "#111111"),
    ],
  };
};
const startHeatmap = (place) => addPanels(
  place, (count) => `${state.measure.label} by backbone and ${labels.across}, ${counted(count, "panel")}; the numbers are in the table of all cells.`, heatmapPanels, 460);
