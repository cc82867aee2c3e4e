// The sum that made one number: its formula, the terms with their bars, the maps that add most, and kernel · input = product.
const InspectSum = (() => {
  if (!Inspect) return null;
  const { nodes, el, num, count, told, link, tile, spot, shot, plane } = Inspect;
  const FIRST = 16, MOST_GRID = 11, CONSTANT = { b: "bias", μ: "mean", σ: "standard deviation", γ: "scale", β: "shift", ε: "added to the variance" };
  const tint = (value, most) => {
    const share = Math.min(1, Math.abs(value) / (most || 1));
    return value > 0 ? `rgb(230 130 0 / ${0.75 * share})` : `rgb(60 150 215 / ${0.8 * share})`;
  };
  const place = (at) => (at && at.length ? ` at ${at.join(", ")}` : "");
  const parents = (one) => nodes.get(one);

  function bar(value, most) {
    const share = 50 * Math.min(1, Math.abs(value) / (most || 1));
    return el("span", { class: "weigh", "aria-hidden": "true" }, el("i", { class: value < 0 ? "less" : "more", style: { width: `${share}%`, left: `${value < 0 ? 50 - share : 50}%` } }));
  }

  // Beyond products, the constants of the formula and what is added last.
  function equation(sum) {
    const names = Object.entries(sum.constants || {});
    return el("div", { class: "formula" },
      el("p", { class: "big" }, el("b", {}, num(sum.value)), " = ", sum.formula),
      names.length ? el("p", { class: "constants" }, names.map(([name, value]) => el("span", {}, el("b", {}, name), ` = ${num(value)}`, CONSTANT[name] ? el("small", {}, ` ${CONSTANT[name]}`) : null))) : null);
  }

  function rows(sum) {
    const terms = sum.terms || [], body = el("tbody"), most = Math.max(...terms.map((t) => Math.abs(t.product)), 1e-30);
    const plain = terms.every((t) => t.weight === 1), slopes = sum.additive === false;
    const row = (term) => {
      const source = parents(term.source), whence = `${source.kind === "input" ? "image" : `${source.id} · ${source.operation}`}, ${told(source, term.unit)}${place(term.at)}`;
      return el("tr", {},
        el("th", { scope: "row" }, el("a", { href: link(term.source, term.unit, term.at), title: `Open ${whence}` }, whence)),
        el("td", { class: "n" }, num(term.input)), plain ? null : el("td", { class: "n" }, `× ${num(term.weight)}`),
        el("td", { class: "n" }, plain ? num(term.product) : `= ${num(term.product)}`), el("td", {}, bar(term.product, most)));
    };
    body.append(...terms.slice(0, FIRST).map(row));
    const table = el("table", { class: "terms" },
      el("caption", {}, `${terms.length > 1 ? "Terms, the largest first" : "Its term"}. Each leads to where it comes from.${slopes ? " This is no sum: a weight is the derivative, a product says how much the number matters." : ""}`),
      el("thead", {}, el("tr", {}, el("th", {}, "From"), el("th", { class: "n" }, "Input"), plain ? null : el("th", { class: "n" }, slopes ? "Derivative" : "Weight"), el("th", { class: "n" }, plain ? "Term" : "Product"), el("th", {}, ""))),
      body, totals(sum, terms, plain ? 2 : 3));
    if (terms.length > FIRST) {
      const rest = el("button", { type: "button", onclick: () => { body.append(...terms.slice(FIRST).map(row)); rest.remove(); } }, `Show ${terms.length - FIRST} further terms`);
      return [el("div", { class: "scroll" }, table), rest];
    }
    return [el("div", { class: "scroll" }, table)];
  }

  function totals(sum, terms, wide) {
    const left = sum.left_out || {}, foot = el("tfoot");
    const line = (name, value, kind) => foot.append(el("tr", kind ? { class: kind } : {}, el("th", { scope: "row", colspan: wide }, name), el("td", { class: "n" }, value), el("td")));
    if (left.count) line(`and ${count(left.count, "more term")}, together`, num(left.sum));
    const b = (sum.constants || {}).b;
    if (b !== undefined && b !== null) line("the bias b", num(b));
    else if (sum.additive && sum.offset) line("what the constants add", num(sum.offset));
    line(sum.additive === false ? "Computed with 64 bits" : "Total, added up with 64 bits", num(sum.total, 8), "total");
    line("What the network itself computed, with 32 bits", num(sum.value, 8));
    line("They differ by", num(sum.error, 2));
    return foot;
  }

  // The maps that add most, each as a picture.
  function adders(sum) {
    const by = (sum.by_source_unit || []).slice(0, 10);
    if (by.length < 2 || !by.some((one) => parents(one[0]).maps && !Inspect.dot(parents(one[0])))) return null;
    const most = Math.max(...by.map((one) => Math.abs(one[2])));
    return el("div", {}, el("h5", {}, "What each of the maps before it adds"), el("div", { class: "adders" }, by.map(([source, unit, added]) => {
      const node = parents(source), term = (sum.terms || []).find((t) => t.source === source && t.unit === unit);
      const face = node.maps ? tile(node.maps, unit) : null;
      return el("a", { href: link(source, unit, term && term.at), "aria-label": `${told(node, unit)} adds ${num(added)}` },
        shot(face || el("em", {}, told(node, unit)), { at: face && term ? spot(term.at, node.shape.slice(1)) : null }),
        el("span", {}, told(node, unit)), el("b", {}, `${added > 0 ? "+" : ""}${num(added, 3)}`), bar(added, most));
    })));
  }

  // Kernel, patch of the input and their product, of the map that adds most; of three axes the layer with most.
  function grids(sum) {
    const [best] = sum.by_source_unit || [], terms = best ? (sum.terms || []).filter((t) => t.source === best[0] && t.unit === best[1]) : [];
    if (!/convolution/.test(sum.operation) || terms.length < 4 || !terms[0].at || terms[0].at.length < 2) return null;
    const [down, across] = plane.axes, depth = plane.axis, weigh = new Map();
    if (terms[0].at.length === 3) terms.forEach((t) => weigh.set(t.at[depth], (weigh.get(t.at[depth]) || 0) + Math.abs(t.product)));
    const layer = [...weigh.entries()].sort((a, b) => b[1] - a[1])[0], shown = layer ? terms.filter((t) => t.at[depth] === layer[0]) : terms;
    const range = (axis, back) => { const all = [...new Set(shown.map((t) => t.at[axis]))].sort((a, b) => a - b); return back ? all.reverse() : all; };
    const high = range(down, plane.flipped[0]), wide = range(across, plane.flipped[1]);
    if (high.length > MOST_GRID || wide.length > MOST_GRID || high.length * wide.length < 2) return null;
    const at = new Map(shown.map((t) => [`${t.at[down]},${t.at[across]}`, t])), grid = (name, key) => {
      const most = Math.max(...shown.map((t) => Math.abs(t[key])), 1e-30);
      return el("table", { class: `grid${wide.length > 5 ? " tiny" : ""}` }, el("caption", {}, name), el("tbody", {}, high.map((y) => el("tr", {}, wide.map((x) => {
        const term = at.get(`${y},${x}`), value = term && term[key];
        return el("td", { style: term ? { background: tint(value, most) } : {}, title: term ? `${num(value)} at ${term.at.join(", ")}` : "not among the terms that are kept" }, term ? num(value, 2) : "·");
      })))));
    };
    const source = parents(best[0]), part = shown.reduce((total, t) => total + t.product, 0);
    return el("div", { class: "convolved" }, el("h5", {}, `The kernel on ${told(source, best[1])}, which adds most`),
      el("div", { class: "three" }, grid("kernel", "weight"), el("span", {}, "·"), grid("what lies under it", "input"), el("span", {}, "="), grid(`product, adds up to ${num(part, 3)}`, "product")),
      layer ? el("p", { class: "note" }, `One layer of ${count(weigh.size, "layer")} of the kernel, that with the largest products; the whole kernel adds ${num(best[2], 3)}.`) : null);
  }

  return {
    parts(sum) {
      if (sum.reason) return [el("p", { class: "reason" }, sum.reason)];
      return [equation(sum), adders(sum), grids(sum), ...((sum.terms || []).length ? rows(sum) : [])];
    },
  };
})();
