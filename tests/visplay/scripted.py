"""An engine for whole runs that writes what a script says: seconds become milliseconds, and TRL trains on it.

Named in a configuration as `engine.backend: tests.visplay.scripted:start`.
"""

import hashlib
from collections.abc import Sequence

from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from rollouts.transformers_engine import TransformersEngine
from tests.scripted_engine import ScriptedEngine
from visplay.config.sections import Engine, Model
from visplay.models.policy import load_base

BACKEND = "tests.visplay.scripted:start"
QUESTIONS = ("How many shapes are there?", "How many red shapes are there?", "How many circles are there?")


def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
    """Questions that are well-formed three times out of four, and answers that are split; by the seed."""
    text = f"{prompt.key} {prompt.messages} {adapter.name}@{adapter.version} {sampling.seed}"
    lots = [hashlib.sha256(f"{text} {i}".encode()).digest()[0] for i in range(sampling.n)]
    if "ask one question" in str(prompt.messages):
        return [
            f"<type>numerical</type><question>{QUESTIONS[lot % 3]}</question><answer>1</answer>"
            if lot % 4
            else "nothing"
            for lot in lots
        ]
    return [f"\\boxed{{{1 + lot % 2}}}" for lot in lots]


class Scripted:
    """A ScriptedEngine that lets the canaries, which ask a run's engine first of all, see a real one."""

    def __init__(self, real: TransformersEngine, chat: Chat) -> None:
        self._real, self._scripted = real, ScriptedEngine(script, chat=chat)
        self.calls = self._scripted.calls

    def publish(self, adapter: AdapterVersion) -> None:
        engine = self._real if adapter.name == "canary" else self._scripted
        engine.publish(adapter)

    def sleep(self) -> None:
        """Nothing to give back."""

    def close(self) -> None:
        self._real.close()

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        canary = bool(prompts) and "What is in the picture?" in str(prompts[0].messages)
        engine = self._real if canary else self._scripted
        return engine.generate(prompts, adapter=adapter, sampling=sampling)


def start(model: Model, engine: Engine, *, lora_rank: int | None) -> RolloutEngine:
    base, processor = load_base(model)
    chat = Chat(processor, config=base.config, generation=base.generation_config)
    return Scripted(TransformersEngine(base, processor, batch_size=engine.batch_size), chat)
