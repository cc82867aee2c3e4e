"""The page of an inspection: what it says, what its script is given, and what broken, missing or hostile files do to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inspection_folders import make_inspection

from striate.reporting.folder import Folder
from striate.reporting.inspection_pictures import Planes
from striate.reporting.inspection_stages import Step, stages_of, steps_of
from striate.reporting.render import render
from striate.reporting.sections import inspection


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inspection(tmp_path_factory.mktemp("inspection") / "toy")


def rewritten(folder: Path, **changes: Any) -> dict[str, Any]:
    document = json.loads((folder / "inspection.json").read_text())
    document.update(changes)
    (folder / "inspection.json").write_text(json.dumps(document))
    return dict(document)


def test_it_says_what_is_looked_at_and_what_the_network_says(toy: Path) -> None:
    data = inspection.make(Folder(toy)).data
    assert (
        data["told"]
        == "This is voxel (53, 70, 71) of patient-07. There the network says lesion with a probability of 93.4 %."
    )
    facts = dict(data["facts"])
    assert facts["Steps"] == "10" and facts["Window"] == "32 × 32 from (40, 52, 71)"
    assert data["top"]["pictures"][0]["outlined"] and data["top"]["pictures"][0]["name"] == "flair"
    assert "Inside small_unet on patient-07" in render(toy)


def test_the_chain_ends_at_the_image_and_each_step_leads_to_its_sum(toy: Path) -> None:
    data = inspection.make(Folder(toy)).data
    document = json.loads((toy / "inspection.json").read_text())
    assert data["chain"][0]["link"].startswith("n10.u") and data["chain"][-1]["operation"] == "the image"
    assert len(data["chain"]) == len(document["chain"]) + 1 and data["left_out"] == 0
    assert all(one["source"].startswith("data:image/") for one in data["chain"][:-1])
    first = document["sums"][document["chain"][0]]["terms"][0]
    assert data["chain"][0]["share"].endswith(f"= {first['product']:.3g}".replace("-", "−"))


def test_every_step_is_in_one_stage_once_and_in_order(toy: Path) -> None:
    nodes = json.loads((toy / "inspection.json").read_text())["nodes"]
    stages = stages_of(steps_of(nodes, [32, 32]))
    assert [step.id for stage in stages for step in stage.steps] == [node["id"] for node in nodes]
    assert [stage.name for stage in stages][1:2] == ["encoder"] and stages[-1].name == "head"


def test_a_long_part_of_many_sizes_is_several_stages() -> None:
    steps = [Step(0, "input", "input", 0)]
    for block in range(5):
        steps += [Step(len(steps) + n, f"encoder.{block}.{n}", "convolution", block) for n in range(6)]
    names = [stage.name for stage in stages_of([Step(n, s.layer, s.kind, s.level) for n, s in enumerate(steps)])]
    assert names == ["input", *(f"encoder.{block}" for block in range(5))]


def test_places_lie_in_pictures_that_are_turned() -> None:
    planes = Planes(
        {"plane_axis": 2, "plane_axes": [1, 0], "flipped": [True, True], "shape": [8, 4, 6], "spacing_mm": [1, 2, 5]}, 3
    )
    assert planes.axes == [1, 0] and planes.axis == 2 and planes.aspect == 1.0
    assert planes.spot([0, 0, 3], [16, 8, 4, 6]) == (93.75, 87.5)  # the first voxel: at the right end and at the bottom
    assert planes.spot([0], [16, 8]) is None


def test_only_a_page_that_is_served_may_ask_its_server(toy: Path) -> None:
    static, served = render(toy), render(toy, live={"path": "", "token": "secret"})
    assert "connect-src" not in static and '"live": null' in static and "secret" not in static
    assert "connect-src &#39;self&#39;" in served and '"token": "secret"' in served


def test_stages_and_chain_stand_there_without_scripts(toy: Path) -> None:
    page = re.sub(r"<script.*?</script>", "", render(toy), flags=re.S)
    assert page.count('class="strip"') >= 4 and '<ol class="chain">' in page
    assert page.count("data:image/") > 30


def test_hostile_names_are_text(tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    page = render(make_inspection(tmp_path / "x", case=bad, layer=bad.replace(".", "")))
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert "\\u003c/script\\u003e\\u003cimg src=x onerror=alert(1)\\u003e" in page


def test_pictures_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    folder = make_inspection(tmp_path / "x")
    (tmp_path / "secret.png").write_bytes((folder / "image.png").read_bytes())
    document = json.loads((folder / "inspection.json").read_text())
    document["nodes"][1]["maps"]["file"] = "../secret.png"
    document["nodes"][2]["maps"]["file"] = "maps/none.png"
    (folder / "maps" / "3.png").write_bytes(b"no picture")
    (folder / "inspection.json").write_text(json.dumps(document))
    data = inspection.make(Folder(folder)).data
    told = " ".join(data["broken"])
    assert "lies outside the folder" in told and "there is no such file" in told and "not readable" in told
    assert len(data["broken"]) == 3
    assert [node["maps"] is None for node in data["document"]["nodes"][1:4]] == [True, True, True]
    assert "lies outside the folder" in render(folder)


@pytest.mark.parametrize(
    "content",
    ["", "\0{]", "[1, 2]", '{"kind": "striate-inspection", "schema_version": 1}',
     '{"kind": "striate-inspection", "schema_version": 1, "nodes": [{"id": 0}]}',
     '{"kind": "striate-inspection", "schema_version": 1, "nodes": 5}', '{"kind": "striate-inspection", "schema_version": 99}'],
)  # fmt: skip
def test_what_cannot_be_read_breaks_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "inspection.json").write_text(content)
    page = render(tmp_path)
    assert "There is nothing to look into" in page or "cannot be shown" in page


def test_what_was_asked_for_and_what_cannot_be_opened_reach_the_page(tmp_path: Path) -> None:
    folder = make_inspection(tmp_path / "x")
    document = json.loads((folder / "inspection.json").read_text())
    document["nodes"][2]["closed"] = "It sorts, which is no sum."
    rewritten(folder, asked=document["chain"][2], nodes=document["nodes"])
    shown = inspection.make(Folder(folder)).data["document"]
    assert shown["asked"] == document["chain"][2] and shown["nodes"][2]["closed"] == "It sorts, which is no sum."
    assert shown["nodes"][1]["closed"] is None


def test_other_folders_have_no_such_section(tmp_path: Path) -> None:
    (tmp_path / "findings.json").write_text("{}")
    assert inspection.TITLE not in render(tmp_path)
