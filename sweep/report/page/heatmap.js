// A measure over backbones and depth: a panel a data set, line and panel of the other figures. Without depth, the lines
// are across. A backbone's controls stand below it at their places, those of the data set below all.
const MOST_NUMBERS = 16;
const ROW_HEIGHT = 26;
const FACETS = labels.depth === null ? ["dataset", PANEL] : ["dataset", LINE, PANEL];

const heatmapGroups = () => {
  const all = foremost(chosenRows);
  const hasSome = (rows) => rows.some((row) => isDefined(row) || isFailed(row)); // a measure may not be of all lines
  return grouped(all.filter((row) => !isControl(row)), FACETS).filter(hasSome).map((rows) => {
    const same = (row) => FACETS.every((part) => columns[part][row] === columns[part][rows[0]]);
    return { rows, controls: all.filter((row) => isControl(row) && same(row)) };
  });
};
const heatmapPanels = () => {
  const [low, high] = valueLimits(chosenRows);
  const most = state.measure.ceiling;
  const domain = most === null ? [Math.min(0, low), high] : [0, Math.max(most, Math.min(high, 1.05 * most))];
  const width = document.querySelector('[data-figure="heatmap"]').clientWidth;
  return heatmapGroups().map(({ rows, controls }) => () => {
    const places = placesAcross(rows, controls);
    const room = Math.min(width, 1100) - (narrow.matches ? 140 : 240);
    const step = Math.max(15, Math.min(54, Math.floor(room / Math.max(places.length, 6))));
    return heatmapPanel(rows, controls, places, step, domain);
  });
};
const heatmapHeight = () => 95 + ROW_HEIGHT * Math.max(1, ...heatmapGroups().map(({ rows, controls }) => new Set([...rows, ...controls].map((row) => columns.backbone[row])).size));
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
// Backbones begin alike; their ends tell them apart.
const endOf = (text, letters) => (text.length > letters ? `…${text.slice(1 - letters)}` : text);
// A number beyond the colours says on which side.
const clipMark = (value, [least, most], digits) => {
  const beyond = 0.5 / 10 ** digits;
  return value < least - beyond ? "▾" : value > most + beyond ? "▴" : "";
};
const heatmapPanel = (rows, controls, places, step, domain) => {
  const digits = places.length > MOST_NUMBERS || step < 34 ? null : Math.min(2, state.measure.decimals);
  const shareOf = (value) => (value - domain[0]) / (domain[1] - domain[0]);
  const value = (row) => {
    const one = estimateOf(row).value;
    const number = one === null || digits === null ? "" : decimal(one, Math.abs(one) < 10 ? digits : Math.min(1, digits));
    return {
      backbone: narrow.matches ? endOf(nameOf(row, "backbone"), 15) : shortened(nameOf(row, "backbone"), 34), place: placeAcross(row), value: one, row, tip: facts(row),
      text: isFailed(row) ? "×" : one === null ? "–" : number + clipMark(one, domain, Math.min(2, state.measure.decimals)),
      dark: one !== null && shareOf(one) < 0.5, flagged: one !== null && isRedFlagged(row),
    };
  };
  const values = [...rows, ...controls].sort((a, b) => comparedLists(heatmapPlace(a), heatmapPlace(b))).map(value);
  const order = [...new Set(values.map((one) => one.backbone))];
  const x = { field: "place", type: "ordinal", sort: places, title: labels.across, axis: { labelOverlap: "greedy", domain: false, ticks: false } };
  const y = { field: "backbone", type: "nominal", sort: order, title: null, axis: { labelLimit: step < 20 || narrow.matches ? 120 : 210 } };
  const text = (of, color) => ({
    data: { values: of }, mark: { type: "text", fontSize: 11, color }, encoding: { x, y, text: { field: "text" }, tooltip: { field: "tip" } },
  });
  const scheme = { domain, clamp: true, scheme: "cividis" };
  const colour = { field: "value", type: "quantitative", scale: scheme, title: axisTitle(state.measure), legend: { gradientLength: 180, orient: "top", titleFontWeight: "normal", titleLimit: 300 } };
  const ring = (of, color) => ({ data: { values: of }, mark: { type: "point", shape: "circle", size: 16, filled: false, color, strokeWidth: 1.5, xOffset: step / 2 - 6, yOffset: -ROW_HEIGHT / 2 + 6 }, encoding: { x, y } });
  const shown = values.filter((one) => one.value !== null), flagged = shown.filter((one) => one.flagged);
  return {
    width: { step }, height: { step: ROW_HEIGHT },
    title: panelTitle(rows[0], FACETS.slice(1)),
    layer: [
      { data: { values: shown }, mark: { type: "rect", cornerRadius: 2, cursor: "pointer" }, encoding: { x, y, color: colour, tooltip: { field: "tip" } } },
      text(values.filter((one) => one.value === null), TEXT_COLOUR),
      text(shown.filter((one) => one.dark), "#ffffff"),
      text(shown.filter((one) => !one.dark), "#111111"),
      ring(flagged.filter((one) => one.dark), "#ffffff"),
      ring(flagged.filter((one) => !one.dark), "#111111"),
    ],
  };
};
const startHeatmap = (place) => addPanels(
  place, "heatmap", (count) => `${state.measure.label} by backbone and ${labels.across}, ${counted(count, "panel")}; the numbers are in the table of all cells.`, heatmapPanels, 460, heatmapHeight, true);
