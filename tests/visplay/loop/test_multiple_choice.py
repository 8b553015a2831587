"""Self-play with multiple choice only: a letter and the text of its option are one answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from rewards import Question
from rollouts.engine import AdapterVersion, Prompt, Sampling
from tests.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from tests.visplay.test_extending import SMALL
from visplay.config.loading import Config, check_config
from visplay.config.prompts import Prompts
from visplay.loop.context import RunContext
from visplay.loop.selfplay import play
from visplay.models.policy import Policy, load_base
from visplay.report import write_report
from visplay.storage import read_jsonl

ASKED = (
    "<type>multiple choice</type><question>What color is it?\nA. red\nB. blue\nC. green</question>"
    "<answer>A</answer>"
)
# Three votes for the first option and one for the second, in the words of each script.
SAID = {
    "letters": ["A", "(A)", "B", "A."],
    "texts": ["red", "Red", "blue", "red."],
    "mixed": ["A", "red", "blue", "A. red"],
}


def settings(folder: Path, name: str) -> Config:
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for shade in range(4):
        Image.new("RGB", (96, 96), (60 * shade, 90, 120)).save(pictures / f"{shade}.png")
    return check_config(
        {
            **SMALL, "name": name, "images": {"source": str(pictures)}, "output": str(folder),
            "iterations": 1, "prompts": Prompts().model_dump(),
            "votes": {"samples": 4},
            "questioner": {**SMALL["questioner"], "types": ["multiple choice"], "steps": 1},
            "reasoner": {**SMALL["reasoner"], "steps": 1, "group_size": 4},
        }
    )  # fmt: skip


def scripted(config: Config, said: Sequence[str]) -> RunContext:
    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        text = str(prompt.messages)
        if "ask one question" in text:
            assert (
                "multiple choice (with options A, B and so on in the question, answered by the letter" in text
            )
            return [ASKED] * sampling.n
        if "What color is it?" in text:
            assert "put your final answer, the letter of one option, in" in text
        return [f"\\boxed{{{said[i % 4]}}}" for i in range(sampling.n)]

    def oracle(picture: str, question: Question) -> str | None:
        assert question.options == ("red", "blue", "green")
        return "A"

    model, processor = load_base(config.model)
    policy = Policy(model, processor, lora=config.lora)
    return context(config, ScriptedEngine(script, chat=policy.chat), policy=policy, oracle=oracle)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("choice")
    found = {}
    for name, said in SAID.items():
        ctx = scripted(settings(folder, name), said)
        with ctx.run.opened(ctx.config):
            play(ctx)
        found[name] = ctx.run.folder
    return found


def rows(run: Path, file: str, *columns: str) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(run / "iteration-1" / file, columns=list(columns)).to_pylist()
    return table


@pytest.mark.slow
def test_confidence_and_rewards_are_the_same_by_letter_and_by_text(runs: dict[str, Path]) -> None:
    for run in runs.values():
        for row in rows(run, "questioner/rollouts.parquet", "confidence", "options"):
            assert (row["confidence"], row["options"]) == (0.75, ["red", "blue", "green"])
        for row in rows(run, "curation/candidates.parquet", "confidence", "shares", "reject_reason"):
            assert (row["confidence"], row["shares"]) == (0.75, [0.75, 0.25])
        paid = rows(run, "reasoner/rollouts.parquet", "reward", "options")
        assert [row["reward"] for row in paid[:4]] == [1.0, 1.0, 0.0, 1.0]
    first, *others = (
        [row["reward"] for row in rows(run, "questioner/rollouts.parquet", "reward")] for run in runs.values()
    )
    assert all(other == first for other in others)


@pytest.mark.slow
def test_figures_and_report_are_the_same_by_letter_and_by_text(runs: dict[str, Path]) -> None:
    curations = []
    for run in runs.values():
        (row,) = [row for row in read_jsonl(run / "metrics.jsonl") if row["phase"] == "curation"]
        curations.append(row)
        html = write_report(run).read_text()
        assert '"judged":"true"' in html and '"judged":"false"' not in html
    assert curations[0] == curations[1] == curations[2]
    assert curations[0]["silver_accuracy"]["kept"]["value"] == 1.0
    assert curations[0]["blind_answers"]["value"] == 1.0
