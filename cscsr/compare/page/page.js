"use strict";

/* What moves in the report: theme, choice of the place, sorting, sources, differences, pictures.
   All figures are computed before; only the PSNR inside a dragged box is computed here. */

const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
const data = JSON.parse(find("#data").textContent);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function drawing(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function say(text) { find("#said").textContent = text; }

function decibels(value) {
  const size = Math.abs(value);
  const text = size.toFixed(size >= 0.0995 ? 2 : size >= 0.00095 ? 3 : 4);
  return (Number(text) === 0 ? "±" : value > 0 ? "+" : "−") + text;
}

/* Light and dark. */

const system = window.matchMedia("(prefers-color-scheme: dark)");
const themeButton = find("#theme");

function remembered() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  themeButton.setAttribute("aria-pressed", String(theme === "dark"));
}

themeButton.addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  showTheme(theme);
  try { localStorage.setItem("theme", theme); } catch { /* not remembered, then */ }
});
system.addEventListener("change", () => { if (!remembered()) showTheme(system.matches ? "dark" : "light"); });
showTheme(remembered() || (system.matches ? "dark" : "light"));

/* Sorting. Empty cells stay last, whichever way. */

function sortTable(button) {
  const head = button.closest("th"), table = head.closest("table"), body = find("tbody", table);
  const column = Number(button.dataset.column), textual = button.dataset.kind === "text";
  const before = head.getAttribute("aria-sort");
  const rising = before === "none" ? textual : before !== "ascending";
  const key = (row) => {
    const cell = row.cells[column];
    if (textual) return cell ? cell.textContent.trim() : "";
    return cell && cell.dataset.value ? Number(cell.dataset.value) : null;
  };
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = textual ? a.localeCompare(b) : a - b;
    return rising ? order : -order;
  });
  body.append(...rows.map(([, row]) => row));
  for (const other of findAll("th[aria-sort]", table)) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  say(`Sorted by ${button.textContent.trim()}, ${rising ? "ascending" : "descending"}.`);
}

/* Where a figure came from. */

const sourceDialog = find("#source");

