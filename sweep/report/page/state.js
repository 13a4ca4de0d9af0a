// The rows and what of them is chosen. Rows are positions into columns; names are written once.
const data = JSON.parse(document.getElementById("data").textContent);
const { measures, names, columns, estimates } = data;
// What several dimensions are together stands under symbols, which no dimension's name can equal.
const PANEL = Symbol("panel"), LINE = Symbol("line"), PLACE = Symbol("place");
for (const [key, part] of [[PANEL, "panel"], [LINE, "line"], [PLACE, "place"]]) {
  names[key] = data.parts[part].names;
  columns[key] = data.parts[part].rows;
}
// Vega-Lite names the fields of its values by strings.
const FIELDS = { [PANEL]: "panel", [LINE]: "line", [PLACE]: "place" };
const { dimensions, labels } = data;
const filters = dimensions.filter((one) => one.role !== "depth");
const allRows = columns.dataset.map((_, row) => row);
const state = {
  measure: measures[0], chosen: Object.fromEntries(filters.map(({ name }) => [name, null])),
  overlaid: false, // backbones in one panel
  query: "", // words that the cells of the tables hold
  sort: {}, // of each table: the name of a column, after a minus if the largest is first
  cell: null, // whose story is open
};
const listeners = [];

const nameOf = (row, column) => names[column][columns[column][row]];
const estimateOf = (row, measure = state.measure) => {
  const of = estimates[measure.column];
  return { value: of.value[row], low: of.low[row], high: of.high[row] };
};
const isControl = (row) => columns.control[row] > 0;
const isFailed = (row) => data.failed[row] === 1;
const isDefined = (row, measure = state.measure) => estimates[measure.column].value[row] !== null;

// Controls of the data set belong to every panel, those of a backbone to its own.
const isOfDataSet = (row) => isControl(row) && data.control_of[row] === null;
const controlsFor = (row, rows) => rows.filter((one) =>
  isControl(one) && isDefined(one) && columns.dataset[one] === columns.dataset[row]
  && (isOfDataSet(one) || data.control_of[one] === columns.backbone[row]));

// A filter of backbones, panels or details leaves in the controls that the others are compared with.
const isChosen = (row) => filters.every(({ name, role }) => {
  const set = state.chosen[name];
  if (set === null || set.has(columns[name][row])) return true;
  if (role === "panel" || role === "detail") return isOfDataSet(row);
  return role === "backbone" && isControl(row) && ![...set].some((at) => controlNames.has(at))
    && (isOfDataSet(row) || set.has(data.control_of[row]));
});
const controlNames = new Set(allRows.filter(isControl).map((row) => columns.backbone[row]));

let chosenRows = allRows;
const changed = () => {
  chosenRows = allRows.filter(isChosen);
  listeners.forEach((listener) => listener());
};

// Groups rows by some columns, in the order of the names.
const grouped = (rows, by) => {
  const groups = new Map();
  for (const row of rows) {
    const key = by.map((column) => columns[column][row]).join(" ");
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  const place = (rows) => by.map((column) => columns[column][rows[0]]);
  return [...groups.values()].sort((a, b) => comparedLists(place(a), place(b)));
};
const comparedLists = (a, b) => {
  const at = a.findIndex((value, position) => value !== b[position]);
  return at < 0 ? 0 : a[at] - b[at];
};
const bestRow = (rows) =>
  rows.filter((row) => isDefined(row)).reduce((best, row) =>
    best === null || estimateOf(row).value > estimateOf(best).value ? row : best, null);
// Of rows that figures draw in one place, details apart, the best.
const foremost = (rows) => grouped(rows, ["dataset", "backbone", "control", PANEL, LINE, PLACE]).map((of) => bestRow(of) ?? of[0]);
const isRedFlagged = (row) => data.raised[row].some((at) => !data.flags[at].mild);
// What a search looks through: where a cell stands, its flags and its id.
const texts = new Map();
const textOf = (row) => {
  if (!texts.has(row)) {
    const words = [...dimensions.map(({ name }) => nameOf(row, name)), ...data.raised[row].map((at) => data.flags[at].name), data.ids[row]];
    texts.set(row, [...words, isControl(row) ? "control" : "", isFailed(row) ? "failed" : ""].join(" ").toLowerCase());
  }
  return texts.get(row);
};
const isFound = (row) => state.query.toLowerCase().split(/\s+/).every((word) => textOf(row).includes(word));
const presentNames = (rows, column) => [...new Set(rows.map((row) => columns[column][row]))].sort((a, b) => a - b);
