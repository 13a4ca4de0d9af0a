// A measure against a number in which data sets differ: a line a probe at its best layer, a panel a backbone and mode.
const LEAST_PARAMETER_WIDTH = 300;

const parameterPanels = (axis) => {
  const limits = valueLimits(chosenRows);
  const values = [...new Set(axis.lines.flatMap((line) => line.points.map((point) => point[1])))].sort((a, b) => a - b);
  const x = {
    field: "at", type: "quantitative", title: axis.title, axis: { values, labelOverlap: "greedy", labelExpr: "'' + datum.value" },
    scale: { type: axis.log ? "log" : "linear", zero: false, nice: false, domain: [values[0], values.at(-1)], padding: 14 },
  };
  return axis.lines.flatMap((line) => {
    const places = new Map(line.points);
    const placeOf = (row) => places.get(columns.dataset[row]);
    const onLine = chosenRows.filter((row) => isDefined(row) && places.has(columns.dataset[row]));
    return grouped(onLine.filter((row) => !isControl(row)), ["backbone", "mode"]).map((rows) => (width) => {
      const best = grouped(rows, ["dataset", "probe"]).map(bestRow);
      const isHere = (row) => isOfDataSet(row)
        || (columns.control_of[row] === columns.backbone[rows[0]] && columns.mode[row] === columns.mode[rows[0]]);
      const controls = grouped(onLine.filter((row) => isControl(row) && isHere(row)), ["dataset", "control", "probe"]).map(bestRow);
      const title = panelTitle(rows[0], ["backbone", "mode"]);
      return {
        width, height: 210, title: { ...title, subtitle: [title.subtitle, shortened(line.label, 52)].filter(Boolean).join(" · ") },
        layer: [
          ...controlLayers(controls, x, placeOf, limits, width),
          ...estimateLayers(best.map((row) => ({ ...valueOf(row), at: placeOf(row) })), x, limits, "probe"),
        ],
      };
    });
  });
};
const startParameter = (place) => {
  const axis = data.parameters[Number(place.dataset.axis)];
  addPanels(
    place, (count) => `${state.measure.label} against ${axis.title}, ${counted(count, "panel")}; the numbers are in the table of best layers.`,
    () => parameterPanels(axis), LEAST_PARAMETER_WIDTH);
};
