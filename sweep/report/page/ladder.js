// Each line of the other figures at its best depth, across: a line a combination of panel dimensions, a panel a backbone.
// More combinations than symbols tell apart have a panel each.
const MOST_LINES = 6;
const isCrowded = (cells) => presentNames(cells, PANEL).length > MOST_LINES;
const LEAST_LADDER_WIDTH = 300;
const LONGEST_NAME = 24;
// between slanted names and between steep ones, so that they do not overlap
const SLANTED_STEP = 28, STEEP_STEP = 18;

const ladderPanels = () => {
  const limits = valueLimits(chosenRows);
  const cells = chosenRows.filter((row) => !isControl(row) && isDefined(row));
  const lines = presentNames(chosenRows.filter((row) => isDefined(row)), LINE).map((at) => names[LINE][at]);
  const longest = Math.max(...lines.map((name) => Math.min(name.length, LONGEST_NAME)));
  const xOf = (width) => ({
    field: "line", type: "ordinal", sort: lines, title: null, scale: { type: "point", padding: 0.5, domain: lines },
    axis: {
      labelLimit: Math.max(110, width / lines.length),
      labelAngle: lines.length * 6.5 * longest <= width ? 0 : lines.length * SLANTED_STEP <= width ? -25 : -50,
    },
  });
  const facets = isCrowded(cells) ? ["backbone", PANEL] : ["backbone"];
  return grouped(cells, ["dataset", ...facets]).map((rows) => (width) => {
    const best = grouped(rows, [PANEL, LINE]).map(bestRow).filter((row) => row !== null);
    const isHere = (row) => !facets.includes(PANEL) || isOfDataSet(row) || columns[PANEL][row] === columns[PANEL][rows[0]];
    const controls = grouped(controlsFor(rows[0], chosenRows).filter(isHere), ["control", PANEL, LINE]).map(bestRow);
    const x = xOf(width);
    return {
      width, height: 190,
      title: panelTitle(rows[0], facets),
      layer: [...controlLayers(controls, x, (row) => nameOf(row, LINE), limits, width, PANEL), ...estimateLayers(best.map(valueOf), x, limits, PANEL)],
    };
  });
};
const startLadder = (place) => addPanels(
  place, "by_line", (count) => `${state.measure.label} by ${labels.line}, ${counted(count, "panel")}; the numbers are in the tables.`,
  ladderPanels, Math.max(LEAST_LADDER_WIDTH, STEEP_STEP * names[LINE].length));
