"""`Gate`: does a scan resemble those that the model learned from? Each answer names a measure, and by how much it is beyond.

Rule. Of each measure the training subjects give a mean m, a standard deviation s and a number n. A new scan of the same kind
lies in m ± t · s · √(1 + 1/n) with a probability of 99.8 %, t being Student's quantile with n − 1 degrees of freedom (the
prediction interval of a normal variable). Few subjects make it wide: t is 22 for n = 3, 4.3 for 10, 3.2 for 60. Measures that
vary by factors are compared by their logarithms. The range is widened to what training really held, and by a floor below
which a difference does not matter, and ends where the measure does: no extent or number lies below 0. Since measures are
not normal, the share of false alarms is measured, not computed: every subject is left out once (`Gate.false_alarms`).

Few or unlike subjects make ranges so wide that they hold every size. What is `OTHER_SIZE` times smaller or larger than any that
training held is said whatever the range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.caution import Caution
from striate.core.counted import three_digits

PROBABILITY = 0.998
LEAST_SUBJECTS = 3
MOST_CAUTIONS = 5
PICTURES_ALIKE = 0.15
"""A mirrored picture must correlate by this much more than the scan as it is."""
OTHER_SIZE = 3.0
"""An object that is this many times smaller or larger than any of training is another part, or its header is wrong."""
ARTEFACTS = frozenset({"noise", "blur", "ghosting", "streaks", "spikes", "bias-field"})
"""Codes of what spoils a scan; it moves the brightness of rim and depth too."""
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """How one measure is compared and what is said; `low` and `high` are codes, empty where that side is no fault.

    No value lies below `least` or above `most`; `whole`: it is a number of things.
    """

    words: str
    low: str
    high: str
    floor: float
    unit: str = ""
    by_factor: bool = False
    least: float = 0.0
    most: float = math.inf
    whole: bool = False


MEASURES: dict[str, Measure] = {
    **{f"spacing_{a}": Measure(f"voxel size along {a}", "other-spacing", "other-spacing", 0.1, " mm", True) for a in "xyz"},
    **{f"extent_{a}": Measure(f"extent of the object along {a}", "cropped", "other-field-of-view", 8.0, " mm") for a in "xyz"},
    **{
        f"fov_{a}": Measure(f"field of view along {a}", "other-field-of-view", "other-field-of-view", 10.0, " mm")
        for a in "xyz"
    },
    "faces": Measure("faces of the volume that the object touches", "", "cropped", 0.9, most=6.0, whole=True),
    "rim": Measure("brightness of the rim against the depth", "other-contrast", "other-contrast", 0.05, least=-math.inf),
    "tail": Measure("bright tail of the histogram", "other-contrast", "other-contrast", 0.1),
    "dark": Measure("dark tail of the histogram", "other-contrast", "other-contrast", 0.1, least=-math.inf, most=0.0),
    "noise": Measure("noise over contrast", "", "noise", 0.2, by_factor=True),
    "blur": Measure("blur", "", "blur", 0.02, most=1.0),
    "edge": Measure("edge strength", "blur", "", 0.15, " per mm", True),
    "ghost": Measure("ghost-to-signal ratio", "", "ghosting", 0.005, least=-math.inf),
    "streaks": Measure("streaks in the air over contrast", "", "streaks", 0.2, by_factor=True),
    "spikes": Measure("spike ratio of k-space", "", "spikes", 0.2, by_factor=True),
    "bias": Measure("strength of the bias field", "", "bias-field", 0.1, by_factor=True),
}  # fmt: skip
ADVICE = {
    "other-spacing": "The model has not seen such voxels.", "cropped": "Give the whole image.",
    "other-size": "Look whether its header is in mm, and whether it is the whole of the same part of the body.",
    "other-field-of-view": "Look whether it is the same part of the body.",
    "other-contrast": "Look whether it is the same kind of scan.", "noise": "Lesions that are faint may be missed.",
    "blur": "Small lesions may be missed.", "ghosting": "Look at the scan for ghosts.",
    "motion": "Look at the scan for motion.", "streaks": "Look at the scan for motion.",
    "spikes": "Look at the scan for stripes.",
    "bias-field": "Correct the field (N4), if training scans were corrected.",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Range:
    """What training had of one measure: smallest and largest value, and the limits for a new scan.

    `half` is half the width of the range where its limits were not cut to what the measure can be.
    """

    least: float
    most: float
    low: float
    high: float
    half: float | None = None

    @classmethod
    def of(cls, values: NDArray[np.float64], rule: Measure, n: int) -> Range:
        """Return the range of finite values (M,) of `n` subjects; see the module's rule."""
        from scipy.special import stdtrit

        least, most = float(values.min()), float(values.max())
        x = np.log(np.maximum(values, 1e-6)) if rule.by_factor else values
        margin = float(stdtrit(n - 1, (1 + PROBABILITY) / 2)) * float(x.std(ddof=1)) * math.sqrt(1 + 1 / n)
        middle = float(x.mean())
        low = min(middle - margin, float(x.min()) - rule.floor)
        high = max(middle + margin, float(x.max()) + rule.floor)
        if rule.by_factor:
            low, high = math.exp(max(low, -50.0)), math.exp(min(high, 50.0))
        return cls(least, most, low, high).cut(rule)

    def cut(self, rule: Measure) -> Range:
        """Return the range without the values that the measure cannot have; how far others lie outside stays the same."""
        low, high = max(self.low, min(rule.least, self.least)), min(self.high, max(rule.most, self.most))
        if (low, high) == (self.low, self.high):
            return self
        return Range(self.least, self.most, low, high, (self.high - self.low) / 2)

    def beyond(self, value: float, rule: Measure) -> float:
        """Return how far `value` lies outside, in half widths of the range: negative below, positive above, 0 inside."""
        low, high, x = self.low, self.high, value
        if rule.by_factor:
            low, high, x = (math.log(max(v, 1e-6)) for v in (low, high, value))
        half = max((high - low) / 2 if self.half is None else self.half, 1e-9)
        return min(x - low, 0.0) / half + max(x - high, 0.0) / half


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """What training had of one channel.

    Attributes
    ----------
    ranges
        Measure → range.
    stripped
        Share of the training scans that held one value around the object.
    quantiles
        (25,) mean quantiles of the histogram; empty where unknown.
    picture
        (1728,) mean picture; empty where unknown.
    alike
        Smallest correlation of a training scan's picture with the mean of the others.
    filled
        Whether that value was other than 0 in the files of all of them, as the air of a CT is.
    """

    ranges: Mapping[str, Range]
    stripped: float | None
    quantiles: NDArray[np.float64]
    picture: NDArray[np.float64]
    alike: float | None
    filled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """The ranges of the training cases.

    Attributes
    ----------
    channels
        Name → what training had.
    n_subjects
        Subjects that it rests on.
    false_alarms
        ``cases``: how many training cases get a caution where their subject is left out, ``of``: of how many, ``codes``: code →
        how often. Empty with too few subjects to leave one out.
    """

    channels: Mapping[str, Channel]
    n_subjects: int
    false_alarms: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(cls, facts: Sequence[Mapping[str, Facts]], subjects: Sequence[str] | None = None) -> Gate | None:
        """Fit to the facts of training cases (`striate.trust.image_facts`); None with fewer than `LEAST_SUBJECTS` subjects.

        Parameters
        ----------
        facts
            One per case: channel → measure → value.
        subjects
            Whose each case is; each its own subject where None.
        """
        owners = [str(i) for i in range(len(facts))] if subjects is None else list(map(str, subjects))
        names = list(dict.fromkeys(owners))
        if len(names) < LEAST_SUBJECTS:
            return None
        gate = cls(_channels(facts, len(names)), len(names))
        if len(names) <= LEAST_SUBJECTS:
            return gate
        alarms: dict[str, int] = {}
        cases = 0
        for name in names:
            rest = [f for f, o in zip(facts, owners, strict=True) if o != name]
            others = cls(_channels(rest, len(names) - 1), len(names) - 1)
            for case in (f for f, o in zip(facts, owners, strict=True) if o == name):
                found = others.cautions(name, case)
                cases += bool(found)
                for caution in found:
                    alarms[caution.code] = alarms.get(caution.code, 0) + 1
        return cls(gate.channels, gate.n_subjects, {"cases": cases, "of": len(facts), "codes": alarms})

    def cautions(self, case: str, facts: Mapping[str, Facts]) -> list[Caution]:
        """Return at most `MOST_CAUTIONS` reasons why `case` is unlike the training cases, most severe first."""
        found: dict[str, tuple[float, Caution]] = {}
        for name, measures in facts.items():
            known = self.channels.get(name)
            if known is None:
                continue
            for severity, caution in self._of_channel(case, name, known, measures):
                if caution.code not in found or found[caution.code][0] < severity:
                    found[caution.code] = (severity, caution)
        _name_together(found)
        ordered = sorted(found.values(), key=lambda pair: -pair[0])
        return [caution for _, caution in ordered[:MOST_CAUTIONS]]

    def _of_channel(self, case: str, name: str, known: Channel, facts: Facts) -> list[tuple[float, Caution]]:
        where, found = f"case {case}: {name}", list[tuple[float, Caution]]()
        beyonds = {
            measure: limits.beyond(float(facts[measure]), MEASURES[measure])
            for measure, limits in known.ranges.items()
            if facts.get(measure) is not None
        }
        if beyonds.get("bias", 0.0) > 0:
            beyonds.pop("edge", None)  # the contrast that edges are divided by holds the field: they seem weak
        for measure, beyond in beyonds.items():
            rule, limits, value = MEASURES[measure], known.ranges[measure], facts[measure]
            code = rule.high if beyond > 0 else rule.low
            if beyond and code:
                text = (
                    f"{where} has {rule.words} {three_digits(value)}{rule.unit}; the {self.n_subjects} training subjects had"
                    f" {_span(limits.least, limits.most)}{rule.unit}, {_expected(limits, rule)} is expected. {ADVICE[code]}"
                )
                found.append((abs(beyond), Caution(code, text)))
        spoilt = max((severity for severity, caution in found if caution.code in ARTEFACTS), default=0.0)
        found += self._t1(where, name, known, facts, spoilt)
        found += self._size(where, known, facts)
        found += self._stripped(where, known, facts)
        found += self._picture(where, name, known, facts)
        return found

    def _t1(self, where: str, name: str, known: Channel, facts: Facts, spoilt: float) -> list[tuple[float, Caution]]:
        """White matter is the brightest tissue of a T1 only: there the depth outshines the rim.

        So it does where an artefact spoils the rim; one that is further beyond its range (`spoilt`) than the rim explains it.
        """
        rim, value = known.ranges.get("rim"), facts.get("rim")
        if (
            rim is None
            or value is None
            or value >= min(rim.low, 0.0)
            or spoilt > abs(rim.beyond(value, MEASURES["rim"]))
            or not any(k in name.lower() for k in ("flair", "t2"))
        ):
            return []
        text = (
            f"{where} is brighter in its depth than at its rim ({value:.2f}; the {self.n_subjects} training subjects had"
            f" {rim.least:.2f} to {rim.most:.2f}), as a T1 is. Look whether it is the right scan."
        )
        return [(8.0, Caution("wrong-channel", text))]

    def _size(self, where: str, known: Channel, facts: Facts) -> list[tuple[float, Caution]]:
        """Tell the axis along which a volume is another size than any of training; of pictures nobody knows the mm.

        Where no object was found, as in a scan that resampling left a voxel of, the field of view must be able to hold it. How
        thick a single slice is says nothing to a model of single slices.
        """
        if facts.get("fov_z") is None:
            return []
        worst, told = OTHER_SIZE, ""
        for axis in "xyz":
            limits, extent = known.ranges.get(f"extent_{axis}"), facts.get(f"extent_{axis}")
            if limits is None or (
                _one_slice(known, axis) and facts[f"fov_{axis}"] < 1.5 * facts.get(f"spacing_{axis}", 0)
            ):
                continue
            size = facts[f"fov_{axis}"] if extent is None else extent
            smaller, larger = limits.least / max(size, 1e-3), 0.0 if extent is None else extent / max(limits.most, 1e-3)
            if max(smaller, larger) > worst:
                worst = max(smaller, larger)
                told = f"{three_digits(size)} mm along {axis}; the {self.n_subjects} training subjects were"
                told += f" {_span(limits.least, limits.most)} mm. {ADVICE['other-size']}"
        return [(12.0, Caution("other-size", f"{where} is {told}"))] if told else []

    def _stripped(self, where: str, known: Channel, facts: Facts) -> list[tuple[float, Caution]]:
        value, n = facts.get("stripped"), self.n_subjects
        if value is None or known.stripped not in (0.0, 1.0) or float(value) == known.stripped:
            return []
        if value and facts.get("filling"):
            text = (
                f"{where} holds nothing but {facts['filling']:.6g} around the object; none of the {n} training subjects held one"
                " value there. Give the scan as it was, if something was cut away."
            )
            return [(5.0, Caution("other-background", text))]
        if value:
            text = (
                f"{where} holds one value around the object, as a skull-stripped scan does; none of the {n} training subjects"
                " did. Give the scan as it was."
            )
            return [(10.0, Caution("stripped", text))]
        text = f"{where} does not hold one value around the object; all {n} training subjects did"
        if known.filled:
            return [(5.0, Caution("other-background", f"{text}. Fill its air in the same way."))]
        return [(10.0, Caution("not-stripped", f"{text}, as skull-stripped scans do. Strip it in the same way."))]

    def _picture(self, where: str, name: str, known: Channel, facts: Facts) -> list[tuple[float, Caution]]:
        picture = np.asarray(facts.get("picture") or (), dtype=np.float64)
        if not picture.size or picture.shape != known.picture.shape or known.alike is None:
            return []
        as_is = correlation(picture, known.picture)
        side = round(picture.size ** (1 / 3))
        cube = picture.reshape(side, side, side)
        mirrored = {
            axis: correlation(np.flip(cube, i).ravel(), known.picture)
            for i, axis in enumerate(("left-right", "front-back", "up-down"))
        }
        axis, best = max(mirrored.items(), key=lambda pair: pair[1])
        if best > as_is + PICTURES_ALIKE and as_is < known.alike:
            text = (
                f"{where} looks flipped {axis}: mirrored it correlates {best:.2f} with the mean of the {self.n_subjects}"
                f" training subjects, as it is {as_is:.2f} (they: at least {known.alike:.2f}). Look at its orientation."
            )
            return [(9.0, Caution("flipped-axis", text))]
        if as_is >= known.alike - PICTURES_ALIKE - 1.0 / self.n_subjects:
            return []
        other = self._resembles(name, facts)
        text = (
            f"{where} correlates {as_is:.2f} with the mean of the {self.n_subjects} training subjects (they: at least"
            f" {known.alike:.2f})"
        )
        if other is not None:
            return [
                (8.0, Caution("wrong-channel", f"{text}; its contrast is that of {other}. Give the channels in order."))
            ]
        return [(4.0, Caution("other-contrast", f"{text}. {ADVICE['other-contrast']}"))]

    def _resembles(self, name: str, facts: Facts) -> str | None:
        """Return the other channel whose pictures it resembles more than its own."""
        picture = np.asarray(facts["picture"], dtype=np.float64)
        own = correlation(picture, self.channels[name].picture)
        others = {
            n: correlation(picture, c.picture)
            for n, c in self.channels.items()
            if n != name and c.picture.shape == picture.shape
        }
        if others and max(others.values()) > own + PICTURES_ALIKE:
            return max(others, key=lambda n: others[n])
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        channels = {
            name: {
                "ranges": {m: [r.least, r.most, r.low, r.high] for m, r in c.ranges.items()},
                "half_widths": {m: r.half for m, r in c.ranges.items() if r.half is not None}, "stripped": c.stripped,
                "quantiles": c.quantiles.tolist(), "picture": np.round(c.picture, 3).tolist(), "alike": c.alike,
                "filled": c.filled,
            }
            for name, c in self.channels.items()
        }  # fmt: skip
        return {"n_subjects": self.n_subjects, "false_alarms": dict(self.false_alarms), "channels": channels}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Gate:
        """Read the JSON form."""
        channels = {
            name: Channel(
                {m: _range(r, c["half_widths"].get(m)) for m, r in c["ranges"].items()}, c["stripped"],
                np.asarray(c["quantiles"], dtype=np.float64), np.asarray(c["picture"], dtype=np.float64), c["alike"],
                bool(c["filled"]),
            )
            for name, c in document["channels"].items()
        }  # fmt: skip
        return cls(channels, int(document["n_subjects"]), dict(document["false_alarms"]))


