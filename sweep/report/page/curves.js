// A measure against depth: a line a probe, a panel a backbone and mode.
const LEAST_CURVE_WIDTH = 300;

const curvePanels = () => {
  const limits = valueLimits(chosenRows);
  const cells = chosenRows.filter((row) => !isControl(row) && isDefined(row));
  return grouped(cells, ["dataset", "backbone", "mode"]).map((rows) => (width) => {
    const ofMode = (row) => isOfDataSet(row) || columns.mode[row] === columns.mode[rows[0]];
    const controls = controlsFor(rows[0], chosenRows).filter(ofMode);
    const layers = layersOf(rows);
    const scale = layers.length > 1 ? { type: "point", padding: 0.3 } : { type: "band", padding: 0.2 };
    const x = { field: "layer", type: "ordinal", sort: layers, title: "layer", axis: { labelOverlap: "greedy" }, scale };
    const apart = layers.length > 1 ? {} : { xOffset: { field: "probe", type: "nominal", scale: { domain: presentNames(rows, "probe").map((at) => names.probe[at]) } } };
    return {
      width, height: 190,
      title: panelTitle(rows[0], names.dataset.length > 1 ? ["backbone", "mode", "dataset"] : ["backbone", "mode"]),
      layer: [...controlLayers(controls, x, (row) => nameOf(row, "layer"), limits, width, (places) => places.length === 1), ...estimateLayers(rows.map(valueOf), x, limits, "probe", apart)],
    };
  });
};
const startCurves = (place) => addPanels(
  place, (count) => `${state.measure.label} by layer, ${counted(count, "panel")}; the numbers are in the table of all cells.`, curvePanels, LEAST_CURVE_WIDTH);
