// What is chosen stands in the page's address, so that a link shows the same: #measure=COLUMN&backbone=NAME&cell=ID.
const LISTS = "~"; // between the values of a filter
const writtenState = () => {
  const parts = new URLSearchParams();
  if (state.measure !== measures[0]) parts.set("measure", state.measure.column);
  for (const { name } of filters) {
    if (state.chosen[name] !== null) parts.set(`only.${name}`, [...state.chosen[name]].map((at) => names[name][at]).join(LISTS));
  }
  for (const [table, column] of Object.entries(state.sort)) parts.set(`sort.${table}`, column);
  if (state.overlaid) parts.set("overlaid", "1");
  if (state.query) parts.set("find", state.query);
  if (state.cell !== null) parts.set("cell", data.ids[state.cell]);
  return parts.toString();
};
const writeAddress = () => {
  const text = writtenState();
  const now = location.hash.slice(1);
  if (text === now || (!text && !now.includes("="))) return; // a link to a section stays while nothing is chosen
  history.replaceState(null, "", `#${text}`);
};
// What of an address the page knows; names that it does not have are passed over.
const readAddress = () => {
  const text = location.hash.slice(1);
  if (!text.includes("=")) return false;
  const parts = new URLSearchParams(text);
  state.measure = measures.find(({ column }) => column === parts.get("measure")) ?? measures[0];
  for (const { name } of filters) {
    const chosen = (parts.get(`only.${name}`) ?? "").split(LISTS).map((text) => names[name].indexOf(text)).filter((at) => at >= 0);
    state.chosen[name] = chosen.length ? new Set(chosen) : null;
  }
  state.sort = Object.fromEntries([...parts].filter(([key]) => key.startsWith("sort.")).map(([key, column]) => [key.slice(5), column]));
  state.overlaid = parts.has("overlaid");
  state.query = parts.get("find") ?? "";
  const cell = parts.get("cell");
  const row = cell ? data.ids.findIndex((id) => id.startsWith(cell)) : -1;
  state.cell = row < 0 ? null : row;
  return true;
};
