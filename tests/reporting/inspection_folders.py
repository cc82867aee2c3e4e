"""An inspection as `inspect` leaves it, of a tiny U-Net computed by hand with numpy, so that its sums are true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

SIDE = 32
POINT = [13, 18]
Maps = NDArray[np.float64]


def convolved(maps: Maps, weight: Maps, bias: Maps) -> Maps:
    """Return maps (O, H, W) of a convolution with zeros around; `weight` is (O, C, k, k)."""
    half = weight.shape[-1] // 2
    padded = np.pad(maps, ((0, 0), (half, half), (half, half)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[-2:], axis=(1, 2))
    return np.asarray(np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None])


class Sketch:
    """Collects nodes, pictures and sums of one inspection in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.nodes, self.sums = folder, list[dict[str, Any]](), dict[str, Any]()
        self.outputs: list[Maps] = []
        (folder / "maps").mkdir(parents=True)

    def add(
        self, layer: str, operation: str, sources: list[int], maps: Maps, parameters: int = 0, field: int = 1
    ) -> int:
        """Add a node; return its number."""
        node, size = len(self.nodes), maps.shape[1:]
        stride = SIDE // size[0]
        low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
        scaled = (maps - low[:, None, None]) / np.maximum(high - low, 1e-9)[:, None, None] * 255
        sheet = scaled.round().astype(np.uint8).transpose(1, 0, 2).reshape(size[0], -1)
        Picture.fromarray(sheet).save(self.folder / "maps" / f"{node}.png")
        listed = {name: value.round(4).tolist() for name, value in (("low", low), ("high", high))}
        self.nodes.append({
            "id": node, "layer": layer, "operation": operation, "shape": list(maps.shape), "sources": sources,
            "parameters": parameters, "macs": parameters * size[0] * size[1], "receptive_field": [field, field],
            "receptive_field_mm": [1.5 * field, 1.5 * field], "at": [p // stride for p in POINT],
            "axes": [{"stride": stride, "offset": (stride - 1) / 2}] * 2, "dead": int((high == low).sum()),
            "statistics": {
                "mean": maps.mean(axis=(1, 2)).tolist(), "std": maps.std(axis=(1, 2)).tolist(), "least": low.tolist(),
                "most": high.tolist(), "zeros": (maps == 0).mean(axis=(1, 2)).tolist(),
            },
            "maps": {"file": f"maps/{node}.png", "units": list(range(len(maps))), "tile": list(size),
                     "columns": len(maps), **listed},
            "filters": None,
        })  # fmt: skip
        self.outputs.append(maps)
        return node

    def sum(self, node: int, unit: int, formula: str, terms: list[tuple[int, int, list[int], float, float]],
            **constants: float) -> str:  # fmt: skip
        """Add the sum of one unit at the point; terms are (source, unit, at, weight, input). Return its key."""
        rows = [{"source": s, "unit": u, "at": a, "weight": w, "input": x, "product": w * x} for s, u, a, w, x in terms]
        rows.sort(key=lambda row: -abs(row["product"]))
        total = sum(row["product"] for row in rows) + constants.get("b", 0.0)
        at = self.nodes[node]["at"]
        by: dict[tuple[int, int], float] = {}
        for row in rows:
            by[row["source"], row["unit"]] = by.get((row["source"], row["unit"]), 0.0) + row["product"]
        best = max(by, key=lambda pair: abs(by[pair])) if by else None
        kept = [row for n, row in enumerate(rows) if n < 64 or (row["source"], row["unit"]) == best]
        left = [row for row in rows if row not in kept]
        key = f"{node}:{unit}:{','.join(map(str, at))}"
        value = float(np.float32(self.outputs[node][unit][tuple(at)]))
        self.sums[key] = {
            "node": node, "operation": self.nodes[node]["operation"], "unit": unit, "at": at, "value": value,
            "formula": formula, "constants": constants, "terms": kept, "total": total, "error": abs(total - value),
            "by_source_unit": [[s, u, v] for (s, u), v in sorted(by.items(), key=lambda p: -abs(p[1]))][:16],
            "left_out": {"count": len(left), "sum": sum(row["product"] for row in left)},
        }  # fmt: skip
        return key


def window_terms(
    source: int, maps: Maps, weight: Maps, at: list[int]
) -> list[tuple[int, int, list[int], float, float]]:
    """Return the terms of a convolution at a place; `weight` is (C, k, k)."""
    half, found = weight.shape[-1] // 2, []
    for c, i, j in np.ndindex(*weight.shape):
        place = [at[0] + i - half, at[1] + j - half]
        if all(0 <= p < n for p, n in zip(place, maps.shape[1:], strict=True)):
            found.append((source, c, place, float(weight[c, i, j]), float(maps[c][tuple(place)])))
    return found


def make_inspection(folder: Path, case: str = "patient-07", layer: str = "encoder") -> Path:
    """Write an inspection of a U-Net of two levels on a picture with a bright spot; return the folder."""
    sketch, rng = Sketch(folder), np.random.default_rng(3)
    grid = np.mgrid[:SIDE, :SIDE]
    spot = np.exp(-((grid[0] - POINT[0]) ** 2 + (grid[1] - POINT[1]) ** 2) / 18)
    head = ((grid[0] - 16) ** 2 / 190 + (grid[1] - 16) ** 2 / 130 < 1).astype(float)
    image = (head * (0.6 + 0.1 * rng.normal(size=(SIDE, SIDE))) + spot)[None]
    Picture.fromarray((image[0] / image.max() * 255).clip(0, 255).astype(np.uint8)).save(folder / "image.png")
    Picture.fromarray((spot > 0.5).astype(np.uint8) * 255).save(folder / "prediction.png")

    def step(name: str, source: int, count: int, field: int, kernel: int = 3) -> tuple[int, Maps]:
        maps = sketch.outputs[source]
        weight = rng.normal(scale=1 / np.sqrt(len(maps) * kernel**2), size=(count, len(maps), kernel, kernel))
        bias = rng.normal(scale=0.1, size=count)
        out = convolved(maps, weight, bias)
        node = sketch.add(name, "convolution", [source], out, weight.size + count, field)
        at = sketch.nodes[node]["at"]
        unit = int(np.argmax(out[(slice(None), *at)]))
        terms = window_terms(source, maps, weight[unit], at)
        sketch.sum(node, unit, "Σ w·x + b", terms, b=float(bias[unit]))
        return node, out

    def rectified(name: str, source: int, field: int) -> int:
        out = np.maximum(sketch.outputs[source], 0)
        node = sketch.add(name, "ReLU", [source], out, 0, field)
        at = sketch.nodes[node]["at"]
        unit = int(np.argmax(out[(slice(None), *at)]))
        value = float(out[(unit, *at)])
        sketch.sum(node, unit, "x where x > 0, else 0", [(source, unit, at, 1.0, value)])
        return node

    start = sketch.add("input", "input", [], image)
    conv, _ = step(f"{layer}.0.conv", start, 6, 3)
    skip = rectified(f"{layer}.0.act", conv, 3)
    high = sketch.outputs[skip].reshape(6, SIDE // 2, 2, SIDE // 2, 2).max(axis=(2, 4))
    pooled = sketch.add(f"{layer}.1.pool", "max pooling", [skip], high, 0, 4)
    conv, _ = step(f"{layer}.1.conv", pooled, 12, 8)
    deep = rectified(f"{layer}.1.act", conv, 8)
    up = sketch.add("up", "upsampling", [deep], sketch.outputs[deep].repeat(2, axis=1).repeat(2, axis=2), 0, 8)
    joined = sketch.add(
        "", "concatenation", [up, skip], np.concatenate((sketch.outputs[up], sketch.outputs[skip])), 0, 8
    )
    conv, _ = step("decoder.0.conv", joined, 6, 10)
    last = rectified("decoder.0.act", conv, 10)
    head_node, _ = step("head", last, 2, 10, kernel=1)
    first_of = {key.split(":")[0]: key for key in sketch.sums}
    chain = [first_of[str(n)] for n in (head_node, last, conv, deep, deep - 1, skip, skip - 1) if str(n) in first_of]
    document = {
        "kind": "striate-inspection", "schema_version": 1, "case": case,
        "model": {"network": "small_unet", "parameters": sum(n["parameters"] for n in sketch.nodes),
                  "macs": sum(n["macs"] for n in sketch.nodes), "task": "segmentation"},
        "tile": {"corner": [40, 52, 71], "shape": [SIDE, SIDE], "spatial_dims": 2, "plane_axis": None, "plane": None,
                 "plane_axes": [0, 1], "flipped": [False, False], "spacing_mm": [1.5, 1.5], "channels": ["flair"]},
        "at": [53, 70, 71], "at_world_mm": [-12.5, 33.0, 21.4], "at_tile": POINT,
        "output": {"what": "", "name": "lesion", "value": 1.93, "probability": 0.934},
        "image": {"channels": [{"name": "flair", "file": "image.png"}], "prediction": "prediction.png"},
        "nodes": sketch.nodes, "sums": sketch.sums, "chain": chain, "live": None,
    }  # fmt: skip
    (folder / "inspection.json").write_text(json.dumps(document))
    record = {"kind": "striate-record", "schema_version": 1, "verb": "inspect", "started": "2025-05-04T10:00:00"}
    (folder / "record.json").write_text(json.dumps(record))
    return folder
