"""The vLLM engine, measured: ratios of things taken in turn within one run, for machines are shared.

python benchmarks/vllm_engine.py throughput   engine.generate against bare LLM.generate, same requests
python benchmarks/vllm_engine.py swaps        1,000 published versions under load: right version? memory?
python benchmarks/vllm_engine.py sync         a swap of adapters against merging and reloading, two sizes
python benchmarks/vllm_engine.py roles        a Questioner step on one engine against two
python benchmarks/vllm_engine.py agreement    log-probs against a transformers forward, three versions
"""

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from vllm import SamplingParams

from benchmarks.larger import write_larger
from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, Prompt, Sampling
from rollouts.vllm_engine import VllmEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model
from visplay.models.engines import CPU_DEFAULTS
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b, trainer_logprobs
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import questioner_prompt, reasoner_prompt
from visplay.runs.checkpoints import numbered

POCKET = Model(path="pocket", dtype="float32")
TYPES = ["numerical", "yes/no", "short answer"]
WORDS = Prompts(forms={})  # the pocket VLM was taught so


def start(policy: Policy, model: str, **options: Any) -> VllmEngine:
    chat = Chat(policy.processor, config=policy.model.config, generation=policy.model.generation_config)
    return VllmEngine(model, chat=chat, lora_rank=8, dtype="float32", **CPU_DEFAULTS, **options)


def make_adapters(policy: Policy, folder: Path, count: int) -> list[AdapterVersion]:
    adapters = [numbered(folder, "shared", version) for version in range(count)]
    for adapter in adapters:
        policy.create_adapter(adapter, seed=adapter.version)
        randomize_lora_b(adapter, size=0.1, seed=adapter.version)
    return adapters


def make_prompts(count: int, *, role: str = "reasoner") -> list[Prompt]:
    pictures = [render(scene) for scene in sample_scenes(count, split="development", seed=0)]
    if role == "questioner":
        return [questioner_prompt(picture, types=TYPES, words=WORDS) for picture in pictures]
    return [reasoner_prompt(picture, "How many shapes are there?", words=WORDS) for picture in pictures]


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def throughput(rounds: int) -> None:
    policy = Policy(*load_base(POCKET), lora=Lora(rank=8))
    engine, prompts = start(policy, POCKET.source), make_prompts(64)
    base = AdapterVersion(name="base", version=0)
    tokens: dict[str, list[float]] = {"engine": [], "bare": []}
    for round_ in range(-1, rounds):  # the first one warms both up
        sampling = Sampling(n=8, max_tokens=48, seed=round_ + 1)
        requests = [engine._as_vllm(prompt) for prompt in prompts]
        parameters = [SamplingParams(**engine._chat.parameters(sampling, prompt=i)) for i in range(64)]
        made = {}

        def ours(sampling: Sampling = sampling, made: dict[str, int] = made) -> None:
            groups = engine.generate(prompts, adapter=base, sampling=sampling)
            made["engine"] = sum(len(c.token_ids) for group in groups for c in group)

        def bare(requests: Any = requests, parameters: Any = parameters, made: Any = made) -> None:
            outputs = engine._llm.generate(requests, parameters, use_tqdm=False)
            made["bare"] = sum(len(one.token_ids) for output in outputs for one in output.outputs)

        order = [("engine", ours), ("bare", bare)]
        for name, work in order if round_ % 2 else order[::-1]:
            engine._forget()  # the engine does so itself; pictures that a run asks about are new to bare, too
            took = seconds(work)
            if round_ >= 0:
                tokens[name].append(made[name] / took)
    engine.close()
    medians = {name: statistics.median(rates) for name, rates in tokens.items()}
    ratios = [a / b for a, b in zip(tokens["engine"], tokens["bare"], strict=True)]
    print(f"tokens/s, medians of {rounds}: {medians}; ratio {medians['engine'] / medians['bare']:.3f}")
    print(f"ratio by round: {[round(ratio, 3) for ratio in ratios]}")


