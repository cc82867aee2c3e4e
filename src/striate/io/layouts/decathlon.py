"""Medical Segmentation Decathlon: ``dataset.json`` lists each image with its label; channels are an image's last axis.

Definition: Antonelli et al., Nat Commun 2022, doi 10.1038/s41467-022-30695-9; http://medicaldecathlon.com.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import LayoutError, expected
from striate.core.files import read_json
from striate.io.layouts.layout import Layout
from striate.io.layouts.listing import existing, modality_of
from striate.io.layouts.naming import channel_name
from striate.io.layouts.nnunet import label_names
from striate.io.read import stem


def sniff(path: Path) -> str | None:
    """Recognise a dataset.json with a list of training pairs."""
    file = path / "dataset.json"
    if not path.is_dir() or not file.is_file():
        return None
    pairs = read_json(file).get("training")
    if isinstance(pairs, list) and pairs and all(isinstance(p, dict) and "image" in p for p in pairs):
        return f"Medical Segmentation Decathlon: dataset.json with {counted(len(pairs), 'training pair')}"
    return None


def read(path: Path) -> Layout:
    """Read the pairs of a dataset.json; several modalities are the channels of one 4D file."""
    document = read_json(path / "dataset.json")
    notes: list[str] = []
    table = document.get("modality") or {"0": "image"}
    names = [channel_name(str(table[k])) for k in sorted(table, key=int)] if isinstance(table, dict) else ["image"]
    if len(set(names)) < len(names):
        names = [f"{n}{i}" for i, n in enumerate(names)]
    if len(names) > 1:
        notes.append(f"the last axis of each image holds the channels {', '.join(names)}")
    cases = [_case(path, pair, names) for pair in document["training"]]
    test = document.get("test") or []
    cases += [_case(path, pair if isinstance(pair, dict) else {"image": pair}, names, "test") for pair in test]
    return Layout("decathlon", cases, label_names(document, notes), modality_of(names), notes)


def _case(root: Path, pair: dict[str, Any], names: list[str], split: str | None = None) -> Case:
    where = root / "dataset.json"
    if not isinstance(pair.get("image"), str):
        raise LayoutError(
            expected(where, f"the entry {pair!r}", "an entry with 'image' (and 'label') is needed"), path=where
        )
    image = existing(root / pair["image"], where)
    label = existing(root / pair["label"], where) if pair.get("label") else None
    if label is None and split is None:
        raise LayoutError(
            expected(where, f"no label for {pair['image']}", "training images need label maps"), path=where
        )
    name = stem(image)
    return Case(name, name, dict.fromkeys(names, image), label, split=split)
