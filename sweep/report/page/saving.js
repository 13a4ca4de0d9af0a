// Files made in the page: a table or the values of a figure as CSV, a figure as SVG or PNG.
const PNG_SCALE = 2;
const save = (blob, name) => {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
};
const fileName = (...parts) => parts.filter(Boolean).join("_").replace(/[^\p{L}\p{N}.=+-]+/gu, "_");
// A spreadsheet calculates what begins with such a sign.
const csvText = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
const saveCsv = (lines, name) =>
  save(new Blob([lines.map((line) => line.map(csvText).join(",")).join("\r\n") + "\r\n"], { type: "text/csv" }), `${name}.csv`);
// Cells with where they stand, some measures with their intervals, flags and id.
const csvOfRows = (rows, shown) => [
  [...dimensions.map(({ label }) => label), "control", ...shown.flatMap(({ column }) => [column, `${column}_low`, `${column}_high`]), "flags", "cell"],
  ...rows.map((row) => [
    ...dimensions.map(({ name }) => nameOf(row, name)), names.control[columns.control[row]],
    ...shown.flatMap((measure) => { const { value, low, high } = estimateOf(row, measure); return [value, low, high]; }),
    data.raised[row].map((at) => data.flags[at].name).join(" "), data.ids[row],
  ]),
];
const isPlain = (value) => value === null || typeof value !== "object";
const csvOfValues = (values) => {
  const heads = [...new Set(values.flatMap((value) => Object.keys(value).filter((name) => isPlain(value[name]))))];
  return [heads, ...values.map((value) => heads.map((name) => value[name]))];
};
const valuesOf = (spec) => {
  if (Array.isArray(spec)) return spec.flatMap(valuesOf);
  if (spec === null || typeof spec !== "object") return [];
  const own = Array.isArray(spec.data?.values) ? spec.data.values : [];
  return [...own, ...["layer", "concat", "hconcat", "vconcat", "spec"].flatMap((part) => valuesOf(spec[part] ?? []))];
};
const csvOfFigure = (spec) => {
  const values = valuesOf(spec);
  const rows = [...new Set(values.flatMap((value) => value.rows ?? (value.row === undefined ? [] : [value.row])))];
  return rows.length ? csvOfRows(rows.sort((a, b) => a - b), [state.measure]) : csvOfValues(values);
};
// Pictures are for paper: on white, whatever the screen has.
const savePicture = async (spec, kind, name) => {
  const { view } = await embed(element("div"), spec);
  if (kind === "svg") { save(new Blob([await view.toSVG()], { type: "image/svg+xml" }), `${name}.svg`); return; }
  const canvas = await view.toCanvas(PNG_SCALE);
  const pen = canvas.getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.globalCompositeOperation = "destination-over";
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => save(blob, `${name}.png`), "image/png");
};
const toolbar = (...buttons) => element("div", { class: "tools", role: "group", "aria-label": "Save" },
  ...buttons.map(([text, what, onclick]) => element("button", { type: "button", class: "quiet", title: what, onclick }, text)));
// Buttons of a figure; `drawnOf` gives what is drawn, once it is.
const figureTools = (place, drawnOf, name) => {
  const when = (act) => () => { const drawn = drawnOf(); if (drawn) act(drawn); };
  place.after(toolbar(
    ["CSV", "Save the numbers of this figure", when((drawn) => saveCsv(csvOfFigure(drawn.spec), name()))],
    ["SVG", "Save this figure as SVG", when((drawn) => savePicture(drawn.spec, "svg", name()))],
    ["PNG", "Save this figure as PNG", when((drawn) => savePicture(drawn.spec, "png", name()))]));
};
