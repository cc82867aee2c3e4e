// The figure image, ground truth, prediction: slider, keys, wheel, planes, channels, outline, fill, agreement.
(() => {
  const AGREEMENT = [["both", "#56B4E9", 100], ["only predicted", "#D55E00", 200], ["only in truth", "#F0E442", 200]];
  const rgb = (colour) => [1, 3, 5].map((n) => parseInt(colour.slice(n, n + 2), 16));
  const PLANES = ["sagittal", "coronal", "axial"];
  const LETTERS = { 2: "RLAP", 1: "RLSI", 0: "APSI" };

  function tinted(width, height, pixel) {
    const canvas = document.createElement("canvas");
    canvas.width = width; canvas.height = height;
    const context = canvas.getContext("2d"), data = context.createImageData(width, height);
    for (let n = 0; n < width * height; n++) {
      const colour = pixel(n);
      if (colour) data.data.set(colour, n * 4);
    }
    context.putImageData(data, 0, 0);
    return canvas;
  }

  class Viewer {
    constructor(figure) {
      this.figure = figure;
      this.data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
      this.state = { channel: 0, target: -1, mask: "outline", plane: 2, slice: [...this.data.start] };
      for (const select of figure.querySelectorAll("select")) this.set(select);
      this.canvases = [...figure.querySelectorAll("canvas[data-pane]")];
      this.panes = figure.querySelector(".panes");
      this.range = figure.querySelector("input[type=range]");
      this.output = figure.querySelector("output");
      this.profile = figure.querySelector("[data-profile]");
      this.channels = [];
      this.areas = {};
      this.listen();
    }

    async open() {
      const { size, columns, prediction, truth } = this.data;
      this.prediction = await Volume.unpack(prediction, size, columns);
      this.truth = truth ? await Volume.unpack(truth, size, columns) : null;
      await this.draw();
      this.figure.dataset.ready = "yes";
    }

    listen() {
      for (const select of this.figure.querySelectorAll("select")) select.addEventListener("change", () => {
        this.set(select);
        this.draw();
      });
      if (this.range) this.range.addEventListener("input", () => { this.state.slice[this.state.plane] = Number(this.range.value); this.draw(); });
      this.panes.addEventListener("keydown", (event) => {
        const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6 }[event.key];
        if (step) { event.preventDefault(); this.move(step); }
      });
      this.panes.addEventListener("wheel", (event) => {
        if (document.activeElement === this.panes && event.deltaY) { event.preventDefault(); this.move(event.deltaY < 0 ? 1 : -1); }
      }, { passive: false });
      new ResizeObserver(() => this.draw()).observe(this.panes);
      document.addEventListener("theme", () => this.draw());
    }

    set(select) {
      const name = select.dataset.set;
      this.state[name] = name === "mask" ? select.value : Number(select.value);
    }

    move(step) {
      const axis = this.state.plane, last = this.data.size[axis] - 1;
      this.state.slice[axis] = Math.min(last, Math.max(0, this.state.slice[axis] + step));
      this.draw();
    }

    async draw() {
      if (!this.prediction) return;
      const { channel, plane } = this.state, { size, spacing, columns, channels, oriented } = this.data;
      if (!this.channels[channel]) this.channels[channel] = await Volume.unpack(channels[channel].src, size, columns);
      const plan = Volume.layout(size, spacing, plane, oriented), index = this.state.slice[plane];
      const grey = Volume.slice(this.channels[channel], plan, index);
      const image = tinted(plan.width, plan.height, (n) => [grey[n], grey[n], grey[n], 255]);
      const masks = { prediction: this.members(this.prediction, plan, index), truth: this.truth && this.members(this.truth, plan, index) };
      for (const canvas of this.canvases) this.paint(canvas, image, masks, plan);
      this.legend();
      this.slider(size[plane], index);
    }

    // One 0/1 picture per shown structure.
    members(bytes, plan, index) {
      const cut = Volume.slice(bytes, plan, index), step = this.data.step;
      return this.shown().map((target) => {
        const wanted = new Uint8Array(256);
        target.members.forEach((n) => { wanted[n] = 1; });
        return { colour: target.colour, double: target.double, inside: cut.map((v) => wanted[Math.round(v / step)]) };
      });
    }

    shown() { return this.data.targets.filter((_, n) => this.state.target < 0 || this.state.target === n); }

    paint(canvas, image, masks, plan) {
      const scale = window.devicePixelRatio || 1, wide = plan.width * plan.mmX, high = plan.height * plan.mmY;
      canvas.style.aspectRatio = `${wide} / ${Math.min(high, wide * 1.4)}`;
      const box = canvas.getBoundingClientRect();
      canvas.width = Math.max(2, Math.round(box.width * scale));
      canvas.height = Math.max(2, Math.round(box.width * scale * Math.min(high / wide, 1.4)));
      const fit = Math.min(canvas.width / wide, canvas.height / high), context = canvas.getContext("2d");
      const w = wide * fit, h = high * fit, left = (canvas.width - w) / 2, top = (canvas.height - h) / 2;
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.imageSmoothingQuality = "high";
      context.save();
      context.translate(left, top);
      context.drawImage(image, 0, 0, w, h);
      const pane = canvas.dataset.pane, mode = this.state.mask;
      if (pane !== "image" && mode !== "off") {
        if (mode === "agreement" && pane === "prediction") context.drawImage(this.agreement(masks, plan), 0, 0, w, h);
        else if (mode === "agreement") this.overlay(context, this.union(masks[pane]), plan, w, h, scale);
        else for (const mask of masks[pane]) this.overlay(context, mask, plan, w, h, scale);
      }
      context.restore();
      if (this.data.oriented && pane === "image") { this.letters(context, canvas, scale); this.ruler(context, canvas, scale, fit); }
    }

    union(list) {
      const inside = new Uint8Array(list[0].inside.length);
      list.forEach((m) => m.inside.forEach((v, n) => { inside[n] |= v; }));
      return { colour: "#FFFFFF", inside };
    }

    overlay(context, mask, plan, w, h, scale) {
      if (this.state.mask === "filled") {
        const colour = [...rgb(mask.colour), 140];
        context.drawImage(tinted(plan.width, plan.height, (n) => mask.inside[n] && colour), 0, 0, w, h);
      }
      const path = new Path2D();
      Volume.outline(path, mask.inside, plan.width, plan.height, w / plan.width, h / plan.height);
      context.lineJoin = context.lineCap = "round";
      context.lineWidth = 2.6 * scale; context.strokeStyle = "rgb(0 0 0 / 0.45)"; context.stroke(path);
      context.lineWidth = (mask.double ? 2.6 : 1.4) * scale; context.strokeStyle = mask.colour; context.stroke(path);
      if (mask.double) { context.lineWidth = 0.9 * scale; context.strokeStyle = "#fff"; context.stroke(path); }
    }

    agreement(masks, plan) {
      const any = (list, n) => list.some((m) => m.inside[n]);
      const colours = AGREEMENT.map(([, colour, alpha]) => [...rgb(colour), alpha]);
      return tinted(plan.width, plan.height, (n) => {
        const p = any(masks.prediction, n), t = any(masks.truth, n);
        return p && t ? colours[0] : p ? colours[1] : t ? colours[2] : null;
      });
    }

    letters(context, canvas, scale) {
      const [l, r, t, b] = LETTERS[this.state.plane], pad = 9 * scale, w = canvas.width, h = canvas.height;
      context.font = `${11 * scale}px Helvetica, Arial, "Liberation Sans", sans-serif`;
      context.fillStyle = "#d8d8d8"; context.textAlign = "center"; context.textBaseline = "middle";
      [[l, pad, h / 2], [r, w - pad, h / 2], [t, w / 2, pad], [b, w / 2, h - pad]].forEach(([letter, x, y]) => context.fillText(letter, x, y));
    }

    // The longest round length that takes at most a quarter of the picture; `fit`: pixels in a millimetre.
    ruler(context, canvas, scale, fit) {
      const mm = [100, 50, 20, 10, 5, 2, 1].find((v) => v * fit <= canvas.width / 4) || 1;
      const right = canvas.width - 9 * scale, y = canvas.height - 8 * scale;
      context.fillRect(right - mm * fit, y, mm * fit, 2 * scale);
      context.textAlign = "right";
      context.fillText(`${mm} mm`, right, y - 8 * scale);
    }

    legend() {
      const place = this.figure.querySelector("[data-legend]"), entries = [];
      if (this.state.mask === "agreement") entries.push(...AGREEMENT, ["truth", "#FFFFFF"]);
      else if (this.state.mask !== "off") this.shown().forEach((t) => entries.push([t.name, t.colour, t.double === true]));
      place.replaceChildren(...entries.map(([name, colour, split]) => {
        const entry = document.createElement("span"), box = document.createElement("i");
        box.style.background = split === true ? `linear-gradient(${colour} 35%, #fff 35% 65%, ${colour} 65%)` : colour;
        entry.append(box, name);
        return entry;
      }));
    }

    slider(count, index) {
      if (!this.range) return;
      const { offset, factor, size } = this.data.source, axis = this.state.plane;
      const original = Math.floor(offset[axis] + (index + 0.5) * factor[axis]);
      this.range.max = count - 1;
      this.range.value = index;
      const told = `${this.data.oriented ? PLANES[axis] + " " : ""}slice ${original} (0 to ${size[axis] - 1})`;
      const both = this.truth && this.area(this.truth, axis), found = this.area(this.prediction, axis);
      const cm = (v) => `${v ? (v / 100).toFixed(v < 100 ? 2 : 1) : 0} cm²`;
      const areas = [both ? `truth ${cm(both[index])}` : "", `predicted ${cm(found[index])}`].filter(Boolean);
      this.output.textContent = [told, ...areas].join(innerWidth < 640 ? " · " : "\n");
      this.range.setAttribute("aria-valuetext", told);
      this.curve(found, both, index);
    }

    // Area in mm² of the shown structures in each slice across `axis`.
    area(bytes, axis) {
      const key = `${bytes === this.truth}-${axis}-${this.state.target}`;
      if (this.areas[key]) return this.areas[key];
      const { size, spacing, step } = this.data, wanted = new Uint8Array(256), counts = new Float64Array(size[axis]);
      this.shown().forEach((t) => t.members.forEach((n) => { wanted[n] = 1; }));
      let n = 0;
      for (let k = 0; k < size[2]; k++) for (let j = 0; j < size[1]; j++) for (let i = 0; i < size[0]; i++, n++) {
        if (bytes[n] && wanted[Math.round(bytes[n] / step)]) counts[axis === 2 ? k : axis === 1 ? j : i]++;
      }
      const mm2 = spacing.reduce((a, b) => a * b, 1) / spacing[axis];
      return (this.areas[key] = counts.map((v) => v * mm2));
    }

    // Areas over slices, above the slider: where there is something to see.
    curve(found, truth, index) {
      const canvas = this.profile, scale = window.devicePixelRatio || 1, style = getComputedStyle(document.documentElement);
      const w = (canvas.width = Math.max(2, Math.round(canvas.clientWidth * scale))), h = (canvas.height = Math.round(30 * scale));
      const context = canvas.getContext("2d"), top = Math.max(...found, ...(truth || [0]), 1e-9), thumb = 8 * scale;
      const x = (n) => thumb + n / Math.max(1, found.length - 1) * (w - 2 * thumb), y = (v) => h - 1 - v / top * (h - 4);
      const trace = (values) => { context.beginPath(); values.forEach((v, n) => (n ? context.lineTo(x(n), y(v)) : context.moveTo(x(n), y(v)))); };
      if (truth) {
        trace(truth);
        context.lineTo(x(truth.length - 1), h); context.lineTo(x(0), h);
        context.fillStyle = style.getPropertyValue("--rule"); context.fill();
      }
      trace(found);
      context.strokeStyle = style.getPropertyValue("--c7"); context.lineWidth = 1.4 * scale; context.stroke();
      context.beginPath(); context.moveTo(x(index), 0); context.lineTo(x(index), h);
      context.strokeStyle = style.getPropertyValue("--ink"); context.lineWidth = scale; context.stroke();
    }
  }

  // Pictures that stand here without this script give way to those that it draws.
  document.querySelectorAll(".viewer [data-still]").forEach((still) => still.remove());
  document.documentElement.dataset.live = "yes";

  // Cases open when they come near the screen; for print, all at once.
  const viewers = [...document.querySelectorAll("figure.viewer")].map((figure) => {
    const viewer = new Viewer(figure);
    let opened = null;
    viewer.start = () => (opened = opened || viewer.open().catch((error) => {
      const reason = document.createElement("p");
      reason.className = "reason";
      reason.textContent = `The pictures cannot be drawn: ${error.message}.`;
      figure.append(reason);
    }));
    return viewer;
  });
  const near = new IntersectionObserver((entries) => entries.forEach((e) => {
    if (e.isIntersecting) { near.unobserve(e.target); viewers.find((v) => v.figure === e.target).start(); }
  }), { rootMargin: "800px" });
  viewers.forEach((v) => near.observe(v.figure));
  const rest = async () => { for (const viewer of viewers) await viewer.start(); document.documentElement.dataset.drawn = viewers.length; };
  addEventListener("load", () => setTimeout(rest, 50));
  addEventListener("beforeprint", () => viewers.forEach((v) => v.draw()));
})();
