// What each probe family reads at its best layer: a line a mode, a panel a backbone.
const LEAST_LADDER_WIDTH = 300;

const ladderPanels = () => {
  const limits = valueLimits(chosenRows);
  const cells = chosenRows.filter((row) => !isControl(row) && isDefined(row));
  const probes = presentNames(chosenRows, "probe").map((at) => names.probe[at]);
  const xOf = (width) => ({
    field: "probe", type: "ordinal", sort: probes, title: null, scale: { type: "point", padding: 0.5, domain: probes },
    axis: { labelLimit: Math.max(110, width / probes.length), labelAngle: probes.length * 90 > width ? -25 : 0 },
  });
  return grouped(cells, ["dataset", "backbone"]).map((rows) => (width) => {
    const best = grouped(rows, ["mode", "probe"]).map(bestRow).filter((row) => row !== null);
    const controls = chosenRows.filter((row) => isControl(row) && isDefined(row) && columns.dataset[row] === columns.dataset[rows[0]]);
    const x = xOf(width);
    return {
      width, height: 190,
      title: panelTitle(rows[0], names.dataset.length > 1 ? ["backbone", "dataset"] : ["backbone"]),
      layer: [...controlCurves(controls, x, limits), ...(controls.length ? [controlLabels(controlBands(controls), limits, width)] : []), ...estimateLayers(best.map(valueOf), x, limits, "mode")],
    };
  });
};
const controlCurves = (controls, x, limits) => grouped(controls, ["backbone"]).flatMap((rows) => {
  const values = rows.map(valueOf);
  const bounded = values.filter((one) => one.low !== null && one.high !== null);
  const y = { field: "value", ...valueAxis(limits, false) };
  return [
    { data: { values: bounded }, mark: { type: "area", color: CONTROL_COLOUR, opacity: 0.2 }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" } } },
    { data: { values }, mark: { type: "line", color: CONTROL_COLOUR, strokeDash: [4, 3], strokeWidth: 1.2 }, encoding: { x, y } },
    { data: { values }, mark: { type: "point", color: CONTROL_COLOUR, filled: true, size: 22, opacity: 1 }, encoding: { x, y, tooltip: { field: "tip" } } },
  ];
});
const startLadder = (place) => addPanels(
  place, (count) => `${state.measure.label} by probe family at the best layer, ${counted(count, "panel")}; the numbers are in the table of best layers.`,
  ladderPanels, LEAST_LADDER_WIDTH);
