// The story of one cell: its numbers, flags, learning curves, chosen settings, files and a few test samples.
const dialog = document.getElementById("story");
const TARGETS_ABREAST = 4;

const openStory = (row) => {
  state.cell = row;
  dialog.replaceChildren(...storyOf(row));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  writeAddress();
  const told = data.stories.cells[data.ids[row]];
  if (told?.curves.length) draw(dialog.querySelector(".learning"), learningSpec(told));
};
const closeStory = () => { if (dialog.open) dialog.close(); };
const storyOf = (row) => {
  const told = data.stories.cells[data.ids[row]];
  const others = dimensions.filter(({ name, role }) => role !== "backbone" && nameOf(row, name) !== "–");
  return [
    element("div", { class: "topline" },
      element("h2", {}, ...backboneNodes(row)),
      element("button", { type: "button", class: "quiet", autofocus: true, onclick: closeStory }, "close")),
    element("p", { class: "summary" }, joined(others.map(({ name, label, role }) => `${role === "dataset" ? "" : `${label} `}${nameOf(row, name)}`))),
    element("p", {}, "cell ", element("code", {}, data.ids[row]), " ", copyButton(data.ids[row], "the id")),
    ...errorPart(row), ...flagPart(row), ...numberPart(row),
    ...(told ? [...curvePart(told), ...samplePart(told)] : []),
    ...choicePart(row),
    ...(told ? filePart(told) : [element("p", {}, "This page keeps the stories of the first cells only.")]),
    ...commandPart(row),
  ];
};
const part = (title, ...children) => [element("h3", {}, title), ...children];
const errorPart = (row) => isFailed(row) ? part("Failed", element("pre", {}, data.texts[row]?.error ?? "see Failures")) : [];
const flagPart = (row) => data.raised[row].length ? [element("ul", { class: "told" }, ...data.raised[row].map((at) => element("li", {},
  element("span", { class: `flag${data.flags[at].mild ? "" : " red"}` }, data.flags[at].name), ` ${data.flags[at].meaning}`)))] : [];
const numberPart = (row) => {
  const own = measures.filter((measure) => isDefined(row, measure));
  if (!own.length) return [];
  const lines = own.map((measure) => {
    const one = estimateOf(row, measure);
    return element("tr", {},
      element("td", {}, ...symbolNodes(measure)), element("td", {}, measure.label),
      element("td", { class: "number" }, decimal(one.value, measure.decimals)),
      element("td", { class: "number unit" }, intervalText(one, measure.decimals)), element("td", { class: "unit" }, measure.unit));
  });
  return part("Numbers", element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, ...lines))));
};
const curvePart = (told) => told.curves.length ? part(`Learning curves: ${told.axis.replaceAll("_", " ")} by epoch`, element("div", { class: "plot learning" })) : [];
const learningSpec = (told) => {
  const values = told.curves.flatMap(([panel, line, points]) => points.map(([epoch, value]) => ({ panel, line, epoch, value })));
  const panels = [...new Set(values.map((one) => one.panel))], lines = [...new Set(values.map((one) => one.line))];
  const abreast = Math.max(1, Math.min(TARGETS_ABREAST, panels.length, Math.floor((dialog.clientWidth - 40) / 190)));
  const width = Math.min(320, Math.floor((dialog.clientWidth - 60) / abreast) - 70);
  // what is to be told apart here are trainings, which have no colour elsewhere
  const color = { field: "line", type: "nominal", sort: lines, legend: lines.length > 1 ? { title: null } : null, scale: { domain: lines, range: ["#3b4652", "#8a949f", "#b8c0c8", "#5c6770"] } };
  return {
    data: { values }, columns: abreast,
    facet: { field: "panel", type: "nominal", sort: panels, title: null },
    spec: {
      width, height: 110, mark: { type: "line", strokeWidth: 1.6 },
      encoding: {
        x: { field: "epoch", type: "quantitative", title: "epoch", axis: { tickCount: 4, format: "d" } },
        y: { field: "value", type: "quantitative", title: null, scale: { zero: false }, axis: { tickCount: 4 } },
        color, tooltip: [{ field: "line", title: "training" }, { field: "epoch" }, { field: "value" }],
      },
    },
    resolve: { scale: { y: "independent", x: "independent" } },
  };
};
const samplePart = (told) => {
  if (!told.samples.length) return told.note ? [element("p", { class: "note" }, told.note)] : [];
  const words = (texts, kind, sign) => texts.map((text) => element("li", { class: kind }, `${sign} ${text}`));
  return part("Test samples, the worst first",
    element("p", {}, element("span", { class: "right" }, "✓ there and read"), " · ", element("span", { class: "missed" }, "− there, not read"), " · ", element("span", { class: "invented" }, "+ read, not there")),
    element("div", { class: "samples" }, ...told.samples.map(([key, title, loss, right, missed, invented]) => element("figure", {},
      ...(data.stories.pictures[key] ? [element("img", { src: data.stories.pictures[key], alt: joined([title, [...right, ...missed].join(", ")]) })] : []),
      element("figcaption", {}, element("strong", {}, loss), element("br"), title,
        element("ul", {}, ...words(right, "right", "✓"), ...words(missed, "missed", "−"), ...words(invented, "invented", "+")))))));
};
const choicePart = (row) => {
  const chosen = Object.entries(data.texts[row]?.choices ?? {});
  if (!chosen.length) return [];
  const lines = chosen.flatMap(([column, text]) => [element("dt", {}, data.headings[column] ?? column), element("dd", {}, readable(text))]);
  return part("Chosen settings", element("dl", { class: "facts" }, ...lines));
};
const readable = (text) => {
  try {
    return Object.entries(JSON.parse(text)).map(([name, value]) => `${name} ${typeof value === "number" ? Number(value.toPrecision(4)) : value}`).join(", ");
  } catch {
    return text;
  }
};
const filePart = (told) => told.files.length ? part("Files", element("ul", {}, ...told.files.map(([path, size]) => element("li", {}, element("code", {}, path), ` ${size.toLocaleString("en")} bytes`)))) : [];
const commandPart = (row) => {
  if (!data.folder) return [];
  const command = `python -m sweep.show ${data.folder} --cell ${shortId(row)}`;
  return [element("p", {}, "In a terminal: ", element("code", {}, command), " ", copyButton(command, "the command"))];
};
const startStory = () => {
  dialog.addEventListener("close", () => { state.cell = null; writeAddress(); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) closeStory(); });
};
