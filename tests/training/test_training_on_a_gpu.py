"""Training where tensors lie on a GPU (see `played_gpu`): all of them must, also after a kill; what a GPU lacks is told."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from test_features import store_of
from test_learn import Killed, kill, train, weights

from played_gpu import FREE_BYTES, NAME, played_gpu
from striate import networks
from striate.core.class_set import ClassSet
from striate.core.errors import MemoryLimitError, PlanError, UsageError
from striate.core.out_of_memory import ran_out_of_memory
from striate.core.targets import Targets
from striate.planning.plan import NetworkChoice, Training
from striate.training import distributed, gpu, losses, optimise, step, timing
from striate.training.features import feature_store, organise
from striate.training.step import to_device, train_step
from striate.workflows.refuse import refuse_large

HARDENED = {"epsilon": 0.1, "contrast": (2.0,), "steps": 1, "share": 0.5, "begin": 0.0}
OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.9 GB). Tried to allocate 1 GB on private pool."),
)


def raising(error):
    def fails(*_, **__):
        raise error

    return fails


@pytest.mark.parametrize(
    "wrong",
    [
        lambda there, here: there + here,
        lambda there, here: here[there.long()],
        lambda there, here: torch.stack([there, here]),
        lambda there, here: here.sum() + there.numpy().sum(),
        lambda there, here: np.asarray(there),
        lambda there, here: torch.zeros(3).add_(there),
        lambda there, here: torch.rand(3, device="cuda", generator=torch.Generator()),
    ],
)
def test_the_played_gpu_refuses_what_a_gpu_would(wrong):
    with played_gpu():
        there, here = torch.ones(3).to("cuda"), torch.zeros(3)
        assert (there.device.type, here.device.type) == ("cuda", "cpu")
        assert (2 * there[here.long()] + here.sum()).is_cuda and torch.zeros_like(there).is_cuda
        assert there.cpu().numpy().sum() == 3 and here.copy_(there).sum() == 3 and not here.is_cuda
        with pytest.raises((RuntimeError, TypeError)):
            wrong(there, here)


@pytest.mark.parametrize(
    "setting",
    [
        {}, {"precision": "bf16"}, {"adversarial": HARDENED}, {"optimiser": "sgd"}, {"optimiser": "rmsprop", "momentum": 0.6},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_is_killed_and_goes_on_with_the_same_bits(tiny_plan, tmp_path, setting):
    plan = tiny_plan(steps=4, patch=(16, 16, 16), snapshots=1, learning_rate=1e-3, **setting)
    seen = []

    def validate(network):
        seen.append(next(network.parameters()).device.type)
        return {"dice_mean": 0.5}

    with played_gpu():
        straight = train(plan, tmp_path / "straight", validate=validate)
        with pytest.raises(Killed):
            train(plan, tmp_path / "run", at={3: kill}, validate=validate)
        resumed = train(plan, tmp_path / "run", validate=validate)
        assert not next(straight.network.parameters()).is_cuda
    assert set(seen) == {"cuda"} and torch.equal(weights(straight), weights(resumed))


@pytest.mark.parametrize("name", losses.names())
@pytest.mark.parametrize(
    "targets",
    [Targets.of_labels({1: "a", 2: "b"}), Targets.parse(["all=1+2", "core=2"], {1: "a", 2: "b"})],
    ids=["labels", "regions"],
)
def test_every_loss_lies_where_the_network_does(name, targets):
    training = Training(patch=(8, 8), batch=2, steps=1, loss=name)
    classes = torch.randint(0, 3, (2, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with played_gpu():
        there = classes.to("cuda")
        images = torch.randn(2, 1, 8, 8).to("cuda")
        truth = images.expand(-1, targets.out_channels, -1, -1) if name == "squared" else there
        network = to_device(
            networks.create("small_unet", spatial_dims=2, out_channels=targets.out_channels, features=(4, 8)), 2
        )
        loss = losses.create(name, targets)
        assert train_step(network.train(), optimise.create(network, training), loss, training, images, truth) >= 0


@pytest.mark.parametrize("exclusive", [True, False])
def test_classes_of_images_lie_there_too(exclusive):
    training, classes = Training(patch=(16, 16), batch=2, steps=1), ClassSet(names=("a", "b"), exclusive=exclusive)
    with played_gpu():
        truth = torch.ones((2,) if exclusive else (2, 2), dtype=torch.uint8).to("cuda")
        network = to_device(networks.create("mlp", input_size=(16, 16), out_channels=2), 2).train()
        loss = losses.create("label_smoothing", classes)
        assert (
            train_step(
                network,
                optimise.create(network, training),
                loss,
                training,
                torch.zeros(2, 1, 16, 16, device="cuda"),
                truth,
            )
            > 0
        )


def test_features_are_organised_and_computed_there(tmp_path):
    torch.manual_seed(0)
    network = networks.create("scattering", input_size=(8, 8), scales=1, angles=2, out_channels=2)
    store = store_of(tmp_path / "store")
    with played_gpu():
        there = to_device(copy.deepcopy(network), 2)
        organise(there, store, tuple(store.rows), seed=0)
        assert all(t.is_cuda for t in there.state_dict().values())
        found = feature_store(there, store, tmp_path / "there").images
    organise(network, store, tuple(store.rows), seed=0)
    assert np.allclose(found, feature_store(network, store, tmp_path / "here").images, atol=1e-2)


@pytest.mark.parametrize("native", [True, False])
def test_a_step_is_timed_there_in_what_it_computes(tiny_plan, native, monkeypatch):
    choice = NetworkChoice(name="small_unet", spatial_dims=3, options={"features": (4, 8)})
    with played_gpu():
        monkeypatch.setattr(gpu.torch.cuda, "is_bf16_supported", lambda including_emulation=True: native)
        timer = timing.MachineTimer()
        found = timer.step(tiny_plan().task, choice, Training(patch=(16, 16, 16), batch=1, steps=1))
        assert timer.fast and set(found.measured) == ({"fp32", "bf16"} if native else {"fp32"})


def test_memory_that_was_let_go_is_free(monkeypatch):
    with played_gpu():
        assert gpu.memory_free_bytes() == FREE_BYTES
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 900)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 200)
        assert gpu.memory_free_bytes() == FREE_BYTES + 700


def test_the_record_names_the_gpu():
    assert gpu.gpu_facts() == {}
    with played_gpu():
        assert gpu.gpu_facts() == {"gpu": {"name": NAME, "peak_memory_bytes": 123}}


def test_a_gpu_that_computes_nothing_leaves_learning_to_the_processor_and_is_named_once(monkeypatch):
    with played_gpu(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        monkeypatch.setattr(torch, "ones", raising(RuntimeError("CUDA error: no kernel image is available")))
        assert [gpu.device().type for _ in range(3)] == ["cpu"] * 3 and not timing.MachineTimer().fast
        assert gpu.memory_free_bytes() != FREE_BYTES
        assert gpu.gpu_facts() == {"gpu": {"problem": "CUDA error: no kernel image is available"}}
    assert [str(one.message) for one in told] == [
        "a GPU is there and cannot compute (CUDA error: no kernel image is available); the processor learns"
    ]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
@pytest.mark.parametrize("where", ["to_device", "on_device", "attacked"])
def test_memory_that_runs_out_beside_a_step_is_a_sentence_too(tiny_plan, tmp_path, monkeypatch, error, where):
    monkeypatch.setattr(f"striate.training.loop.{where}", raising(error))
    with pytest.raises(MemoryLimitError, match=r"memory ran out .* In plan\.yaml lower training\.batch"):
        train(tiny_plan(steps=2, patch=(8, 8, 8)), tmp_path / "run")


def test_other_errors_are_none_of_memory():
    assert not any(map(ran_out_of_memory, (RuntimeError("shapes differ"), ValueError("out of memory"))))
    assert ran_out_of_memory(MemoryError())


def test_a_plan_in_bf16_is_refused_where_the_gpu_lacks_it(tiny_plan, tmp_path, monkeypatch):
    path = tmp_path / "plan.yaml"
    with played_gpu():
        refuse_large(tiny_plan(precision="bf16"), path, None)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
        refuse_large(tiny_plan(), path, None)
        with pytest.raises(PlanError, match=rf"bf16, for which {NAME} has no instructions; .* set it to fp32"):
            refuse_large(tiny_plan(precision="bf16"), path, None)


@pytest.mark.parametrize(("nccl", "backend"), [(True, "nccl"), (False, "gloo")])
def test_each_process_takes_the_gpu_of_its_number(monkeypatch, nccl, backend):
    taken, dist = [], distributed.dist
    monkeypatch.setattr(dist, "get_node_local_rank", lambda: 1)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: nccl)
    assert distributed._backend() == "gloo"
    with played_gpu():
        monkeypatch.setattr(torch.cuda, "set_device", taken.append)
        with pytest.raises(UsageError, match=r"process 2 of this machine finds 1 GPU; .* Give --nproc_per_node 1"):
            distributed._backend()
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert (distributed._backend(), taken) == (backend, [1])
        monkeypatch.setattr(distributed, "problem", lambda: "no kernel image is available")
        with pytest.raises(
            UsageError, match=r"the GPU of process 2 .* cannot compute \(no kernel image is available\)"
        ):
            distributed._backend()


def test_the_step_says_what_is_free_of_the_gpu(tiny_plan):
    with (
        played_gpu(),
        pytest.raises(MemoryLimitError, match=r"6\.0 GB are free"),
        step.memory_told(tiny_plan().training),
    ):
        raise OUT_OF_MEMORY[0]
