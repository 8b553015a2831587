"""What `start_engine` refuses before anything is started."""

from pathlib import Path

import pytest
import torch

from visplay.config.sections import Engine, Lora, Model
from visplay.errors import ConfigError
from visplay.models.counting import Held, Size
from visplay.models.engines import Beside, _devices, _sleeps, start_engine, vllm_options
from visplay.models.memory import Batch, trainer_memory
from visplay.models.policy import Policy
from visplay.models.processor import load_processor


def test_servers_do_not_sleep(tmp_path: Path) -> None:
    engine = Engine(backend="server", sleep=True, replicas=1)
    with pytest.raises(ConfigError, match=r"engine\.sleep: servers do not sleep"):
        start_engine(Model(path="pocket", device="cpu"), engine, lora_rank=8, logs=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("replicas", "each", "count", "beside", "devices"),
    [
        (3, 1, 4, True, ["1", "2", "3"]),
        (4, 1, 4, False, ["0", "1", "2", "3"]),
        (1, 2, 4, True, ["1,2"]),
        (2, 1, 0, True, []),
    ],
)
def test_replicas_get_gpus_on_which_nobody_trains(
    replicas: int, each: int, count: int, beside: bool, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    options = {} if each == 1 else {"tensor_parallel_size": each}
    engine = Engine(backend="server", replicas=replicas, vllm=options)
    assert _devices(engine, count=count, beside=beside) == devices


def test_replicas_get_the_gpus_that_this_process_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    engine = Engine(backend="server", replicas=2)
    assert _devices(engine, count=4, beside=True) == ["6", "7"]
    own = Engine(backend="server", replicas=2, devices=["0", "1"])
    assert _devices(own, count=4, beside=True) == ["0", "1"]
    with pytest.raises(ConfigError, match=r"only 2 of 4 are free; lower engine\.replicas"):
        _devices(Engine(backend="server", replicas=3), count=4, beside=True)


def test_vllm_takes_no_video_and_on_a_gpu_the_longest_sequence_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model(path="pocket", device="cuda")
    found = vllm_options(model, Engine(backend="server", replicas=1), load_processor(model))
    assert found["limit_mm_per_prompt"] == {"video": 0} and found["max_model_len"] == -1
    own = Engine(backend="server", replicas=1, vllm={"max_model_len": 4096})
    assert vllm_options(model, own, load_processor(model))["max_model_len"] == 4096


@pytest.mark.slow
@pytest.mark.parametrize("targets", [["q_proj"], ["model.text_model.layers.0.self_attn.q_proj"], []])
def test_lora_on_a_tower_is_refused_where_vllm_would_ignore_it(targets: list[str], tmp_path: Path) -> None:
    model = Model(path="pocket", device="cpu", dtype="float32")
    policy = Policy.of(model, lora=Lora(targets=targets))
    assert policy.adapts_tower is (targets == ["q_proj"])
    if policy.adapts_tower:
        engine = Engine(backend="server", replicas=1)
        with pytest.raises(ConfigError, match=r"lora\.targets: vLLM ignores LoRA on a vision tower"):
            start_engine(model, engine, lora_rank=8, logs=tmp_path, policy=policy)


def test_vllm_stays_awake_where_both_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    size = Size(
        parameters=10**9, adapter=10**6, dtype=torch.bfloat16, layers=4, width=64, vocabulary=1000,
        layer_parameters=5 * 10**7, kv_bytes=10_000, context=32768,
    )  # fmt: skip
    batch = Batch(prompt=100, completion=200, rows=16, pixel_bytes=5_000)
    trainer = trainer_memory(size, Held(kept=10**8, peak=10**9), batch, micro=2, kl=True)
    beside = Beside(size=size, trainer=trainer, longest=4096)

    def sleeps(free: int, engine: Engine) -> bool:
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free * 10**9, 80 * 10**9))
        return _sleeps(Model(path="pocket", device="cuda"), engine, beside, lora_rank=8)

    own = Engine(backend="vllm")
    assert not sleeps(60, own)  # 64 sequences of 4,096 tokens take 2.6 GB
    assert sleeps(7, own)  # fits, with a cache for fewer
    assert sleeps(4, own)  # does not fit
    assert sleeps(60, Engine(backend="vllm", sleep=True)) and not sleeps(4, Engine(sleep=False))
    assert sleeps(60, Engine(backend="vllm", vllm={"gpu_memory_utilization": 0.3}))  # a user's own share
