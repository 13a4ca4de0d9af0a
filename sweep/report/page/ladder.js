// What each probe family reads at its best layer: a line a mode, a panel a backbone.
const LEAST_LADDER_WIDTH = 300;
const LONGEST_PROBE = 24;

const ladderPanels = () => {
  const limits = valueLimits(chosenRows);
  const cells = chosenRows.filter((row) => !isControl(row) && isDefined(row));
  const probes = presentNames(chosenRows.filter((row) => isDefined(row)), "probe").map((at) => names.probe[at]);
  const longest = Math.max(...probes.map((name) => Math.min(name.length, LONGEST_PROBE)));
  const xOf = (width) => ({
    field: "probe", type: "ordinal", sort: probes, title: null, scale: { type: "point", padding: 0.5, domain: probes },
    axis: { labelLimit: Math.max(110, width / probes.length), labelAngle: probes.length * 6.5 * longest > width ? -25 : 0 },
  });
  return grouped(cells, ["dataset", "backbone"]).map((rows) => (width) => {
    const best = grouped(rows, ["mode", "probe"]).map(bestRow).filter((row) => row !== null);
    const controls = grouped(controlsFor(rows[0], chosenRows), ["control", "mode", "probe"]).map(bestRow);
    const x = xOf(width);
    return {
      width, height: 190,
      title: panelTitle(rows[0], names.dataset.length > 1 ? ["backbone", "dataset"] : ["backbone"]),
      layer: [...controlLayers(controls, x, (row) => nameOf(row, "probe"), limits, width), ...estimateLayers(best.map(valueOf), x, limits, "mode")],
    };
  });
};
const startLadder = (place) => addPanels(
  place, (count) => `${state.measure.label} by probe family at the best layer, ${counted(count, "panel")}; the numbers are in the table of best layers.`,
  ladderPanels, LEAST_LADDER_WIDTH);