function showSource(number) {
  const source = data.sources[number];
  find("#source-title").textContent = source.title;
  const facts = Object.entries(source.facts).filter(([, value]) => value !== "");
  find("#source-facts").replaceChildren(
    ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  find("#source-commands").replaceChildren(
    ...(source.commands.length ? source.commands : ["–"]).map((command) => make("pre", {}, command)));
  sourceDialog.showModal();
}

sourceDialog.addEventListener("click", (event) => {
  if (event.target === sourceDialog) sourceDialog.close();
});

async function copy(button) {
  const text = find("pre", button.parentElement).textContent;
  button.dataset.label ||= button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // without the right to the clipboard: select, and copy the old way
    const field = make("textarea", { class: "away" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  button.textContent = "Copied";
  say("Copied.");
  setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.source !== undefined) showSource(Number(button.dataset.source));
  else if (button.classList.contains("sort")) sortTable(button);
  else if (button.classList.contains("copy")) copy(button);
});

/* The place: a data set, a scale, an input. */

const picker = find("#picker");
const reference = find("#reference");

function place() {
  const chosen = new FormData(picker);
  const parts = ["dataset", "scale", "degradation"].map((name) => chosen.get(name) || "");
  return parts.join("/").replace(/\/+$/, "");
}

function choosePlace(id) {
  const [dataset, scale, degradation = ""] = id.split("/");
  for (const [name, value] of Object.entries({ dataset, scale, degradation })) {
    const radio = findAll(`input[name="${name}"]`, picker).find((input) => input.value === value);
    if (radio) radio.checked = true;
  }
}

function showPlace() {
  const id = place();
  for (const panel of findAll(".answer")) panel.hidden = panel.dataset.place !== id;
  showPairs();
}

picker.addEventListener("change", () => {
  history.replaceState(null, "", `#${encodeURI(place())}`);
  reference.value = bestHere();
  showPlace();
  say(find(".answer:not([hidden]) .card")?.innerText || "");
});
picker.addEventListener("submit", (event) => event.preventDefault());

/* Differences to one solver. */

function bestHere() {
  const first = find(`.answer[data-place="${CSS.escape(place())}"] tbody th`);
  return first ? first.textContent.trim() : data.solvers[0];
}

function difference(here, solver, other) {
  const forward = here.pairs[`${solver}|${other}`], back = here.pairs[`${other}|${solver}`];
  if (forward) {
    const [images, won, lost, mean, spread, low, high] = forward;
    return { images, won, lost, mean, spread, low, high };
  }
  if (!back) return null;
  const [images, won, lost, mean, spread, low, high] = back;
  const turned = (value) => (value === null ? null : -value);
  return { images, won: lost, lost: won, mean: -mean, spread, low: turned(high), high: turned(low) };
}

function verdict({ low, high }) {
  if (low === null) return ["few", "too few images"];
  if (low <= 0 && high >= 0) return ["tie", "tie"];
  return low > 0 ? ["better", "better"] : ["worse", "worse"];
}

function showPairs() {
  const here = data.places.find((one) => one.id === place()), than = reference.value;
  find("#pairs-place").textContent = here.title;
  const rows = data.solvers.filter((solver) => solver !== than)
    .map((solver) => [solver, difference(here, solver, than)]);
  rows.sort(([, a], [, b]) => (b ? b.mean : -Infinity) - (a ? a.mean : -Infinity));
  const single = rows.flatMap(([solver]) => here.images.map((_, n) => each(here, solver, than, n)))
    .filter((value) => value !== null).map(Math.abs).sort((a, b) => a - b);
  const reach = Math.max(single[Math.floor(0.98 * (single.length - 1))] || 0, 0.01);
  find("#strip-range").textContent = `(axis ±${reach.toPrecision(2)} dB)`;
  find("#pairs-rows").replaceChildren(...rows.map(([solver, gap]) => {
    const row = make("tr", {}, make("th", { scope: "row" }, solver));
    if (!gap) {
      row.append(make("td", { colspan: 6, class: "why" }, "No image has scores of both solvers."));
      return row;
    }
    const [kind, text] = verdict(gap);
    const bounds = gap.low === null ? "–" : `${decibels(gap.low)} to ${decibels(gap.high)}`;
    row.append(
      make("td", {}, decibels(gap.mean)),
      make("td", {}, bounds),
      make("td", {}, gap.spread === null ? "–" : gap.spread.toFixed(2)),
      make("td", {}, `${gap.won} : ${gap.lost} of ${gap.images}`),
      make("td", {}, make("span", { class: `chip ${kind}` }, text)),
      make("td", {}, strip(here, solver, than, gap, reach)));
    return row;
  }));
}

function each(here, solver, than, number) {
  const a = here.psnr[solver][number], b = here.psnr[than][number];
  return a === null || b === null ? null : a - b;
}

function strip(here, solver, than, gap, reach) {
  const x = (value) => (130 + 122 * Math.max(-1, Math.min(1, value / reach))).toFixed(1);
  const picture = drawing("svg", {
    class: "strip", viewBox: "0 0 260 22", role: "img",
    "aria-label": `PSNR of ${solver} minus that of ${than} on each image`,
  }, drawing("path", { class: "middle", d: "M130 1V21" }));
  here.images.forEach((image, number) => {
    const value = each(here, solver, than, number);
    if (value === null) return;
    picture.append(drawing("path", { d: `M${x(value)} 5V17` },
      Object.assign(drawing("title", {}), { textContent: `${image}: ${decibels(value)} dB` })));
  });
  picture.append(drawing("path", { class: "mean", d: `M${x(gap.mean)} 2V20` }));
  return picture;
}

reference.append(...data.solvers.map((solver) => new Option(solver, solver)));
reference.addEventListener("change", showPairs);
reference.form.addEventListener("submit", (event) => event.preventDefault());
if (location.hash.includes("/")) choosePlace(decodeURI(location.hash.slice(1)));
reference.value = bestHere();
showPlace();

/* Pictures. */

const showcases = JSON.parse(find("#pictures").textContent);
let shown = null;
let box = null;
let zoom = 1;

const coloured = find("#colour");

function address(png) { return `data:image/png;base64,${png}`; }

async function drawn(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = make("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return { canvas, context, samples: context.getImageData(0, 0, image.width, image.height) };
}

async function pixels({ png }) {
  const { canvas, samples } = await drawn(address(png));
  const luma = new Uint8Array(canvas.width * canvas.height);
  for (let n = 0; n < luma.length; n += 1) luma[n] = samples.data[4 * n];
  return { canvas, luma, grey: address(png) };
}

/* The scored luma with the colours of the JPEG: R − Y, G − Y and B − Y come from there. BT.601's luma
   of 16 to 235 is 255/219 times as steep in RGB. */

async function withColours(picture, { jpeg }) {
  if (!jpeg || picture.colour) return;
  const { canvas, context, samples: { data: rgb, width, height } } =
    await drawn(`data:image/jpeg;base64,${jpeg}`);
  const joined = context.createImageData(width, height);
  for (let n = 0; n < picture.luma.length; n += 1) {
    const [r, g, b] = [rgb[4 * n], rgb[4 * n + 1], rgb[4 * n + 2]];
    const before = 0.299 * r + 0.587 * g + 0.114 * b;
    const now = (picture.luma[n] - 16) * (255 / 219);
    joined.data.set([r - before + now, g - before + now, b - before + now, 255], 4 * n);
  }
  context.putImageData(joined, 0, 0);
  picture.colour = canvas;
  picture.address = canvas.toDataURL();
}

function members(showcase) { return [showcase.truth, ...showcase.pictures]; }

async function load(showcase) {
  showcase.loaded ||= await Promise.all(members(showcase).map(pixels));
  if (coloured.checked) {
    await Promise.all(showcase.loaded.map((one, n) => withColours(one, members(showcase)[n])));
  }
  return showcase.loaded;
}

function source(picture) { return (coloured.checked && picture.address) || picture.grey; }

function psnrInside(a, b, width, { left, top, wide, high }) {
  let sum = 0;
  for (let y = top; y < top + high; y += 1) {
    for (let x = left; x < left + wide; x += 1) {
      sum += (a[y * width + x] - b[y * width + x]) ** 2;
    }
  }
  return sum === 0 ? Infinity : 10 * Math.log10((255 * 255 * wide * high) / sum);
}

async function showShowcase(number) {
  const showcase = showcases[number];
  await load(showcase);
  shown = showcase;
  findAll("#showcases button").forEach((button, n) => button.setAttribute("aria-pressed", String(n === number)));
  find("#stage-image").alt = `The true image ${showcase.title}`;
  find("#colour-switch").hidden = !showcase.truth.jpeg;
  find("#lines-differ").hidden = new Set(showcase.pictures.map(({ line }) => line)).size < 2;
  const side = Math.min(96, showcase.width, showcase.height);
  setBox(Math.round((showcase.width - side) / 2), Math.round((showcase.height - side) / 2), side, side);
  showWipe();
}

async function showColours() {
  const showcase = shown;
  await load(showcase);
  if (showcase !== shown) return;
  showCrops();
  showWipe();
}

function setBox(left, top, wide, high) {
  const clamp = (value, low, top_) => Math.max(low, Math.min(value, top_));
  wide = clamp(Math.round(wide), 8, shown.width);
  high = clamp(Math.round(high), 8, shown.height);
  box = {
    wide, high,
    left: clamp(Math.round(left), 0, shown.width - wide),
    top: clamp(Math.round(top), 0, shown.height - high),
  };
  const percent = (value, whole) => `${(100 * value) / whole}%`;
  Object.assign(find("#box").style, {
    left: percent(box.left, shown.width), top: percent(box.top, shown.height),
    width: percent(box.wide, shown.width), height: percent(box.high, shown.height),
  });
  find("#box-text").textContent =
    `${shown.title}: ${box.wide}×${box.high} pixels from column ${box.left}, row ${box.top}`;
  requestAnimationFrame(showCrops);
}

function crop({ canvas, colour }) {
  const small = make("canvas", { width: box.wide, height: box.high });
  small.getContext("2d").drawImage(
    (coloured.checked && colour) || canvas, box.left, box.top, box.wide, box.high, 0, 0, box.wide, box.high);
  small.style.width = `${box.wide * zoom}px`;
  return small;
}

function showCrops() {
  const [truth, ...others] = shown.loaded;
  const values = others.map(({ luma }) => psnrInside(luma, truth.luma, shown.width, box));
  const highest = Math.max(...values);
  const figures = others.map((picture, n) => {
    const { solver, psnr, line } = shown.pictures[n];
    const where = find("#lines-differ").hidden ? "" : `, line ${line}`;
    const figure = make("figure", values[n] === highest ? { class: "first" } : {}, crop(picture));
    const value = Number.isFinite(values[n]) ? `${values[n].toFixed(2)} dB` : "no error";
    figure.append(make("figcaption", {}, solver, make("br"), make("b", {}, value), " ",
      make("small", {}, psnr === null ? "" : `(${psnr.toFixed(2)}${where})`)));
    return figure;
  });
  find("#crops").replaceChildren(
    make("figure", {}, crop(truth), make("figcaption", {}, "truth", make("br"), "\u00a0")), ...figures);
}

function showWipe() {
  find("#stage-image").src = source(shown.loaded[0]);
  const pictures = [{ solver: "truth" }, ...shown.pictures];
  const lists = [find("#wipe-left"), find("#wipe-right")];
  lists.forEach((list, side) => {
    const before = list.value;
    list.replaceChildren(...pictures.map(({ solver }) => new Option(solver, solver)));
    const names = pictures.map(({ solver }) => solver);
    list.value = names.includes(before) ? before : names[side === 0 ? Math.min(1, names.length - 1) : names.length - 1];
  });
  [["#wipe-over", lists[0]], ["#wipe-under", lists[1]]].forEach(([selector, list]) => {
    const picture = pictures[list.selectedIndex], image = find(selector);
    image.src = source(shown.loaded[list.selectedIndex]);
    image.alt = `${shown.title} by ${picture.solver}`;
    find(`${selector}-name`).textContent = `${picture.solver}${picture.psnr ? ` ${picture.psnr.toFixed(2)} dB` : ""}`;
  });
  find(".wipe").style.width = `${shown.width * Math.max(2, Math.ceil(320 / shown.width))}px`;
  wipe();
}

function wipe() {
  const part = Number(find("#wipe").value);
  find("#wipe-over").style.clipPath = `inset(0 ${100 - part}% 0 0)`;
  find("#wipe-line").style.left = `${part}%`;
}

function startPictures() {
  const stage = find("#stage");
  find("#showcases").append(...showcases.map((showcase, number) => {
    const button = make("button", { type: "button", "aria-pressed": "false" },
      make("img", { src: address(showcase.truth.png), alt: "" }), make("span", {}, showcase.title));
    button.addEventListener("click", () => showShowcase(number));
    return button;
  }));
  let start = null;
  const where = (event) => {
    const frame = find("#stage-image").getBoundingClientRect();
    return {
      x: ((event.clientX - frame.left) * shown.width) / frame.width,
      y: ((event.clientY - frame.top) * shown.height) / frame.height,
    };
  };
  stage.addEventListener("pointerdown", (event) => {
    start = where(event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = where(event);
    setBox(Math.min(start.x, end.x), Math.min(start.y, end.y),
      Math.abs(end.x - start.x), Math.abs(end.y - start.y));
  });
  stage.addEventListener("pointerup", () => { start = null; });
  stage.addEventListener("pointercancel", () => { start = null; });
  stage.addEventListener("keydown", (event) => {
    const [right, down] = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] }[event.key] || [];
    if (right === undefined) return;
    event.preventDefault();
    if (event.shiftKey) setBox(box.left, box.top, box.wide + right, box.high + down);
    else setBox(box.left + right, box.top + down, box.wide, box.high);
  });
  for (const button of findAll(".zoom button")) {
    button.addEventListener("click", () => {
      zoom = Number(button.dataset.zoom);
      for (const other of findAll(".zoom button")) other.setAttribute("aria-pressed", String(other === button));
      showCrops();
    });
  }
  coloured.addEventListener("change", showColours);
  find("#wipe").addEventListener("input", wipe);
  const over = find(".wipe-pictures");
  const follow = (event) => {
    const frame = over.getBoundingClientRect();
    find("#wipe").value = (100 * (event.clientX - frame.left)) / frame.width;
    wipe();
  };
  over.addEventListener("pointerdown", (event) => {
    over.setPointerCapture(event.pointerId);
    follow(event);
  });
  over.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  find("#wipe-picker").addEventListener("change", showWipe);
  find("#wipe-picker").addEventListener("submit", (event) => event.preventDefault());
  showShowcase(0);
}

if (showcases.length) startPictures();