def _name_together(found: dict[str, tuple[float, Caution]]) -> None:
    """Name what several measures say together, in place: ghosts or streaks in a blurred scan are motion.

    Streaks alone are too, but where noise, spikes or a bias field brighten parts of the air.
    """
    if "wrong-channel" in found:
        found.pop("other-contrast", None)
    if "other-size" in found:
        found.pop("cropped", None)
        found.pop("other-field-of-view", None)
    streaks = found.pop("streaks", None)
    ghosts = found.get("ghosting")
    if "blur" in found and (streaks or ghosts):
        blur = found.pop("blur")
        found.pop("ghosting", None)
        severity = max(pair[0] for pair in (blur, streaks, ghosts) if pair)
        found["motion"] = (
            severity,
            Caution("motion", f"{blur[1]} The air shows streaks or ghosts too: signs of motion."),
        )
    elif streaks and not ghosts and not {"noise", "spikes", "bias-field"} & set(found):
        found["motion"] = (streaks[0], Caution("motion", streaks[1].message))


def _one_slice(known: Channel, axis: str) -> bool:
    """Tell whether the training scans had a single voxel along an axis."""
    field_mm, voxel_mm = known.ranges.get(f"fov_{axis}"), known.ranges.get(f"spacing_{axis}")
    if field_mm is None or voxel_mm is None:
        return False
    return field_mm.most < 1.5 * voxel_mm.most and field_mm.least < 1.5 * voxel_mm.least


