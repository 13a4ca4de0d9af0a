// Sortable, paged tables of rows; where a read-out has stages with measures of their own, a table for each.
const PAGE_LENGTH = 25, GROUP_LENGTH = 10;
const narrow = window.matchMedia("(max-width: 42rem)");

const backboneNodes = (row) => isControl(row)
  ? [...breakable(nameOf(row, "backbone")), " ", element("span", { class: "tag" }, "control")] : breakable(nameOf(row, "backbone"));
const shownDimensions = () => dimensions.filter(({ role }) => role !== "dataset" || names.dataset.length > 1);
const placeColumns = () => narrow.matches ? [whereColumn()] : shownDimensions().map(({ name, label, role }) => ({
  name, title: [label], class: role === "backbone" ? "where" : null,
  key: role === "depth" ? (row) => data.depth[row] ?? Infinity : (row) => columns[name][row],
  fill: (row) => role === "backbone" ? backboneNodes(row) : breakable(nameOf(row, name)),
}));
// On a narrow screen one column says all of where a cell stands.
const whereColumn = () => {
  const others = shownDimensions().filter(({ role }) => role !== "backbone");
  return {
    name: "where", title: ["cell"], class: "where", key: (row) => row,
    fill: (row) => [element("div", {}, ...backboneNodes(row)), element("div", { class: "unit" }, joined(others.map(({ name }) => nameOf(row, name))))],
  };
};
const measureColumn = (measure, isFirst) => ({
  name: measure.column,
  title: [...symbolNodes(measure), " ", element("span", { class: "unit" }, measure.unit)],
  label: measureTitle(measure),
  number: true,
  key: (row) => estimateOf(row, measure).value,
  fill: (row) => {
    if (isFailed(row)) return isFirst ? ["failed"] : [];
    const one = estimateOf(row, measure);
    if (one.value === null) return ["–"];
    const interval = intervalText(one, measure.decimals);
    return [decimal(one.value, measure.decimals), ...(interval ? [element("span", { class: "interval" }, interval)] : [])];
  },
});
// The measures of a group that some of the rows have, on a narrow screen the chosen one first.
const measureColumns = (group, rows) => {
  const own = group.measures.map((at) => measures[at]);
  const filled = own.filter((measure) => rows.some((row) => isDefined(row, measure)));
  const shown = filled.length ? filled : own;
  const first = narrow.matches && shown.includes(state.measure) ? [state.measure] : [];
  return [...new Set([...first, ...shown])].map((measure, at) => measureColumn(measure, at === 0));
};
const flagTitle = (at) => `${data.flags[at].name}: ${data.flags[at].meaning}`;
const flagNodes = (row) => {
  const red = data.raised[row].filter((at) => !data.flags[at].mild), mild = data.raised[row].filter((at) => data.flags[at].mild);
  return [
    ...red.map((at) => element("span", { class: "flag red", title: flagTitle(at) }, ...breakable(data.flags[at].name))),
    ...(mild.length ? [element("span", { class: "flag", title: mild.map(flagTitle).join("\n") }, mild.map((at) => data.flags[at].short).join(" "))] : []),
  ];
};
const idNode = (row) => element("div", { class: "id" },
  element("button", { type: "button", class: "open", title: "Open the cell's story", onclick: () => openStory(row) }, shortId(row)),
  copyButton(data.ids[row], "the id"));
// Flags, and below them the id; sorted by the flags.
const flagColumn = (rows) => ({
  name: "flags", title: [rows.some((row) => data.raised[row].length) ? "flags, id" : "id"], class: "flags",
  key: (row) => data.raised[row].reduce((sum, at) => sum + (data.flags[at].mild ? 1 : 100), 0),
  fill: (row) => [...flagNodes(row), idNode(row)],
});
const idColumn = () => ({ name: "cell", title: ["id"], key: (row) => data.ids[row], fill: (row) => [idNode(row)] });
const choiceColumns = () => data.choices.headings.map((heading, position) => {
  const text = (row) => {
    const at = data.choices.lines[row]?.[position] ?? -1;
    return at < 0 ? "" : data.choices.texts[at];
  };
  return { name: `choice.${heading}`, title: [heading], key: text, fill: (row) => [text(row)], class: "settings" };
});
const resultColumns = (group, rows) => [...placeColumns(), ...measureColumns(group, rows), flagColumn(rows)];

const TABLES = {
  best: {
    label: `Best by ${labels.depth}`,
    groups: data.groups,
    columns: resultColumns,
    rows: () => grouped(chosenRows.filter((row) => !isControl(row)), filters.map(({ name }) => name)).map(bestRow).filter((row) => row !== null)
      .sort((a, b) => a - b),
  },
  cells: { label: "All cells", groups: data.groups, columns: resultColumns, rows: () => chosenRows },
  choices: {
    label: "Tuned choices",
    groups: [{ stages: [], measures: [] }],
    columns: () => [...placeColumns(), ...choiceColumns(), idColumn()],
    rows: () => chosenRows.filter((row) => data.choices.lines[row] !== null),
  },
};
const STAGE = dimensions.find(({ role }) => role === "panel")?.name;
const isOfGroup = (group) => (row) => !group.stages.length || group.stages.includes(columns[STAGE][row]);

