// A measure against depth: lines, with a panel a backbone and combination of panel dimensions; on demand all backbones
// in one panel, and a panel a line.
const LEAST_CURVE_WIDTH = 300;

const curvePanels = () => {
  const limits = valueLimits(chosenRows);
  const rows = foremost(chosenRows);
  const cells = rows.filter((row) => !isControl(row) && isDefined(row));
  const [facets, part] = state.overlaid ? [[LINE, PANEL], "backbone"] : [["backbone", PANEL], LINE];
  return grouped(cells, ["dataset", ...facets]).map((of) => (width) => {
    const isSame = (row, by) => columns[by][row] === columns[by][of[0]];
    const isHere = (row) => (isOfDataSet(row) || isSame(row, PANEL)) && (!state.overlaid || isSame(row, LINE));
    const backbones = [...new Set(of.map((row) => columns.backbone[row]))].map((at) => of.find((row) => columns.backbone[row] === at));
    const controls = [...new Set(backbones.flatMap((row) => controlsFor(row, rows)))].filter(isHere);
    const places = placesOf(of);
    const scale = places.length > 1 ? { type: "point", padding: 0.3 } : { type: "band", padding: 0.2 };
    const x = { field: "place", type: "ordinal", sort: places, title: labels.depth, axis: { labelOverlap: "greedy" }, scale };
    const field = FIELDS[part] ?? part;
    const apart = places.length > 1 ? {} : { xOffset: { field, type: "nominal", scale: { domain: presentNames(cells, part).map((at) => names[part][at]) } } };
    return {
      width, height: 190,
      title: panelTitle(of[0], facets),
      layer: [...controlLayers(controls, x, (row) => nameOf(row, PLACE), limits, width, part, (bands) => bands.length === 1), ...estimateLayers(of.map(valueOf), x, limits, part, apart)],
    };
  });
};
const startCurves = (place) => addPanels(
  place, labels.depth ? `by_${labels.depth}` : "estimates",
  (count) => `${state.measure.label} by ${labels.depth ?? "backbone"}, ${counted(count, "panel")}; the numbers are in the table of all cells.`, curvePanels, LEAST_CURVE_WIDTH);
const startOverlay = (box) => {
  box.checked = state.overlaid;
  box.closest("label").hidden = presentNames(allRows.filter((row) => !isControl(row)), "backbone").length < 2;
  box.addEventListener("change", () => { state.overlaid = box.checked; changed(); });
};
