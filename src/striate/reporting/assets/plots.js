// Line plots read out the values under the pointer.
(() => {
  for (const plot of document.querySelectorAll("svg[data-lines]")) {
    const place = JSON.parse(plot.dataset.lines), cursor = plot.querySelector(".cursor"), readout = plot.querySelector(".readout");
    const show = (event) => {
      const box = plot.getBoundingClientRect(), left = (event.clientX - box.left) / box.width * plot.viewBox.baseVal.width;
      const share = Math.min(1, Math.max(0, (left - place.left) / (place.right - place.left)));
      const wanted = place.x[0] + share * (place.x[1] - place.x[0]);
      let at = wanted;
      const told = place.series.map((one, index) => {
        let best = 0;
        one.x.forEach((x, n) => { if (Math.abs(x - wanted) < Math.abs(one.x[best] - wanted)) best = n; });
        if (index === 0) at = one.x[best];
        return `${place.series.length > 1 ? one.n + " " : ""}${one.y[best]}`;
      });
      const x = place.left + (at - place.x[0]) / ((place.x[1] - place.x[0]) || 1) * (place.right - place.left);
      cursor.setAttribute("d", `M${x} ${place.top}V${place.floor}`);
      readout.textContent = `${place.unit} ${Math.round(at)}: ${told.join(" · ")}`;
    };
    plot.addEventListener("pointermove", show);
    plot.addEventListener("pointerleave", () => { cursor.setAttribute("d", ""); readout.textContent = ""; });
  }
})();