def swaps(count: int) -> None:
    """Versions alternate between two sets of weights, so that the log-probs tell whose a completion is."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        policy = Policy(*load_base(POCKET), lora=Lora(rank=8))
        frozen, *weights = make_adapters(policy, folder, 3)
        engine, (prompt,) = start(policy, POCKET.source), make_prompts(1)
        greedy = Sampling(temperature=0, max_tokens=4)
        engine.publish(frozen)
        signs = []
        for adapter in weights:
            engine.publish(adapter)
            signs.append(engine.generate([prompt], adapter=adapter, sampling=greedy)[0][0].logprobs)
        apart = max(abs(a - b) for a, b in zip(*signs, strict=False))
        stop, load = threading.Event(), make_prompts(8)
        wrong, answered, memory = 0, 0, []

        def keep_busy() -> None:
            nonlocal wrong, answered
            while not stop.is_set():
                groups = engine.generate(load, adapter=frozen, sampling=Sampling(n=2, max_tokens=16))
                wrong += sum(c.adapter != frozen for group in groups for c in group)
                answered += 16

        worker = threading.Thread(target=keep_busy)
        worker.start()
        began = time.perf_counter()
        for i in range(count):
            seen = answered
            while answered == seen:  # the engine's lock is not fair; take turns
                assert worker.is_alive(), "the load has ended"
                time.sleep(0.001)
            source = weights[i % 2]
            new = numbered(folder, "swapped", i)
            shutil.copytree(source.path, new.path)
            engine.publish(new)
            (group,) = engine.generate([prompt], adapter=new, sampling=greedy)
            gap = max(abs(a - b) for a, b in zip(group[0].logprobs, signs[i % 2], strict=True))
            wrong += group[0].adapter != new or gap > apart / 10
            if i % (count // 10) == 0 or i == count - 1:
                memory.append(round(resident() / 2**20))
        took = time.perf_counter() - began
        stop.set()
        worker.join()
        engine.close()
    print(f"{count} swaps in {took:.0f} s, {answered} completions beside them, {wrong} of a wrong version")
    print(f"the two sets of weights differ by {apart:.3g} nats; resident MiB, all processes: {memory}")


def resident() -> int:
    me = psutil.Process()
    return sum(process.memory_info().rss for process in [me, *me.children(recursive=True)])


def sync(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for size in ("pocket", "larger"):
            folder = Path(scratch) / size
            model = POCKET.source if size == "pocket" else write_larger(folder / "model")
            policy = Policy(*load_base(POCKET.model_copy(update={"path": model})), lora=Lora(rank=8))
            adapters = make_adapters(policy, folder, rounds + 1)
            swap, moved = swap_time(policy, model, adapters)
            parameters = sum(p.numel() for p in policy.model.parameters()) / 1e6
            what = f"{size}, {parameters:.1f}M parameters"
            print(f"{what}: swap {swap:.3f} s, {moved} bytes; median of {rounds}")


def swap_time(policy: Policy, model: str, adapters: list[AdapterVersion]) -> tuple[float, int]:
    """Median seconds from a saved version to its first token, and bytes written for it."""
    engine, prompts = start(policy, model), make_prompts(1)

    def swap(adapter: AdapterVersion) -> None:
        engine.publish(adapter)
        engine.generate(prompts, adapter=adapter, sampling=Sampling(max_tokens=1))

    times = [seconds(lambda adapter=adapter: swap(adapter)) for adapter in adapters]
    moved = size_of(adapters[-1].path)
    engine.close()
    return statistics.median(times[1:]), moved


def size_of(folder: Path | None) -> int:
    assert folder is not None
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def roles(rounds: int) -> None:
    """8 pictures, G = 8 questions of the policy, and m = 10 votes of the frozen Reasoner on each."""
    with tempfile.TemporaryDirectory() as scratch:
        policy = Policy(*load_base(POCKET), lora=Lora(rank=8))
        frozen, current = make_adapters(policy, Path(scratch), 2)
        ask, answer = make_prompts(8, role="questioner"), make_prompts(64)
        engines = [start(policy, POCKET.source) for _ in range(2)]
        for engine in engines:
            engine.publish(frozen)
            engine.publish(current)

        def step(asking: VllmEngine, answering: VllmEngine, seed: int) -> None:
            sampling = Sampling(n=8, max_tokens=64, seed=seed)
            asking.generate(ask, adapter=current, sampling=sampling)
            votes = replace(sampling, n=10, max_tokens=72, top_k=40)
            answering.generate(answer, adapter=frozen, sampling=votes)

        step(engines[0], engines[0], -1), step(engines[1], engines[1], -1)
        one, two = [], []
        for seed in range(rounds):
            one.append(seconds(lambda seed=seed: step(engines[0], engines[0], seed)))
            two.append(seconds(lambda seed=seed: step(engines[1], engines[0], seed)))
        for engine in engines:
            engine.close()
    ratio = statistics.median(one) / statistics.median(two)
    print(
        f"a step: one engine {statistics.median(one):.2f} s, two {statistics.median(two):.2f} s, {ratio:.2f}"
    )


def agreement(count: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        policy = Policy(*load_base(POCKET), lora=Lora(rank=8))
        engine = start(policy, POCKET.source)
        prompts = make_prompts(count // 2) + make_prompts(count - count // 2, role="questioner")
        for adapter in make_adapters(policy, Path(scratch), 3):
            engine.publish(adapter)
            groups = engine.generate(prompts, adapter=adapter, sampling=Sampling(n=4, max_tokens=64))
            model = policy.with_adapter(adapter).eval()
            gaps = []
            for prompt, group in zip(prompts, groups, strict=True):
                expanded = engine._chat.encode([prompt])["input_ids"][0].tolist()
                for c in group:
                    assert list(c.prompt_ids) == expanded
                    want = trainer_logprobs(model, engine._chat, prompt, c.token_ids, 1.0)
                    gaps += [abs(a - b) for a, b in zip(c.logprobs, want, strict=True)]
            policy.without_adapter(model)
            print(f"{adapter}: {len(gaps)} tokens, at most {max(gaps):.2g} nats apart, prompt ids equal")
        engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["throughput", "swaps", "sync", "roles", "agreement"])
    parser.add_argument("--count", type=int, help="rounds, or swaps")
    asked = parser.parse_args()
    work, default = {
        "throughput": (throughput, 7), "swaps": (swaps, 1000), "sync": (sync, 5), "roles": (roles, 5),
        "agreement": (agreement, 32),
    }[asked.what]  # fmt: skip
    work(asked.count or default)


if __name__ == "__main__":
    main()
