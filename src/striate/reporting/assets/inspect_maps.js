// Maps of a network's steps out of their sheets, numbers as readers write them, and where a place lies in a picture.
const Inspect = (() => {
  const holder = document.getElementById("inspection-data");
  if (!holder) return null;
  const data = JSON.parse(holder.textContent), plane = data.plane;
  const nodes = new Map(data.nodes.map((node) => [node.id, node]));
  const sums = Object.values(data.sums);

  // An element with attributes and children; texts stay texts.
  function el(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "style") for (const [key, one] of Object.entries(value)) made.style.setProperty(key, one);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  }

  const HIGH = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  function num(value, digits = 4) {
    if (value === null || value === undefined || Number.isNaN(Number(value))) return "–";
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size < 1e-3 || size >= 1e6) {
      const [mantissa, power] = Number(value).toExponential(Math.max(0, digits - 2)).split("e");
      return `${mantissa.replace("-", "−")}·10${[...String(Number(power))].map((c) => HIGH[c] || c).join("")}`;
    }
    const text = Number.isInteger(value) && size < 1e6 ? String(value) : Number(value).toPrecision(digits);
    return (text.includes("e") ? String(Math.round(value)) : text).replace("-", "−");
  }

  const brief = (value) => { const [size, sign] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => value >= least) || [1, ""]; return sign ? `${Number((value / size).toPrecision(3))} ${sign}` : num(value); };
  const count = (number, word) => `${Number(number).toLocaleString("en").replace(/,/g, "\u202f")} ${word}${number === 1 ? "" : "s"}`;
  const times = (sizes) => sizes.join(" × ");
  const isMap = (node) => node.shape.length > 2;
  const dot = (node) => isMap(node) && node.shape.slice(1).every((n) => n === 1) && Boolean(node.statistics);
  const word = (node) => (node.kind === "input" ? "channel" : isMap(node) ? "map" : "unit");
  const told = (node, unit) => (node.kind === "input" && data.channels[unit] ? data.channels[unit] : `${word(node)} ${unit}`);
  const link = (id, unit, at) => `#n${id}` + (unit === undefined || unit === null ? "" : `.u${unit}`) + (at && at.length ? `.at${at.join(",")}` : "");
  const shape = (node) => (isMap(node) ? `${count(node.shape[0], "map")} of ${times(node.shape.slice(1))}` : count(node.shape.reduce((a, b) => a * b, 1), "number"));

  const pictures = new Map();
  function picture(src) {
    if (!pictures.has(src)) pictures.set(src, new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("a picture of this page is broken"));
      image.src = src;
    }));
    return pictures.get(src);
  }

  // A canvas of one map of a sheet, drawn when it comes near the screen; one that has a label at once.
  const waiting = new Map();
  const near = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting) paint(entry.target);
  }), { rootMargin: "300px" });
  async function paint(canvas) {
    const sheet = waiting.get(canvas);
    if (!sheet) return;
    waiting.delete(canvas);
    near.unobserve(canvas);
    try {
      const image = await picture(sheet.src), [high, wide] = sheet.tile, row = Math.floor(sheet.index / sheet.columns);
      canvas.width = wide; canvas.height = high;
      canvas.getContext("2d", { willReadFrequently: true })
        .drawImage(image, (sheet.index % sheet.columns) * wide, row * high, wide, high, 0, 0, wide, high);
    } catch { canvas.classList.add("broken"); }
  }
  function tile(sheet, unit, label) {
    const index = sheet ? sheet.units.findIndex((one) => String(one) === String(unit)) : -1;
    if (index < 0) return null;
    const canvas = el("canvas", label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" });
    waiting.set(canvas, { src: sheet.src, tile: sheet.tile, columns: sheet.columns, index });
    if (label) paint(canvas); else near.observe(canvas);
    return canvas;
  }
  addEventListener("beforeprint", () => [...waiting.keys()].forEach(paint));

  // Per cent from the left and from the top of the middle of a voxel of a map (F, *map).
  function spot(at, sizes) {
    if (!at || at.length !== sizes.length || sizes.length < 2) return null;
    const [down, across] = plane.axes.map((axis, n) => {
      const share = (at[axis] + 0.5) / sizes[axis];
      return 100 * (plane.flipped[n] ? 1 - share : share);
    });
    return [across, down];
  }

  // The voxel of a map under a point of its picture (shares from the left and from the top); `at` gives the other axis.
  function voxel(across, down, at, sizes) {
    const found = [...at];
    [down, across].forEach((share, n) => {
      const axis = plane.axes[n], place = Math.floor((plane.flipped[n] ? 1 - share : share) * sizes[axis]);
      found[axis] = Math.min(sizes[axis] - 1, Math.max(0, place));
    });
    return found;
  }

  // What a place of a map sees of the tile's plane: per cent [left, top, width, height].
  function seen(node, at) {
    const field = node.field;
    if (!field || !at || at.length !== plane.size.length) return null;
    const [[top, high], [left, wide]] = plane.axes.map((axis, n) => {
      const whole = plane.size[axis], one = node.axes && node.axes[axis];
      const ratio = whole / node.shape[1 + axis];
      const middle = one ? one.stride * at[axis] + one.offset : (at[axis] + 0.5) * ratio - 0.5;
      const all = node.axes ? !one : field[axis] >= whole;
      const low = all ? 0 : Math.max(0, middle - (field[axis] - 1) / 2), far = all ? whole : Math.min(whole, middle + (field[axis] + 1) / 2);
      return [100 * (plane.flipped[n] ? whole - far : low) / whole, 100 * (far - low) / whole];
    });
    return [left, top, wide, high];
  }

  // A picture with the ring of a place and the box of what is seen.
  function shot(content, { at = null, box = null, label = null } = {}) {
    const marks = [];
    if (box) marks.push(el("i", { class: "field", style: { left: `${box[0]}%`, top: `${box[1]}%`, width: `${box[2]}%`, height: `${box[3]}%` } }));
    if (at) marks.push(el("i", { class: "spot", style: { left: `${at[0]}%`, top: `${at[1]}%` } }));
    return el("span", { class: "shot", role: label ? "img" : null, "aria-label": label, style: { "aspect-ratio": String(plane.aspect) } }, content, marks);
  }

  // The scan's plane as it stands at the top of the page.
  function scan(options) {
    const first = document.querySelector("#scan img");
    return first ? shot(el("img", { src: first.src, alt: "the scan's plane" }), options) : null;
  }

  // Bars of the numbers of a step without maps.
  function bars(values) {
    const most = Math.max(...values.map(Math.abs), 1e-12), shown = values.slice(0, 64), canvas = el("canvas", { "aria-hidden": "true", class: "bars" });
    canvas.width = 4 * shown.length; canvas.height = 60;
    const context = canvas.getContext("2d");
    shown.forEach((value, n) => {
      context.fillStyle = value > 0 ? "#e69f00" : "#56b4e9";
      const high = Math.max(1, 29 * Math.abs(value) / most);
      context.fillRect(4 * n, value > 0 ? 30 - high : 30, 3, high);
    });
    return canvas;
  }

  const sumsOf = (id, unit) => sums.filter((one) => one.node === id && (unit === undefined || one.unit === unit));
  const chain = data.chain.map((key) => data.sums[key]).filter(Boolean);
  const onChain = new Map(chain.map((one) => [one.node, one]));
  return { brief, dot, data, nodes, sums, chain, onChain, sumsOf, el, num, count, times, isMap, word, told, link, shape, tile, spot, voxel, seen, shot, scan, bars, plane };
})();
