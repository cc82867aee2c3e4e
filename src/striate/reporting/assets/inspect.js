// Walks through a network: the graph, the step that is chosen, the unit that is chosen, and its sum; the address holds where one is.
(() => {
  if (!Inspect) return;
  const { data, nodes, chain, onChain, sumsOf, el, num, count, times, isMap, word, told, link, shape, tile, spot, voxel, seen, shot, scan, plane } = Inspect;
  document.querySelectorAll("#inspection [data-still]").forEach((still) => still.remove());
  document.querySelectorAll("#inspection [data-scripted]").forEach((part) => { part.hidden = false; });
  document.documentElement.dataset.live = "yes";

  const place = document.getElementById("chosen"), opened = document.getElementById("sum");
  const graph = new InspectGraph(document.querySelector("#inspection .graph"), (id, far) => go(id, null, null, far));
  const asked = new Map();
  const state = { node: null, unit: null, at: null };

  function go(id, unit = null, at = null, far = true) {
    const address = link(id, unit, at);
    if (location.hash !== address) history[far ? "pushState" : "replaceState"](null, "", address);
    show(id, unit, at);
    if (far) (unit === null ? place : opened).scrollIntoView({ block: unit === null ? "nearest" : "start", behavior: "smooth" });
  }

  function show(id, unit, at) {
    const node = nodes.get(id);
    if (!node) return;
    graph.mark(id);
    const sum = sumsOf(id)[0], own = onChain.get(id);
    const best = unit ?? (own || sum || {}).unit ?? null;
    Object.assign(state, { node: id, unit: best, at });
    describe(node, best);
    if (best === null) opened.replaceChildren(); else unfold(node, best, at);
  }

  // Step: what it is, what it sees, its maps, its filters.
  function describe(node, unit) {
    const image = node.kind === "input", at = state.at || node.at || (image ? plane.at : null), box = seen(node, at);
    const sources = node.sources.map((one) => nodes.get(one));
    const facts = [["Output", shape(node)], ["Weights", node.parameters ? num(node.parameters, 7) : null], ["Multiplications", node.macs ? Inspect.brief(node.macs) : null], ["Each number sees", sees(node)], ...spread(node)];
    const from = sources.flatMap((one, n) => [n ? (n === sources.length - 1 ? " and " : ", ") : "", el("a", { href: link(one.id) }, one.kind === "input" ? "the image" : `${one.id} · ${one.operation}`)]);
    const walk = (to, mark, name) => (nodes.has(to) ? el("a", { href: link(to), class: "walk", "aria-label": name }, mark) : null);
    place.replaceChildren(
      el("h4", { class: node.colour }, el("i", { class: "kindmark" }), image ? "The image" : `Step ${node.id}: ${node.operation}`, el("span", {}, image ? "" : node.layer || "between the parts of the network"), walk(node.id - 1, "←", "the step before"), walk(node.id + 1, "→", "the step after")),
      el("div", { class: "about" },
        el("figure", {}, scan({ at: spot(plane.at && plane.at.slice(-plane.size.length), plane.size), box, label: "the scan's plane with what one number of this step sees" }), el("figcaption", {}, box ? "box: what one number here sees of the scan" : isMap(node) || image ? "" : "every number here sees the whole window")),
        el("div", {}, sources.length ? el("p", {}, "Takes ", from, ".") : null, el("table", { class: "pairs" }, el("tbody", {}, facts.filter(([, value]) => value).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value))))))),
      ...(node.maps ? maps(node, unit) : node.values ? values(node, unit) : []), ...(node.filters ? filters(node) : []));
  }

  function sees(node) {
    if (node.kind === "input") return null;
    if (!node.field) return "the whole window";
    const size = plane.size, whole = node.field.every((one, axis) => one >= size[axis]);
    const mm = node.field_mm ? ` (${times(node.field_mm.map((v) => num(Math.round(v * 10) / 10)))} mm)` : "";
    return `${times(node.field)} voxels${mm}${whole ? ", the whole window" : ""}`;
  }

  const list = (value) => (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]);
  function spread(node) {
    const { least, most, zeros } = node.statistics || {}, low = list(least), high = list(most), none = list(zeros);
    const mean = none.length ? none.reduce((a, b) => a + b, 0) / none.length : null, dead = Number(node.dead) || 0;
    return [
      ["Range", low.length ? `${num(Math.min(...low), 3)} to ${num(Math.max(...high), 3)}` : null],
      ["Zeros", mean === null ? null : `${num(100 * mean, 3)} %`],
      ["Dead", dead ? `${dead} of ${node.shape[0]} ${word(node)}s are the same everywhere` : null],
    ];
  }

  const flat = (node, unit) => { const { least, most } = node.statistics || {}, low = list(least), high = list(most); return low.length > unit && low.length > 1 && low[unit] === high[unit]; };
  function maps(node, chosen) {
    const units = node.maps.units, buttons = units.map((unit, n) => {
      const has = sumsOf(node.id, unit).length, dead = flat(node, unit), low = list(node.maps.low)[n], high = list(node.maps.high)[n];
      const range = low === undefined ? "" : low === high ? num(low, 2) : `${num(low, 2)} … ${num(high, 2)}`;
      return el("button", { type: "button", class: `unit${dead ? " dead" : ""}${has ? " opens" : ""}`, "aria-pressed": String(unit === chosen), "aria-label": `${told(node, unit)}${dead ? ", dead" : ""}, ${range}${has ? ", its sum is here" : ""}`,
        onclick: () => go(node.id, unit) }, shot(tile(node.maps, unit), {}), el("b", {}, node.kind === "input" ? told(node, unit) : String(unit), has ? el("em", {}, " Σ") : null), el("span", {}, dead ? "dead" : range));
    });
    const all = node.shape[0], some = units.length < all;
    const more = some && data.live ? el("button", { type: "button", onclick: (event) => fetchMaps(node, event.target) }, `Show all ${all}`) : null;
    return [el("h5", {}, `${some ? `${units.length} of its ${all}` : `Its ${all === 1 ? "" : `${all} `}`}${some ? " maps, those that vary most" : all === 1 ? "map" : "maps"}`), el("div", { class: "units" }, buttons), more,
      el("p", { class: "note" }, "Each map has its own scale from black, its least value, to white, its greatest. Σ: the sum of one number of it is in this page.")].filter(Boolean);
  }

  function values(node, chosen) {
    const order = node.values.map((value, unit) => [value, unit]).sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])), shown = order.slice(0, 48), most = Math.abs(order[0][0]) || 1;
    return [el("h5", {}, shown.length < order.length ? `The ${shown.length} largest of ${order.length} numbers` : `Its ${count(order.length, "number")}`),
      el("div", { class: "numbers" }, shown.map(([value, unit]) => el("button", { type: "button", class: "number", "aria-pressed": String(unit === chosen), "aria-label": `unit ${unit}, ${num(value)}`, onclick: () => go(node.id, unit) },
        el("b", {}, String(unit)), el("span", { class: "weigh" }, el("i", { class: value < 0 ? "less" : "more", style: { width: `${50 * Math.abs(value) / most}%`, left: `${value < 0 ? 50 - 50 * Math.abs(value) / most : 50}%` } })), el("span", {}, num(value, 3)))))];
  }

  function filters(node) {
    const sheet = node.filters;
    return [el("h5", {}, "Its filters"), el("div", { class: "filters" }, sheet.units.map((unit) => el("span", {}, tile(sheet, unit, `filter ${list(unit).join(" on ")}`), el("small", {}, list(unit).join(" · "))))),
      el("p", { class: "note" }, "Weights of a kernel, black the least, white the greatest.")];
  }

  // Unit: its map large, and the sum of one number of it.
  function unfold(node, unit, at) {
    const own = sumsOf(node.id, unit), wanted = at && own.find((one) => one.at.join() === at.join()), sum = wanted || (at ? null : own[0]);
    const where = at || (sum ? sum.at : node.at || []), kept = asked.get(link(node.id, unit, where));
    const found = sum || kept, title = `${told(node, unit)}${where.length ? ` at ${where.join(", ")}` : ""}`;
    const right = el("div", { class: "opened" }, found ? InspectSum.parts(found) : missing(node, unit, where));
    opened.replaceChildren(el("h4", { class: node.colour }, el("i", { class: "kindmark" }), node.kind === "input" ? "The image, " : `Step ${node.id}, ${node.operation}, `, title), el("div", { class: "unfolded" }, large(node, unit, where, found), right));
    if (!found && data.live && !node.closed && node.kind !== "input") ask(node, unit, where);
  }

  function missing(node, unit, at) {
    if (node.kind === "input") {
      return [el("p", {}, "Here the way back ends: this number is not computed but read from the image, as it was prepared for the network.")];
    }
    if (node.closed) return [el("p", { class: "reason" }, node.closed)];
    if (data.live) return [el("p", { class: "note" }, "The sum is being computed …")];
    const opens = sumsOf(node.id), line = `striate inspect MODEL SCAN --unit ${node.layer || node.id}:${unit} --at I,J,K`;
    return [el("p", { class: "reason" }, "This sum is not in the page, which holds those of the strongest unit of each step and of the chain. It is printed by ", el("code", {}, line), "; with --out DIR --live every number of every map opens by a click."),
      opens.length ? el("p", {}, "In this step there opens: ", opens.flatMap((one, n) => [n ? ", " : "", el("a", { href: link(one.node, one.unit, one.at) }, `${told(node, one.unit)}${one.at.length ? ` at ${one.at.join(", ")}` : ""}`)]), ".") : null];
  }

  function large(node, unit, at, sum) {
    const canvas = node.maps ? tile(node.maps, unit, `${told(node, unit)}, large`) : null, sizes = node.shape.slice(1);
    if (!canvas) {
      if (!isMap(node)) return el("figure", { class: "large" }, el("p", { class: "huge" }, num(sum ? sum.value : node.values && node.values[unit])));
      return el("figure", { class: "large" }, shot(el("em", {}, "no picture of this map is kept"), { at: spot(at, sizes) }));
    }
    const index = node.maps.units.findIndex((one) => one === unit), low = list(node.maps.low)[index], high = list(node.maps.high)[index];
    const readout = el("figcaption", {}, `${times(node.maps.tile)} pixels${low === undefined ? "" : `, black ${num(low, 3)}, white ${num(high, 3)}`}`), rest = readout.textContent;
    const picture = shot(canvas, { at: spot(at, sizes) }), under = (event) => {
      const box = picture.getBoundingClientRect(), start = at.length === sizes.length ? at : node.at || sizes.map((n) => Math.floor(n / 2));
      return voxel((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, start, sizes);
    };
    picture.classList.add("pick");
    picture.addEventListener("click", (event) => go(node.id, unit, under(event), false));
    picture.addEventListener("pointermove", (event) => {
      const [across, down] = spot(under(event), sizes), context = canvas.getContext("2d");
      const grey = context.getImageData(Math.min(canvas.width - 1, Math.floor(across / 100 * canvas.width)), Math.min(canvas.height - 1, Math.floor(down / 100 * canvas.height)), 1, 1).data[0];
      if (low !== undefined) readout.textContent = `${under(event).join(", ")}: about ${num(low + grey / 255 * (high - low), 3)}`;
    });
    picture.addEventListener("pointerleave", () => { readout.textContent = rest; });
    return el("figure", { class: "large" }, picture, readout, el("p", { class: "note" }, data.live ? "Click anywhere for the sum of that number." : ""));
  }

  // Where the page is served, any sum and all maps are asked for.
  async function call(what, query) {
    const answer = await fetch(`${data.live.path || ""}/${what}?${new URLSearchParams({ ...query, token: data.live.token })}`);
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error || `the server answered ${answer.status}`);
    return found;
  }

  async function ask(node, unit, at) {
    const key = link(node.id, unit, at);
    try {
      asked.set(key, await call("sum", { node: node.id, unit, at: at.join(",") }));
    } catch (error) {
      asked.set(key, { node: node.id, unit, at, reason: `This sum cannot be opened: ${error.message}` });
    }
    if (state.node === node.id && state.unit === unit) unfold(node, unit, at);
  }

  async function fetchMaps(node, button) {
    button.disabled = true;
    try {
      node.maps = await call("maps", { node: node.id, plane: node.maps.plane ?? "" });
      if (state.node === node.id) describe(node, state.unit);
    } catch (error) {
      button.replaceWith(el("p", { class: "reason" }, `The maps cannot be shown: ${error.message}`));
    }
  }

  function follow(first) {
    const found = /^#n(\d+)(?:\.u(\d+))?(?:\.at([\d,]+))?$/.exec(location.hash);
    if (found) {
      const at = found[3] ? found[3].split(",").map(Number) : null, unit = found[2] === undefined ? null : Number(found[2]);
      show(Number(found[1]), unit, at);
      (unit === null ? place : opened).scrollIntoView({ block: "start", behavior: first ? "auto" : "smooth" });
    } else if (first) {
      const named = data.sums[data.asked], start = named || chain[0] || data.nodes.map((node) => ({ node: node.id })).pop();
      show(start.node, named ? named.unit : null, named ? named.at : null);
    }
  }

  document.querySelectorAll("[data-fold]").forEach((button) => button.addEventListener("click", () => graph.all(button.dataset.fold === "open")));
  graph.draw();
  follow(true);
  addEventListener("hashchange", () => follow(false));
  addEventListener("popstate", () => follow(false));
  addEventListener("beforeprint", () => { const width = graph.size.width; if (width > 660) graph.sheet.style.zoom = 660 / width; });
  addEventListener("afterprint", () => { graph.sheet.style.zoom = ""; });
  document.documentElement.dataset.inspected = nodes.size;
})();
