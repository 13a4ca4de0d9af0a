// A measure against depth: lines, with a panel a backbone and combination of panel dimensions.
const LEAST_CURVE_WIDTH = 300;

const curvePanels = () => {
  const limits = valueLimits(chosenRows);
  const rows = foremost(chosenRows);
  const cells = rows.filter((row) => !isControl(row) && isDefined(row));
  return grouped(cells, ["dataset", "backbone", PANEL]).map((of) => (width) => {
    const isHere = (row) => isOfDataSet(row) || columns[PANEL][row] === columns[PANEL][of[0]];
    const controls = controlsFor(of[0], rows).filter(isHere);
    const places = placesOf(of);
    const scale = places.length > 1 ? { type: "point", padding: 0.3 } : { type: "band", padding: 0.2 };
    const x = { field: "place", type: "ordinal", sort: places, title: labels.depth, axis: { labelOverlap: "greedy" }, scale };
    const apart = places.length > 1 ? {} : { xOffset: { field: "line", type: "nominal", scale: { domain: presentNames(cells, LINE).map((at) => names[LINE][at]) } } };
    return {
      width, height: 190,
      title: panelTitle(of[0], ["backbone", PANEL]),
      layer: [...controlLayers(controls, x, (row) => nameOf(row, PLACE), limits, width, (bands) => bands.length === 1), ...estimateLayers(of.map(valueOf), x, limits, LINE, apart)],
    };
  });
};
const startCurves = (place) => addPanels(
  place, (count) => `${state.measure.label} by ${labels.depth ?? "backbone"}, ${counted(count, "panel")}; the numbers are in the table of all cells.`, curvePanels, LEAST_CURVE_WIDTH);
