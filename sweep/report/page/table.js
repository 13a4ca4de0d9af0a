// Sortable, paged tables of rows.
const PAGE_LENGTH = 25;

const placeColumns = () => dimensions.filter(({ role }) => role !== "dataset" || names.dataset.length > 1).map(({ name, label, role }) => ({
  title: [label],
  key: role === "depth" ? (row) => data.depth[row] ?? Infinity : (row) => columns[name][row],
  fill: (row) => role === "backbone" && isControl(row)
    ? [...breakable(nameOf(row, name)), " ", element("span", { class: "tag" }, "control")] : breakable(nameOf(row, name)),
}));
const measureColumns = () => measures.map((measure) => ({
  title: [...symbolNodes(measure), " ", element("span", { class: "unit" }, measure.unit)],
  label: measureTitle(measure),
  number: true,
  key: (row) => estimateOf(row, measure).value,
  fill: (row) => {
    if (isFailed(row)) return measure === measures[0] ? ["failed"] : [];
    const one = estimateOf(row, measure);
    if (one.value === null) return ["–"];
    const interval = intervalText(one, measure.decimals);
    return [decimal(one.value, measure.decimals), ...(interval ? [element("span", { class: "interval" }, interval)] : [])];
  },
}));
const flagColumn = () => ({
  title: ["flags"],
  key: (row) => data.raised[row].reduce((sum, at) => sum + (data.flags[at].mild ? 1 : 100), 0),
  fill: (row) => {
    const red = data.raised[row].filter((at) => !data.flags[at].mild), mild = data.raised[row].filter((at) => data.flags[at].mild);
    const told = (at) => `${data.flags[at].name}: ${data.flags[at].meaning}`;
    return [
      ...red.map((at) => element("span", { class: "flag red", title: told(at) }, ...breakable(data.flags[at].name))),
      ...(mild.length ? [element("span", { class: "flag", title: mild.map(told).join("\n") }, mild.map((at) => data.flags[at].short).join(" "))] : []),
    ];
  },
});
const choiceColumns = () => data.choices.headings.map((heading, position) => {
  const text = (row) => {
    const at = data.choices.lines[row]?.[position] ?? -1;
    return at < 0 ? "" : data.choices.texts[at];
  };
  return { title: [heading], key: text, fill: (row) => [text(row)], class: "settings" };
});

const TABLES = {
  best: {
    label: `Best by ${labels.depth}`,
    columns: () => [...placeColumns(), ...measureColumns(), ...(data.flags.length ? [flagColumn()] : [])],
    rows: () => grouped(chosenRows.filter((row) => !isControl(row)), filters.map(({ name }) => name)).map(bestRow).filter((row) => row !== null)
      .sort((a, b) => columns.control[a] - columns.control[b] || a - b),
  },
  cells: {
    label: "All cells",
    columns: () => [...placeColumns(), ...measureColumns(), ...(data.flags.length ? [flagColumn()] : [])],
    rows: () => chosenRows,
  },
  choices: {
    label: "Tuned choices",
    columns: () => [...placeColumns(), ...choiceColumns()],
    rows: () => chosenRows.filter((row) => data.choices.lines[row] !== null),
  },
};

// Empty values last, whichever way the others are sorted.
const sortedBy = (rows, key, sign) => {
  if (!key) return rows;
  const filled = rows.filter((row) => key(row) !== null && key(row) !== "");
  const empty = rows.filter((row) => key(row) === null || key(row) === "");
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  return [...filled.sort((a, b) => sign * compare(key(a), key(b)) || a - b), ...empty];
};

const startTable = (place) => {
  const { label, columns: make, rows: find } = TABLES[place.dataset.table];
  const parts = make();
  const sort = { by: null, sign: 1 };
  let page = 0;
  const heads = parts.map((part) => element(
    "th", { scope: "col", class: part.number ? "number" : null, "aria-sort": "none" },
    element("button", { type: "button", "aria-label": part.label ? `Sort by ${part.label}` : null, onclick: () => turn(part) }, ...part.title),
  ));
  const body = element("tbody");
  const pager = element("div", { class: "pager" });
  place.append(
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
      element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)),
    pager,
  );
  const turn = (part) => {
    sort.sign = sort.by === part ? -sort.sign : part.number ? -1 : 1;
    sort.by = part;
    page = 0;
    show();
  };
  const line = (row) => element("tr", { class: isFailed(row) ? "failed" : null },
    ...parts.map((part) => element("td", { class: part.number ? "number" : part.class ?? null }, ...part.fill(row))));
  const show = (length = PAGE_LENGTH) => {
    const rows = sortedBy([...find()], sort.by?.key, sort.sign);
    const last = Math.max(0, Math.ceil(rows.length / length) - 1);
    page = Math.min(page, last);
    heads.forEach((head, at) => head.setAttribute(
      "aria-sort", parts[at] !== sort.by ? "none" : sort.sign > 0 ? "ascending" : "descending"));
    body.replaceChildren(...rows.slice(page * length, (page + 1) * length).map(line));
    if (!rows.length) body.append(element("tr", {}, element("td", { colspan: parts.length, class: "empty" }, "No cell fits the filters.")));
    const step = (text, by, stop) => element("button", { type: "button", disabled: stop, onclick: () => { page += by; show(); } }, text);
    pager.hidden = last === 0;
    pager.style.display = last === 0 ? "none" : "";
    pager.replaceChildren(step("← previous", -1, page === 0), `${page + 1} of ${last + 1}, ${counted(rows.length, "row")}`, step("next →", 1, page === last));
  };
  listeners.push(() => { page = 0; show(); });
  // paper has no pages to turn, and some end
  window.addEventListener("beforeprint", () => show(1000));
  window.addEventListener("afterprint", () => show());
};