def _span(low: float, high: float) -> str:
    """Write a range; of one value where both are written alike."""
    first, last = three_digits(low), three_digits(high)
    return first if first == last else f"{first} to {last}"


def _expected(limits: Range, rule: Measure) -> str:
    """Write the limits whose crossing is a fault."""
    high = math.floor(limits.high) if rule.whole else limits.high
    if not rule.low:
        return f"at most {three_digits(high)}"
    return (
        f"at least {three_digits(limits.low)}"
        if not rule.high
        else f"{three_digits(limits.low)} to {three_digits(high)}"
    )


def _range(stored: Sequence[float], half: float | None) -> Range:
    least, most, low, high = map(float, stored)
    return Range(least, most, low, high, half)


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Pearson's correlation; 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0


def _channels(facts: Sequence[Mapping[str, Facts]], n: int) -> dict[str, Channel]:
    names = dict.fromkeys(name for case in facts for name in case)
    return {name: _channel([case[name] for case in facts if name in case], n) for name in names}


def _channel(facts: Sequence[Facts], n: int) -> Channel:
    ranges = {}
    for measure, rule in MEASURES.items():
        values = np.array([f[measure] for f in facts if f.get(measure) is not None], dtype=np.float64)
        if len(values) >= LEAST_SUBJECTS and np.isfinite(values).all():
            ranges[measure] = Range.of(values, rule, min(n, len(values)))
    stripped = [float(f["stripped"]) for f in facts if f.get("stripped") is not None]
    pictures = _stacked(facts, "picture")
    unit = pictures / np.maximum(np.linalg.norm(pictures, axis=1, keepdims=True), 1e-12) if len(pictures) else pictures
    alike = None
    if len(unit) >= LEAST_SUBJECTS:
        alike = min(correlation(row, unit.sum(axis=0) - row) for row in unit)
    return Channel(
        ranges, float(np.mean(stripped)) if stripped else None, _mean(_stacked(facts, "quantiles")), _mean(unit), alike,
        bool(stripped) and all(f.get("filling") for f in facts if f.get("stripped") is not None),
    )  # fmt: skip


def _stacked(facts: Sequence[Facts], key: str) -> NDArray[np.float64]:
    rows = [f[key] for f in facts if f.get(key)]
    return np.array(rows, dtype=np.float64) if rows else np.zeros((0, 0))


def _mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows.mean(axis=0) if len(rows) else np.zeros(0)
