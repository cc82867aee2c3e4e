"""A head with a lesion, a network that finds it, and a model of both, for tests of attacks."""

from types import SimpleNamespace

import numpy as np
import torch

from striate.core.case import Case
from striate.core.image import Image, LabelMap
from striate.data.prepare import prepare_images
from striate.inference.engines.pytorch import TorchEngine
from striate.io.read import read_label
from striate.io.write import write_image, write_label
from striate.planning.plan import Plan
from striate.trust.attacks.victim import Victim

SIZE = 56


def head(seed=0, dims=2):
    """Return scan and mask (I, J) or (I, J, K): air, tissue that varies smoothly, one bright lesion."""
    rng = np.random.default_rng(seed)
    at = np.indices((SIZE,) * dims) - (SIZE - 1) / 2
    inside = (at**2).sum(axis=0) < (0.42 * SIZE) ** 2
    centre = rng.uniform(-8, 8, dims).reshape(-1, *[1] * dims)
    lesion = ((at - centre) ** 2).sum(axis=0) < 16
    tissue = 100 + 12 * np.sin(at[0] / 3) * np.cos(at[1] / 4)
    scan = np.where(inside, tissue + 45 * lesion, 0) + np.abs(rng.normal(0, 2, inside.shape))
    return scan.astype(np.float32), lesion.astype(np.uint8)


def flat_plan(tiny_plan, **training) -> Plan:
    """Return a plan for pictures of heads: windows of 24 × 24 pixels."""
    plan = tiny_plan(loss="dice_ce", **training).model_dump()
    plan["preparation"]["spacing_mm"], plan["network"]["spatial_dims"] = (2.0, 2.0), 2
    plan["training"]["patch"] = plan["inference"]["patch"] = (24, 24)
    return Plan.model_validate(plan)


def prepared(plan: Plan, seed=0):
    scan, lesion = head(seed, len(plan.preparation.spacing_mm))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    return prepare_images(
        [Image(scan[None], affine)], plan.preparation, f"h{seed}", LabelMap(lesion, affine), plan.targets
    )


def cases(folder, count=2):
    """Write pictures of heads and return them as cases."""
    found = []
    for seed in range(count):
        scan, lesion = head(seed)
        affine, files = np.diag([2.0, 2.0, 1.0, 1.0]), [folder / f"h{seed}_{name}.npz" for name in ("flair", "label")]
        write_image(files[0], Image(scan[None], affine))
        write_label(files[1], LabelMap(lesion, affine))
        found.append(Case(f"h{seed}", f"h{seed}", {"flair": files[0]}, files[1]))
    return found


def trained(plan: Plan, steps=70):
    """Train a network of a few hundred weights on whole pictures until it finds lesions."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.LeakyReLU(0.1), torch.nn.Conv2d(8, 8, 3, padding=1),
        torch.nn.LeakyReLU(0.1), torch.nn.Conv2d(8, 2, 1),
    )  # fmt: skip
    ready = [prepared(plan, seed) for seed in range(10, 14)]
    images = torch.from_numpy(np.stack([r.array for r in ready]))
    classes = torch.from_numpy(np.stack([r.classes for r in ready]).astype(np.int64))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images), classes, torch.tensor([1.0, 5.0])).backward()
        optimiser.step()
    return network.eval()


def victim(plan: Plan, network, seed=0, **more):
    return Victim(plan, fp32(plan, network), prepared(plan, seed), **more)


def fp32(plan: Plan, network):
    return TorchEngine(network, plan.targets.exclusive, "fp32")


def model(plan: Plan, network):
    """Return what attacks and artefacts need of a model."""
    return SimpleNamespace(
        plan=plan, folder="model", network=lambda: network, facts={}, channels=plan.task.channels, previous=None
    )


def truth(case):
    return read_label(case.label)