// Empty values last, whichever way the others are sorted.
const sortedBy = (rows, key, sign) => {
  if (!key) return rows;
  const filled = rows.filter((row) => key(row) !== null && key(row) !== "");
  const empty = rows.filter((row) => key(row) === null || key(row) === "");
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  return [...filled.sort((a, b) => sign * compare(key(a), key(b)) || a - b), ...empty];
};

const tables = [];
// Sorting and searching change tables alone; figures stay as they are.
const showTables = () => {
  tables.forEach((show) => show(0));
  writeAddress();
};
const startTable = (place) => {
  const name = place.dataset.table;
  const { label, groups, columns: make, rows: find } = TABLES[name];
  const found = () => find().filter(isFound);
  const shows = groups.map((group) => addTable(place, group, name, label, make, () => found().filter(isOfGroup(group))));
  const nothing = element("p", { class: "empty" }, "No cell fits the filters.");
  place.append(nothing, toolbar(["CSV", "Save this table as CSV", () => saveCsv(csvOfRows(found(), measures), fileName(data.title, name))]));
  const show = (...how) => {
    const count = shows.reduce((sum, one) => sum + one(...how), 0);
    nothing.hidden = count > 0;
  };
  listeners.push(() => show(0));
  tables.push(show);
  narrow.addEventListener("change", () => show());
  // paper has no pages to turn, and some end
  window.addEventListener("beforeprint", () => show(0, 1000, true));
  window.addEventListener("afterprint", () => show(0));
};

// The table of one group; returns what shows it, from a page and of a length, and says how many rows there are.
const addTable = (place, group, name, label, make, find) => {
  const head = element("thead"), body = element("tbody"), pager = element("div", { class: "pager" });
  const stages = group.stages.map((at) => names[STAGE][at]).join(", ");
  const whole = element("div", { class: "group" },
    ...(stages ? [element("h3", {}, stages)] : []),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": joined([label, stages]) }, element("table", {}, head, body)),
    pager);
  place.append(whole);
  let page = 0;
  const turn = (part) => {
    const isSorted = (state.sort[name] ?? "").replace(/^-/, "") === part.name;
    const isDown = (state.sort[name] ?? "").startsWith("-");
    state.sort[name] = (isSorted ? !isDown : Boolean(part.number)) ? `-${part.name}` : part.name;
    showTables();
  };
  // Chromium leaves a head that holds buttons blank where it repeats it on the next sheet
  const headOnPaper = (part) => element("th", { scope: "col", class: part.number ? "number" : null }, ...part.title);
  const headOf = (part, sort) => element(
    "th", { scope: "col", class: part.number ? "number" : part.class === "where" ? "where" : null, "aria-sort": sort.replace(/^-/, "") !== part.name ? "none" : sort.startsWith("-") ? "descending" : "ascending" },
    element("button", { type: "button", "aria-label": part.label ? `Sort by ${part.label}` : null, onclick: () => turn(part) }, ...part.title));
  const line = (parts) => (row) => element("tr", { class: isFailed(row) ? "failed" : null, onclick: (event) => { if (!event.target.closest("button") && !String(getSelection())) openStory(row); } },
    ...parts.map((part) => element("td", { class: part.number ? "number" : part.class ?? null }, ...part.fill(row))));
  const show = (from = page, length = stages ? GROUP_LENGTH : PAGE_LENGTH, onPaper = false) => {
    const all = find();
    const parts = make(group, all);
    const sort = state.sort[name] ?? "";
    const by = parts.find((part) => part.name === sort.replace(/^-/, ""));
    const rows = sortedBy([...all], by?.key, sort.startsWith("-") ? -1 : 1);
    const last = Math.max(0, Math.ceil(rows.length / length) - 1);
    page = Math.min(from, last);
    whole.hidden = !rows.length;
    const focused = [...head.querySelectorAll("button")].indexOf(document.activeElement); // the new buttons keep it
    head.replaceChildren(element("tr", {}, ...parts.map((part) => (onPaper ? headOnPaper(part) : headOf(part, sort)))));
    if (focused >= 0) head.querySelectorAll("button")[focused]?.focus();
    body.replaceChildren(...rows.slice(page * length, (page + 1) * length).map(line(parts)));
    const step = (text, by, stop) => element("button", { type: "button", disabled: stop, onclick: () => show(page + by) }, text);
    pager.hidden = last === 0;
    pager.style.display = last === 0 ? "none" : "";
    pager.replaceChildren(step("← previous", -1, page === 0), `${page + 1} of ${last + 1}, ${counted(rows.length, "row")}`, step("next →", 1, page === last));
    return rows.length;
  };
  return show;
};
const startSearch = (place) => {
  const field = element("input", {
    type: "search", placeholder: "Find cells: a layer, a flag, an id …", "aria-label": "Find cells by words", value: state.query,
    oninput: () => { state.query = field.value.trim(); showTables(); },
  });
  place.append(field);
};
