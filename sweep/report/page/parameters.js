// A measure against a number in which data sets differ: lines at their best depth, a panel a backbone and panel
// of the other figures.
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
    return grouped(onLine.filter((row) => !isControl(row)), ["backbone", PANEL]).map((rows) => (width) => {
      const best = grouped(rows, ["dataset", LINE]).map(bestRow);
      const isHere = (row) => isOfDataSet(row)
        || (data.control_of[row] === columns.backbone[rows[0]] && columns[PANEL][row] === columns[PANEL][rows[0]]);
      const controls = grouped(onLine.filter((row) => isControl(row) && isHere(row)), ["dataset", "control", LINE]).map(bestRow);
      const title = { text: shortened(nameOf(rows[0], "backbone"), 42), subtitle: shortened(nameOf(rows[0], PANEL), 52) };
      return {
        width, height: 210, title: { ...title, subtitle: [title.subtitle, shortened(line.label, 52)].filter(Boolean).join(" · ") },
        layer: [
          ...controlLayers(controls, x, placeOf, limits, width, LINE),
          ...estimateLayers(best.map((row) => ({ ...valueOf(row), at: placeOf(row) })), x, limits, LINE),
        ],
      };
    });
  });
};
const startParameter = (place) => {
  const axis = data.parameters[Number(place.dataset.axis)];
  addPanels(
    place, fileName("by", axis.title), (count) => `${state.measure.label} against ${axis.title}, ${counted(count, "panel")}; the numbers are in the tables.`,
    () => parameterPanels(axis), LEAST_PARAMETER_WIDTH);
};
