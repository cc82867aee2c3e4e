// A volume unpacked from its sprite sheet, and one slice of it in any plane, turned as a radiologist looks at it.
const Volume = (() => {
  const picture = (src) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("a picture of this page is broken"));
    image.src = src;
  });

  // Returns voxels as bytes, index (k * J + j) * I + i.
  async function unpack(src, [I, J, K], columns) {
    const image = await picture(src), sheet = document.createElement("canvas");
    sheet.width = image.width; sheet.height = image.height;
    const context = sheet.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const bytes = new Uint8Array(I * J * K);
    for (let row = 0; row * columns < K; row++) {
      const strip = context.getImageData(0, row * J, image.width, J).data;
      for (let column = 0; column < columns && row * columns + column < K; column++) {
        const base = (row * columns + column) * I * J;
        for (let j = 0; j < J; j++) {
          let from = (j * image.width + column * I) * 4;
          for (let i = 0; i < I; i++, from += 4) bytes[base + j * I + i] = strip[from];
        }
      }
    }
    return bytes;
  }

  // Returns how plane `axis` is laid out: width, height, millimetres, and the voxel step along x and y from the first one.
  function layout(size, spacing, axis, oriented) {
    const stride = [1, size[0], size[0] * size[1]];
    const across = axis === 0 ? 1 : 0, down = axis === 2 ? 1 : 2, turn = oriented;
    return {
      width: size[across], height: size[down], mmX: spacing[across], mmY: spacing[down], depth: stride[axis],
      stepX: turn ? -stride[across] : stride[across], stepY: turn ? -stride[down] : stride[down],
      first: turn ? (size[across] - 1) * stride[across] + (size[down] - 1) * stride[down] : 0,
    };
  }

  function slice(bytes, plan, index) {
    const out = new Uint8Array(plan.width * plan.height);
    for (let y = 0, n = 0; y < plan.height; y++) {
      let at = plan.first + index * plan.depth + y * plan.stepY;
      for (let x = 0; x < plan.width; x++, n++, at += plan.stepX) out[n] = bytes[at];
    }
    return out;
  }

  // Outline of a 0/1 picture by marching squares through the middles of the edges; adds to the path.
  function outline(path, inside, width, height, scaleX, scaleY) {
    const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : inside[y * width + x]);
    const line = (x, y, a, b) => {
      const ends = { t: [x + 1, y + 0.5], r: [x + 1.5, y + 1], b: [x + 1, y + 1.5], l: [x + 0.5, y + 1] };
      path.moveTo(ends[a][0] * scaleX, ends[a][1] * scaleY);
      path.lineTo(ends[b][0] * scaleX, ends[b][1] * scaleY);
    };
    const table = ["", "lb", "br", "lr", "tr", "ltbr", "tb", "lt", "lt", "tb", "lbtr", "tr", "lr", "br", "lb", ""];
    for (let y = -1; y < height; y++) for (let x = -1; x < width; x++) {
      const kind = at(x, y) * 8 + at(x + 1, y) * 4 + at(x + 1, y + 1) * 2 + at(x, y + 1);
      const edges = table[kind];
      for (let n = 0; n < edges.length; n += 2) line(x, y, edges[n], edges[n + 1]);
    }
  }

  return { unpack, layout, slice, outline };
})();
