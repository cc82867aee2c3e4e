// The network as a graph: columns in the order of execution, rows by the size of maps, lines for what a step takes from others.
const InspectGraph = (() => {
  if (!Inspect) return null;
  const { data, nodes, onChain, el, shape, tile, shot, bars } = Inspect;
  const CARD = 78, GAP = 22, LABEL = 32, LANE = 16, BOW = 12, PAD = 20;

  // Stages with numbers of their own; a stage of one step is that step.
  const groups = [];
  function grown(plain, parent) {
    const group = { id: groups.length, name: plain.name, parent, ids: [] };
    groups.push(group);
    group.items = plain.items.map((item) => (typeof item === "number" ? item : grown(item, group)));
    group.ids = group.items.flatMap((item) => (typeof item === "number" ? [item] : item.ids));
    return group;
  }
  const stages = data.stages.map((stage) => grown(stage, null));
  const open = new Set(nodes.size <= 14 ? groups.map((group) => group.id) : []);

  // The step that stands for several: the last one that has maps.
  const speaker = (ids) => nodes.get([...ids].reverse().find((id) => nodes.get(id).maps) ?? ids[ids.length - 1]);
  const deepest = Math.max(...[...nodes.values()].map((node) => node.level ?? 0));
  const level = (node) => node.level ?? deepest + 1;

  function visible() {
    const items = [], frames = [];
    const walk = (group, stage) => {
      const lone = group.ids.length === 1;
      if (lone || !open.has(group.id)) { items.push({ stage, group: lone ? null : group, ids: group.ids, node: speaker(group.ids) }); return; }
      const frame = { group, items: [] }, before = items.length;
      group.items.forEach((item) => (typeof item === "number" ? items.push({ stage, group: null, ids: [item], node: nodes.get(item) }) : walk(item, stage)));
      frame.items = items.slice(before);
      frames.push(frame);
    };
    stages.forEach((stage, n) => walk(stage, n));
    return { items, frames };
  }

  // Columns: the longest way inside a stage; lanes: side by side where paths part.
  function placed(items) {
    const holder = new Map(items.flatMap((item) => item.ids.map((id) => [id, item])));
    let first = 0, last = -1, stage = -1, taken = [];
    const users = new Map();
    for (const item of items) {
      const sources = item.ids.flatMap((id) => nodes.get(id).sources.map((source) => holder.get(source))).filter((one) => one && one !== item);
      item.sources = [...new Set(sources)];
      if (item.stage !== stage) { stage = item.stage; first = last + 1; taken = []; }
      item.level = level(item.node);
      const inside = item.sources.filter((one) => one.stage === stage);
      item.column = Math.max(first, ...inside.map((one) => one.column + 1));
      const from = inside.length ? inside.reduce((a, b) => (a.lane <= b.lane ? a : b)) : null, split = from && users.get(from);
      const free = (lane) => !taken.some((one) => one.lane === lane && one.level === item.level && one.column >= item.column);
      let lane = from ? from.lane : 0;
      if (split || !free(lane)) { lane = 0; while (!free(lane)) lane++; }
      if (inside.length > 1) { lane = from.lane; while (!free(lane)) lane++; }
      item.lane = lane;
      if (from) users.set(from, (split || 0) + 1);
      taken.push(item);
      last = Math.max(last, item.column);
    }
    return { columns: last + 1, holder };
  }

  function measured(items, columns, width) {
    const pitch = Math.max(CARD + GAP, Math.min(132, Math.floor((width - PAD) / Math.max(columns, 1)))), card = pitch - GAP;
    const high = Math.min(card / Math.max(Inspect.plane.aspect, 0.55), card * 1.4) + LABEL;
    const levels = [...new Set(items.map((item) => item.level))].sort((a, b) => a - b);
    const bows = items.flatMap((item) => item.sources.filter((one) => blocked(items, one, item)).map((one) => one.level));
    let y = 26;
    const tops = new Map();
    for (const one of levels) {
      const lanes = Math.max(...items.filter((item) => item.level === one).map((item) => item.lane)) + 1;
      y += bows.includes(one) ? BOW + 10 : 0;
      tops.set(one, y);
      y += lanes * (high + LANE) + 12;
    }
    for (const item of items) {
      item.x = PAD / 2 + item.column * pitch;
      item.y = tops.get(item.level) + item.lane * (high + LANE);
      item.middle = item.y + (high - LABEL) / 2;
    }
    return { width: PAD + columns * pitch, height: y + 6, card, high };
  }

  const blocked = (items, from, to) => from.level === to.level && from.lane === to.lane &&
    items.some((one) => one.level === from.level && one.lane === from.lane && one.column > from.column && one.column < to.column);

  function path(items, from, to, card) {
    const x1 = from.x + card, y1 = from.middle, x2 = to.x, y2 = to.middle;
    if (blocked(items, from, to)) {
      const top = Math.min(from.y, to.y) - BOW, turn = Math.min(GAP - 4, 14);
      return `M${x1} ${y1 - 6}C${x1 + turn} ${y1 - 6} ${x1 + 2} ${top} ${x1 + turn + 6} ${top}H${x2 - turn - 6}C${x2 - 2} ${top} ${x2 - turn} ${y2 - 6} ${x2} ${y2 - 6}`;
    }
    if (Math.abs(y1 - y2) < 1) return `M${x1} ${y1}H${x2}`;
    const bend = Math.max(GAP, Math.min(60, (x2 - x1) / 2));
    if (x2 - x1 < 2 * bend) { const middle = (x1 + x2) / 2; return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`; }
    return y2 > y1 ? `M${x1} ${y1}H${x2 - 2 * bend}C${x2 - bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` : `M${x1} ${y1}C${x1 + bend} ${y1} ${x1 + bend} ${y2} ${x1 + 2 * bend} ${y2}H${x2}`;
  }

  function lines(items, holder, size) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of [["width", size.width], ["height", size.height], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
    const chained = new Set();
    Inspect.chain.forEach((one) => {
      const to = holder.get(one.node), term = (one.terms || [])[0], from = term && holder.get(term.source);
      if (from && from !== to) chained.add(`${from.ids[0]}-${to.ids[0]}`);
    });
    const drawn = items.flatMap((to) => to.sources.map((from) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("d", path(items, from, to, size.card));
      const on = chained.has(`${from.ids[0]}-${to.ids[0]}`);
      line.setAttribute("class", `${to.column - from.column > 1 ? "skip" : "step"}${on ? " chained" : ""}`);
      return [on, line];
    }));
    drawn.sort((a, b) => a[0] - b[0]);
    svg.append(...drawn.map(([, line]) => line));
    return svg;
  }

  const units = (node) => (onChain.has(node.id) ? onChain.get(node.id).unit : node.maps ? node.maps.units[0] : null);
  function card(item, size, choose, toggle) {
    const { node, group } = item, sum = onChain.get(node.id), unit = units(node);
    const face = Inspect.dot(node) ? bars(node.statistics.mean) : (node.maps && (tile(node.maps, unit) || tile(node.maps, node.maps.units[0]))) || (node.values ? bars(node.values) : null);
    const at = sum && node.maps && !Inspect.dot(node) && node.maps.units.includes(sum.unit) ? Inspect.spot(sum.at, node.shape.slice(1)) : null;
    const name = group ? group.name || "network" : node.kind === "input" ? "image" : node.operation;
    const under = group ? `${group.ids.length} steps · ${node.shape.join("×")}` : node.shape.join("×");
    const label = group ? `stage ${name}, ${group.ids.length} steps, ${shape(node)}` : `step ${node.id}, ${name}${node.layer && node.kind !== "input" ? `, ${node.layer}` : ""}, ${shape(node)}`;
    const button = el("button", {
      type: "button", class: `card ${node.colour}${group ? " several" : ""}`, title: label, "aria-label": label, tabindex: -1, "data-node": node.id,
      "aria-expanded": group ? "false" : null, style: { left: `${item.x}px`, top: `${item.y}px`, width: `${size.card}px` }, onclick: () => choose(node.id, true),
    }, shot(face || "", { at }), el("b", {}, name), el("span", {}, under));
    item.button = button;
    const fold = group && el("button", { type: "button", class: "fold", tabindex: -1, "aria-label": `Open stage ${name}`, title: `Open ${name}`,
      style: { left: `${item.x + size.card - 20}px`, top: `${item.y - 8}px` }, onclick: () => toggle(group) }, "+");
    return [button, fold];
  }

  function frame({ group, items }, size, toggle) {
    const left = Math.min(...items.map((i) => i.x)) - 7, right = Math.max(...items.map((i) => i.x)) + size.card + 7;
    const depth = group.parent ? 3 : 0, top = Math.min(...items.map((i) => i.y)) - 22 + depth, bottom = Math.max(...items.map((i) => i.y)) + size.high + 6 - depth;
    const box = { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` };
    const close = el("button", { type: "button", class: "fold close", tabindex: -1, "aria-label": `Close stage ${group.name}`, onclick: () => toggle(group),
      style: { left: `${left}px`, top: `${top - 9}px`, "max-width": `${right - left}px` } }, `− ${group.name || "network"}`);
    return [el("div", { class: "frame", style: box }), close];
  }

  class Graph {
    constructor(place, choose) {
      this.place = place; this.choose = choose; this.items = [];
      place.addEventListener("keydown", (event) => this.key(event));
      let width = place.clientWidth;
      new ResizeObserver(() => { if (Math.abs(place.clientWidth - width) > 2) { width = place.clientWidth; this.draw(); } }).observe(place);
    }

    draw() {
      const { items, frames } = visible(), { columns, holder } = placed(items), size = measured(items, columns, this.place.clientWidth || 900);
      const toggle = (group) => { this.toggle(group); };
      const left = this.place.scrollLeft;
      this.size = size; this.items = items; this.holder = holder;
      this.sheet = el("div", { class: "sheet", style: { width: `${size.width}px`, height: `${size.height}px` } },
        frames.reverse().flatMap((one) => frame(one, size, toggle)), lines(items, holder, size), items.flatMap((item) => card(item, size, this.choose, toggle)));
      this.place.replaceChildren(this.sheet);
      this.place.scrollLeft = left;
      this.mark(this.current);
    }

    toggle(group, on = !open.has(group.id)) {
      if (on) open.add(group.id); else open.delete(group.id);
      this.draw();
      const item = this.holder.get(group.ids[0]);
      this.show(item);
      item.button.focus({ preventScroll: true });
    }

    all(on) {
      groups.forEach((group) => (on ? open.add(group.id) : open.delete(group.id)));
      this.draw();
    }

    mark(id) {
      this.current = id;
      const item = this.holder && this.holder.get(id);
      for (const one of this.items) {
        one.button.classList.toggle("chosen", one === item);
        one.button.tabIndex = one === (item || this.items[0]) ? 0 : -1;
        if (one === item) one.button.setAttribute("aria-current", "step"); else one.button.removeAttribute("aria-current");
      }
      if (item) this.show(item);
    }

    show(item) {
      const { scrollLeft, clientWidth, scrollTop, clientHeight } = this.place, room = 30;
      if (item.y - room < scrollTop) this.place.scrollTop = item.y - room;
      if (item.y + this.size.high + room > scrollTop + clientHeight) this.place.scrollTop = item.y + this.size.high + room - clientHeight;
      if (item.x - room < scrollLeft) this.place.scrollLeft = item.x - room;
      if (item.x + this.size.card + room > scrollLeft + clientWidth) this.place.scrollLeft = item.x + this.size.card + room - clientWidth;
    }

    key(event) {
      const index = this.items.findIndex((item) => item.button === document.activeElement), here = this.items[index];
      if (!here) return;
      if (event.key === "+" && here.group) { event.preventDefault(); this.toggle(here.group, true); return; }
      if (event.key === "-" || event.key === "−") {
        const group = groups.filter((one) => open.has(one.id) && one.ids.includes(here.ids[0]) && one.ids.length > 1).pop();
        if (group) { event.preventDefault(); this.toggle(group, false); }
        return;
      }
      const side = { ArrowRight: 1, ArrowLeft: -1 }[event.key], down = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      let to = side ? this.items[index + side] : null;
      if (event.key === "Home") to = this.items[0];
      if (event.key === "End") to = this.items[this.items.length - 1];
      if (down) {
        const far = (one) => Math.abs(one.x - here.x) + 2 * Math.abs(one.y - here.y);
        to = this.items.filter((one) => (one.y - here.y) * down > 4).sort((a, b) => far(a) - far(b))[0];
      }
      if (!to) return;
      event.preventDefault();
      this.choose(to.node.id, false);
      to.button.focus({ preventScroll: true });
    }
  }
  return Graph;
})();
