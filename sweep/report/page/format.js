// Elements and numbers.
const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
};
const decimal = (value, digits) => {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text;
};
const intervalText = (one, digits) =>
  one.low === null || one.high === null ? "" : `[${decimal(one.low, digits)}, ${decimal(one.high, digits)}]`;
const unitText = (measure) => (measure.sign ? ` ${measure.sign}` : "");
const estimateText = (row, measure = state.measure) => {
  if (isFailed(row)) return "failed";
  const one = estimateOf(row, measure);
  if (one.value === null) return "not defined";
  return `${decimal(one.value, measure.decimals)} ${intervalText(one, measure.decimals)}`.trim() + unitText(measure);
};
const symbolNodes = (measure) => [measure.base, ...(measure.subscript ? [element("sub", {}, measure.subscript)] : [])];
const measureTitle = (measure) => `${measure.label} ${measure.base}${measure.subscript ? ` (${measure.subscript})` : ""}`;
const axisTitle = (measure) => `${measure.label}, ${measure.base}${measure.sign ? ` (${measure.sign})` : ""}`;
// A name that may be broken after its colons, such as random_init:shipped:NAME, and where its parts are long in them.
const LONG_PART = 16;
const breakable = (text) => text.split(/(?<=:)/).flatMap((part) => (part.length > LONG_PART ? part.split(/(?<=_)/) : [part])).flatMap((part, at) => (at ? [element("wbr"), part] : [part]));
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const shortened = (text, letters) => (text.length > letters ? `${text.slice(0, letters - 1)}…` : text);

const drawing = (attributes, content) => {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ "aria-hidden": "true", ...attributes })) picture.setAttribute(name, value);
  picture.innerHTML = content;
  return picture;
};
const copyIcon = () => drawing({ width: 12, height: 12, viewBox: "0 0 12 12" },
  '<path d="M4.5 4.5h6v6h-6zM7.5 2.5v-1h-6v6h1" fill="none" stroke="currentColor" stroke-width="1.2"/>');
// A button that puts a text on the clipboard.
const copyButton = (text, what) => {
  const button = element("button", {
    type: "button", class: "copy", title: `Copy ${what}`, "aria-label": `Copy ${what} ${text}`,
    onclick: async (event) => {
      event.stopPropagation();
      await copied(text);
      button.textContent = "✓";
      setTimeout(() => button.replaceChildren(copyIcon()), 1200);
    },
  }, copyIcon());
  return button;
};
const copied = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no clipboard for a page from a file, in some browsers
    const field = element("textarea", { class: "aside" }, text);
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
};
const shortId = (row) => data.ids[row].slice(0, 8);

// What a pointer over a cell shows: one line a fact.
const facts = (row) => ({
  ...Object.fromEntries(dimensions.map(({ name, label, role }) => [role === "backbone" && isControl(row) ? "control" : label, nameOf(row, name)])),
  [state.measure.label]: estimateText(row),
  ...(data.raised[row].length ? { flags: data.raised[row].map((at) => data.flags[at].name).join(", ") } : {}),
  cell: shortId(row),
  [HINT]: "click: its story · c: copy its id",
});
const HINT = "";
