"""Classes of many images whose prediction was stopped and gone on with: the same files, and little is read twice."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from test_resumed_prediction import _files
from test_whole_workflow import CLASSES, follow, picture, plan_of

from striate import networks
from striate.core import disk
from striate.core.errors import DataError, DiskFullError, Interrupted, MemoryLimitError
from striate.core.progress import Silent
from striate.core.unfinished import unfinished
from striate.data.samples import prepare_samples
from striate.inference import whole
from striate.inference.written import found_bytes
from striate.io.read import read_header
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.workflows.predict import predict

CASES, TOGETHER = 8, 3


class Listening(Silent):
    """Keeps notes; raises once so many cases are done."""

    def __init__(self, until: int = CASES + 1) -> None:
        super().__init__()
        self.notes, self.until, self.done = list[str](), until, list[float]()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def bar(self, title: str, total: float | None):
        self.title = title
        return self

    def update(self, done: float, **shown: object) -> None:
        if self.title == "predict":
            self.done.append(done)
        if self.title == "predict" and done >= self.until:
            raise KeyboardInterrupt

    def __enter__(self):
        return self

    def __exit__(self, *exc: object) -> None:
        return None


@pytest.fixture(autouse=True)
def few_together(monkeypatch):
    monkeypatch.setattr(whole, "AT_ONCE", TOGETHER)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A classifier that knows its limits."""
    folder = tmp_path_factory.mktemp("taught")
    for n in range(12):
        picture(folder / "pictures" / CLASSES[n % 2] / f"p{n}.png", (CLASSES[n % 2],), n)
    return follow(plan_of(), folder / "pictures", folder, holdout=["p0", "p1", "p2", "p3"]).model.folder


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / "images" / f"n{n}.png" for n in range(CASES)]
    for n, path in enumerate(paths):
        picture(path, (CLASSES[n % 2],), 50 + n)
    return paths


def stopped(model, images, out, until=7) -> str:
    """Stop a prediction once so many cases are done; return what is said."""
    with pytest.raises(Interrupted) as caught:
        predict(model, images, out, progress=Listening(until))
    return str(caught.value)


def test_the_same_call_goes_on_and_writes_the_same_files(model, images, tmp_path):
    straight = predict(model, images, tmp_path / "straight")
    assert (tmp_path / "straight" / "findings.json").is_file()
    text = stopped(model, images, tmp_path / "out")
    assert (
        f"stopped; 6 of {CASES} cases are kept in {tmp_path / 'out'}.unfinished, the same call goes on with them"
        in text
    )
    assert not (tmp_path / "out").exists()
    progress = Listening()
    found = predict(model, images, tmp_path / "out", progress=progress)
    assert any(f"resumed: 6 of {CASES} cases were there" in note for note in progress.notes) and progress.done == [7, 8]
    assert _files(tmp_path / "out") == _files(tmp_path / "straight")
    assert all(np.array_equal(a.probabilities, b.probabilities) for a, b in zip(found, straight, strict=True))
    assert [p.name for p in tmp_path.iterdir() if "unfinished" in p.name] == []


def test_it_can_be_stopped_again_and_again(model, images, tmp_path):
    predict(model, images, tmp_path / "straight")
    assert "3 of 8 cases are kept" in stopped(model, images, tmp_path / "out", until=4)
    assert "6 of 8 cases are kept" in stopped(model, images, tmp_path / "out", until=7)
    predict(model, images, tmp_path / "out")
    assert _files(tmp_path / "out") == _files(tmp_path / "straight")


def test_from_an_image_that_has_changed_everything_is_told_anew(model, images, tmp_path):
    stopped(model, images, tmp_path / "out")
    picture(images[4], ("left", "right"), 99)
    predict(model, images, tmp_path / "straight")
    progress = Listening()
    predict(model, images, tmp_path / "out", progress=progress)
    assert progress.done == [4, 5, 6, 7, 8]
    assert _files(tmp_path / "out") == _files(tmp_path / "straight")


def test_masks_that_wait_there_are_not_touched(model, images, tmp_path):
    out = tmp_path / "out"
    with contextlib.suppress(Interrupted), unfinished(out) as place:  # as a prediction of masks does
        (place.files / "P1.nii.gz").write_text("a mask")
        place.keep("P1", {}, [place.files / "P1.nii.gz"])
        raise Interrupted("stopped")

    def there() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in place.folder.rglob("*") if path.is_file()}

    before = there()
    with pytest.raises(
        DataError, match=r"masks lie there, of a call that was stopped; .*Go on with the model that drew them"
    ):
        predict(model, images, out=out)
    assert len(before) >= 2 and there() == before and not out.exists()


def test_another_model_takes_nothing(model, images, tmp_path):
    stopped(model, images, tmp_path / "out")
    plan = Plan.read(model / "plan.yaml")
    network = networks.create("lenet5_modern", spatial_dims=2, in_channels=1, out_channels=2, **plan.network.options)
    torch.nn.init.ones_(next(network.parameters()))
    other = Model.save(tmp_path / "other", plan, network.state_dict(), {})
    progress = Listening()
    predict(other, images, tmp_path / "out", progress=progress)
    assert progress.done == list(range(1, CASES + 1))
    assert not (tmp_path / "out" / "findings.json").exists()


