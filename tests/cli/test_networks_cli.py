"""``striate networks`` as it is typed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from striate import networks
from striate.cli.main import run


@pytest.fixture
def two(monkeypatch):
    """A table of two networks, so that the list is quick."""
    monkeypatch.setattr(networks, "NETWORKS", {n: networks.NETWORKS[n] for n in ("lenet5", "unet")})


def test_all(two, capsys):
    assert run(["networks"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    for text in (
        "lenet5",
        "classification",
        "32×32",
        "60 000",
        "326 520",
        "unet",
        "2D, 3D",
        "10 717 362",
        "MICCAI 2015",
    ):
        assert text in told.err


def test_a_network_that_is_added_shows_by_itself(two, monkeypatch, capsys):
    monkeypatch.setitem(networks.NETWORKS, "another", "striate.networks.small_unet:SmallUNet")
    assert run(["networks", "--json"]) == 0
    told = capsys.readouterr()
    rows = json.loads(told.out)["networks"]
    assert [row["name"] for row in rows] == ["another", "lenet5", "unet"]
    assert told.err == ""
    assert "Ronneberger" in rows[0]["paper"]
    assert set(rows[0]) == {"name", "title", "paper", "task", "dims", "size", "parameters", "macs"}


def test_one_network(capsys):
    assert run(["networks", "unet", "--size", "32,64", "--option", "features=[8, 16]", "--classes", "3"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    cost = networks.cost("unet", (32, 64), out_channels=3, training=False, features=(8, 16))
    for text in (
        "Ronneberger", "1×32×64", "2×2 or more, in steps of 2×2", f"{cost.parameters:,}".replace(",", " "),
        f"{cost.macs:,}".replace(",", " "), "features = [32, 64, 128, 256, 320, 320] (now [8, 16])", "Feature maps per stage",
        "encoder.0.0.0", "Conv2d", "deep_supervision = true", "strides = not given", "while predicting",
    ):  # fmt: skip
        assert text in told.err


def test_one_document_with_the_same(capsys):
    arguments = ["networks", "unet", "--size", "32,64", "--option", "features=[8, 16]", "--option", "convs_per_stage=1"]
    assert run([*arguments, "--channels", "2", "--json", "--training"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    cost = networks.cost("unet", (32, 64), in_channels=2, features=(8, 16), convs_per_stage=1)
    assert told.err == ""
    assert document["parameters"] == cost.parameters == sum(row["parameters"] for row in document["layers"])
    assert document["macs"] == cost.macs
    assert document["activations"] == cost.activations
    assert document["receptive_field"] == list(cost.receptive_field)
    assert document["input"] == {
        "shape": [2, 32, 64],
        "fits": {"least": [2, 2], "step": [2, 2], "most": None, "words": "2×2 or more, in steps of 2×2"},
    }
    assert document["given"] == {"features": [8, 16], "convs_per_stage": 1}
    assert {o["name"]: o["default"] for o in document["options"]}["convs_per_stage"] == 2


def test_a_network_of_one_size_takes_it_as_option(capsys):
    assert run(["networks", "lenet5", "--option", "input_size=[36, 40]", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["input"]["shape"] == [1, 36, 40]
    assert document["parameters"] == networks.cost("lenet5", (36, 40), training=False).parameters


def test_what_runs_only_while_training_is_told(capsys):
    arguments = [
        "networks",
        "inception_v3",
        "--size",
        "32,32",
        "--option",
        "small_input=true",
        "--option",
        "width=0.0625",
    ]
    assert run(arguments) == 0
    told = capsys.readouterr().err
    assert "parameters are of layers that do not run while predicting" in told
    options = {"small_input": True, "width": 0.0625}
    alone = networks.cost("inception_v3", (32, 32), auxiliary=False, **options).parameters
    assert f"({alone:,} predict)".replace(",", " ") in told
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parameters"] == networks.cost("inception_v3", (32, 32), **options).parameters
    assert document["parameters_run"] == alone
    assert run([*arguments, "--training"]) == 0
    told = capsys.readouterr().err
    assert "do not run" not in told and "predict)" not in told


def test_the_list_tells_which_parameters_predict(monkeypatch, capsys):
    monkeypatch.setattr(networks, "NETWORKS", {n: networks.NETWORKS[n] for n in ("lenet5", "googlenet")})
    assert run(["networks", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["networks"]}
    alone = networks.cost("googlenet", tuple(rows["googlenet"]["size"]), auxiliary=False).parameters
    assert rows["googlenet"]["parameters_run"] == alone < rows["googlenet"]["parameters"]
    assert "parameters_run" not in rows["lenet5"]
    assert run(["networks"]) == 0
    assert f"({alone:,} predict)".replace(",", " ") in capsys.readouterr().err


def test_a_sequence_is_told_with_its_images(capsys):
    assert run(["networks", "cnn_rnn", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["input"]["shape"] == [networks.SEQUENCE_LENGTH, 1, 64, 64]


def test_the_drawing(tmp_path, capsys):
    path = tmp_path / "small.svg"
    assert run(["networks", "small_unet", "--size", "32,32", "--draw", str(path)]) == 0
    root = ET.parse(path).getroot()
    assert "encoder" in "".join(root.itertext())
    assert "small_unet" in (root.get("aria-label") or "")
    assert f"Drawn: {path}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def draw():
    """`tools/draw_networks.py`, which is no part of the package."""
    path = Path(__file__).resolve().parents[2] / "tools" / "draw_networks.py"
    spec = importlib.util.spec_from_file_location("draw_networks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_drawing_in_the_docs_is_of_a_network(draw):
    assert {path.stem for path in draw.FOLDER.glob("*.svg")} == set(networks.NETWORKS)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_the_drawing_in_the_docs_is_not_stale_and_is_shown(name, draw):
    path = draw.FOLDER / f"{name}.svg"
    assert path.read_text() == draw.drawing(name), f"python tools/draw_networks.py {name}"
    assert f"({path.name})" in path.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unett"], "Did you mean 'unet'?"),
        (["unet", "--size", "64x64"], "--size: '64x64'; whole numbers of voxels with commas are needed."),
        (["unet", "--size", "64,0"], "--size: '64,0'"),
        (
            ["alexnet", "--size", "8,8"],
            "at least 67×67 are needed. For classification these take 8×8: inception_3d, mlp",
        ),
        (["unet", "--size", "33,64"], "The size (64, 64) would work."),
        (["unet", "--size", "64"], "spatial_dims is 1; 2 or 3 is needed"),
        (["unet", "--option", "width"], "--option: 'width'; KEY=VALUE is needed"),
        (["unet", "--option", "features=[8"], "a value as in a plan.yaml is needed"),
        (["unet", "--size", "64,64", "--option", "in_channels=3"], "network unet: unknown key 'in_channels'."),
        (["unet", "--size", "64,64", "--option", "input_size=[64, 64]"], "unknown key 'input_size'."),
        (["lenet5", "--size", "32,32", "--option", "input_size=[36, 40]"], "--size: 32×32; 36×40 is needed, as"),
        (["lenet5", "--option", "input_size=36"], "option input_size: 36; a number for each axis is needed."),
        (["unet", "--option", "featurs=[8, 16]"], "unknown key 'featurs'. Did you mean 'features'?"),
        (["unet", "--option", "out_channels=3"], "network unet: unknown key 'out_channels'. Known: "),
        (["unet", "--option", "in_channels=3"], "network unet: unknown key 'in_channels'. Known: "),
        (["unet", "--option", "spatial_dims=3"], "network unet: unknown key 'spatial_dims'. "),
        (["unet", "--option", "name=vnet"], "network unet: unknown key 'name'."),
        (["lenet5", "--option", "size=[32, 32]"], "unknown key 'size'. Did you mean 'input_size'?"),
        (["unet", "--option", "features=big"], "key 'features' is 'big'"),
        (["unet", "--channels", "0"], "in_channels is 0"),
        (["unet", "--draw", "unet.png"], "--draw: unet.png; the name of an SVG file is needed."),
        (["--size", "64,64"], "--size: 64,64 without a network"),
        (["--draw", "all.svg"], "--draw: all.svg without a network"),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    assert run(["networks", *arguments]) == 2
    assert message in capsys.readouterr().err
