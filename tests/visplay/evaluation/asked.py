"""What the evaluation tests share: items over grey pictures, and a scripted Reasoner that answers them."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from rollouts.engine import AdapterVersion, Prompt, Sampling
from tests.scripted_engine import ScriptedEngine
from visplay.evaluation.items import Gold, Item
from visplay.evaluation.sampling import Reasoner

BASE = AdapterVersion(name="base", version=0)


def items(count: int, *, options: Sequence[str] = ()) -> list[Item]:
    made = []
    for i in range(count):
        gold = Gold(rule="choice", answers=("A",), options=tuple(options)) if options else Gold(
            rule="text", answers=(str(i % 3),)
        )  # fmt: skip
        made.append(
            Item(
                key=f"q{i}", images=lambda i=i: (Image.new("RGB", (4, 4), (i % 200, 0, 0)),),
                question=f"question {i}?", gold=gold, kind=["even", "odd"][i % 2], cluster=str(i // 2),
                options=tuple(options), groups={"parity": ["even", "odd"][i % 2]},
            )
        )  # fmt: skip
    return made


def answer(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
    """Depends on prompt, place in the batch's seed and sample, as a real engine's answers do."""
    rng = random.Random(f"{prompt.key}:{sampling.seed}:{sampling.temperature}")
    return [f"line one\u2028 two \\boxed{{{rng.randrange(3)}}}" for _ in range(sampling.n)]


def reasoner(script: Callable[..., Sequence[str]] = answer, *, chunk: int = 8, digest: str = "m") -> Reasoner:
    return Reasoner(
        engine=ScriptedEngine(script), adapter=BASE, model_digest=digest, adapter_digest="",
        backend="scripted", chunk=chunk,
    )  # fmt: skip


def folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