class Failing:
    """Reads cases, but for one."""

    def __init__(self, name, error):
        self.name, self.error = name, error

    def __call__(self, case, *given):
        if case.name == self.name:
            raise self.error
        return prepare_samples(case, *given)


@pytest.mark.parametrize(("name", "again"), [("n4", [4, 5, 6, 7, 8]), ("n7", [7, 8])])
@pytest.mark.parametrize("kind", [DataError, MemoryError])
def test_a_case_that_cannot_be_read_or_held_costs_no_other(model, images, tmp_path, monkeypatch, name, again, kind):
    rest = [path for path in images if path.stem != name]
    predict(model, images, tmp_path / "straight")
    predict(model, rest, tmp_path / "straight rest")
    told, raised = (
        ("its voxels end early", DataError) if kind is DataError else ("the memory ran out", MemoryLimitError)
    )
    out, both = tmp_path / "out", tmp_path / "both"
    for place in (out, both):
        with monkeypatch.context() as patch:
            patch.setattr(whole, "prepare_samples", Failing(name, kind("case n7: its voxels end early.")))
            with pytest.raises(raised, match=rf"{told}(.|\n)* 7 of 8 cases are kept in {place}\.unfinished") as caught:
                predict(model, images, place)
        assert raised is DataError or caught.value.case == name
    without, progress = Listening(), Listening()
    predict(model, rest, out, progress=without)
    assert any("resumed: 7 of 7 cases were there" in note for note in without.notes)
    assert _files(out) == _files(tmp_path / "straight rest")
    predict(model, images, both, progress=progress)
    assert progress.done == again  # what would have passed through the network with it passes again
    assert _files(both) == _files(tmp_path / "straight")


def test_where_nothing_is_kept_the_first_case_that_fails_ends_it(images, tmp_path, monkeypatch):
    plan = plan_of("reconstruction", "autoencoder", {"features": [4, 4]}, size=(28, 28), loss="squared")
    network = networks.create("autoencoder", spatial_dims=2, in_channels=1, out_channels=1, **plan.network.options)
    model, progress = Model.save(tmp_path / "model", plan, network.state_dict(), {}), Listening()
    monkeypatch.setattr(whole, "prepare_samples", Failing("n4", DataError("case n4: its voxels end early.")))
    with pytest.raises(DataError, match="n4"):
        predict(model, images, tmp_path / "out", progress=progress)
    assert progress.done == [1, 2, 3]


@pytest.mark.parametrize(("kind", "name", "options"), [
    ("classification", "lenet5_modern", {}), ("sequence", "cnn_rnn", {"features": [4, 4], "hidden": 4}),
])  # fmt: skip
def test_slices_of_scans_go_on_too(tiny_cohort, tmp_path, kind, name, options):
    """Slices by themselves, and in order; the truth of slices is read anew."""
    torch.manual_seed(0)
    plan = plan_of(kind, name, options, channels=("flair",), unit="slice", contains="lesion", regions={"lesion": (1,)},
                   classes=("no lesion", "lesion"))  # fmt: skip
    network = networks.create(name, spatial_dims=2, in_channels=1, out_channels=plan.task.outputs.out_channels,
                              **plan.network.options)  # fmt: skip
    model = Model.save(tmp_path / "model", plan, network.state_dict(), {})
    predict(model, tiny_cohort, tmp_path / "straight")
    assert "2 of 4 cases are kept" in stopped(model, tiny_cohort, tmp_path / "out", until=3)
    assert predict(model, tiny_cohort, tmp_path / "out", progress=(progress := Listening()))
    assert progress.done == [3, 4]
    assert _files(tmp_path / "out") == _files(tmp_path / "straight")


def test_reconstructions_begin_anew(images, tmp_path):
    plan = plan_of("reconstruction", "autoencoder", {"features": [4, 4]}, size=(28, 28), loss="squared")
    network = networks.create("autoencoder", spatial_dims=2, in_channels=1, out_channels=1, **plan.network.options)
    model = Model.save(tmp_path / "model", plan, network.state_dict(), {})
    text = stopped(model.folder, images, tmp_path / "out")
    assert "nothing is kept: a prediction of reconstruction begins anew" in text
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.unfinished").exists()


def test_what_is_done_needs_no_more_room(model, images, tmp_path, monkeypatch):
    stopped(model, images, tmp_path / "out")  # 6 of 8 are kept
    room = found_bytes(Model.open(model).plan, read_header(images[0]).grid) * (CASES - 5)
    monkeypatch.setattr(disk, "disk_free_bytes", lambda folder: room)
    with pytest.raises(DiskFullError, match="8 cases may take up to"):
        predict(model, images, tmp_path / "other")
    assert len(predict(model, images, tmp_path / "out")) == CASES
