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
// A name that may be broken after its colons, such as random_init:shipped:NAME.
const breakable = (text) => text.split(/(?<=:)/).flatMap((part, at) => (at ? [element("wbr"), part] : [part]));
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const shortened = (text, letters) => (text.length > letters ? `${text.slice(0, letters - 1)}…` : text);

// What a pointer over a cell shows: one line a fact.
const facts = (row) => ({
  ...Object.fromEntries(dimensions.map(({ name, label, role }) => [role === "backbone" && isControl(row) ? "control" : label, nameOf(row, name)])),
  [state.measure.label]: estimateText(row),
  ...(data.raised[row].length ? { flags: data.raised[row].map((at) => data.flags[at].name).join(", ") } : {}),
});
