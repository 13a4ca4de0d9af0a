// The bar of filters that all figures and tables share.
const LONG_LIST = 12;

const filterMenu = ({ name, label }) => {
  const shown = element("span", {}, "all");
  const boxes = names[name].map((text, at) => {
    const box = element("input", { type: "checkbox", value: at, onchange: () => choose() });
    return element("label", {}, box, element("span", {}, text));
  });
  const search = element("input", {
    type: "search", placeholder: "find", "aria-label": `Find a ${label}`,
    oninput: () => boxes.forEach((line) => {
      line.hidden = !line.textContent.toLowerCase().includes(search.value.toLowerCase());
      line.style.display = line.hidden ? "none" : "";
    }),
  });
  const list = element("fieldset", {}, element("legend", {}, label), ...(boxes.length > LONG_LIST ? [search] : []), ...boxes);
  const menu = element("details", { class: "menu", "data-filter": name }, element("summary", {}, `${label}: `, shown), list);
  const checked = () => [...menu.querySelectorAll("input:checked")].map((box) => Number(box.value));
  const show = () => {
    const on = checked();
    state.chosen[name] = on.length ? new Set(on) : null;
    menu.classList.toggle("active", on.length > 0);
    shown.textContent = on.length === 0 ? "all" : on.length === 1 ? shortened(names[name][on[0]], 28) : `${on.length} chosen`;
  };
  const choose = () => { show(); changed(); };
  menu.addEventListener("read-state", () => {
    menu.querySelectorAll("input[type=checkbox]").forEach((box) => { box.checked = state.chosen[name]?.has(Number(box.value)) ?? false; });
    show();
  });
  menu.addEventListener("reset-filter", () => {
    menu.querySelectorAll("input:checked").forEach((box) => { box.checked = false; });
    show();
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("toggle", () => { if (menu.open) closeOtherMenus(menu); });
  return menu;
};
const closeOtherMenus = (kept) =>
  document.querySelectorAll(".menu[open]").forEach((menu) => { if (menu !== kept) menu.open = false; });

const startFilters = () => {
  const bar = document.getElementById("filters");
  const picker = document.getElementById("measure");
  measures.forEach((measure, at) => picker.append(element("option", { value: at }, measureTitle(measure))));
  picker.addEventListener("change", () => { state.measure = measures[Number(picker.value)]; changed(); });
  const menus = filters.filter(({ name }) => names[name].length > 1).map(filterMenu);
  document.getElementById("menus").append(...menus);
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.addEventListener("reset", (event) => {
    event.preventDefault();
    menus.forEach((menu) => menu.dispatchEvent(new Event("reset-filter")));
    changed();
  });
  bar.addEventListener("read-state", () => {
    picker.value = String(measures.indexOf(state.measure));
    menus.forEach((menu) => menu.dispatchEvent(new Event("read-state")));
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".menu")) closeOtherMenus(null);
  });
  listeners.push(() => {
    document.getElementById("reset").disabled = filters.every(({ name }) => state.chosen[name] === null);
    document.getElementById("count").textContent = `${chosenRows.length.toLocaleString("en")} of ${counted(allRows.length, "cell")}`;
    document.querySelectorAll("[data-measure]").forEach((place) =>
      place.replaceChildren(state.measure.label.toLowerCase(), " ", ...symbolNodes(state.measure)));
  });
};
