"""What a run asks and learns: counted by hand, and against what a finished run has stored."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from visplay.config.loading import Config, check_config
from visplay.loop.workload import (
    Work,
    disk,
    evaluation_work,
    evaluations,
    iteration_work,
    pictures_asked,
)
from visplay.models.counting import Size
from visplay.runs.results import run_config


def config(**values: Any) -> Config:
    return check_config({"images": {"source": "."}, **values})


def test_an_iteration_by_hand() -> None:
    own = config(rewards={"curation_samples": 9}, curation={"margin": "all"})
    works = iteration_work(own, pictures=1000, prompt=500)
    asked = 20 * 8 * 8  # steps, prompts, G
    assert works == [
        Work(phase="questioner", prompts=160, completions=asked, tokens=asked * 80, bound=asked * 1024,
             learnt=asked * 580, rows=asked, steps=20),
        Work(phase="its votes", prompts=asked, completions=10 * asked, tokens=3000 * asked,
             bound=10 * asked * 4096, steps=20),
        Work(phase="curation", prompts=1000, completions=8000, tokens=640_000, bound=8000 * 1024, rows=8000,
             steps=16),
        Work(phase="its votes", prompts=8000, completions=72_064, tokens=72_064 * 300, bound=72_064 * 4096,
             steps=16),
        Work(phase="reasoner", prompts=160, completions=asked, tokens=asked * 300, bound=asked * 4096,
             learnt=asked * 800, rows=asked, steps=20),
    ]  # fmt: skip


def test_what_changes_it() -> None:
    def completions(**values: Any) -> list[int]:
        return [work.completions for work in iteration_work(config(**values), pictures=100, prompt=1)]

    assert completions(curation={"images": 10, "questions_per_image": 2})[2:4] == [20, 264]
    assert completions(loop="visplay.loop.rise:rise") == [1280, 12800, 1280]
    assert completions(questioner={"steps": 0})[0] == 800  # nothing of a phase that is not trained
    seen = {"groundedness_weight": 1.0, "groundedness_limit": 0.5}
    # A quarter of the groups is voted on blind, and each question of curation once more.
    assert completions(rewards=seen)[1:4] == [16000, 800, 16064]
    tokens = iteration_work(config(reasoner={"max_tokens": 64}), pictures=100, prompt=1)[1]
    assert tokens.tokens == tokens.bound == 12800 * 64


def test_where_curation_stops_when_enough_is_kept() -> None:
    # 320 are enough; a quarter of 64 x 8 is kept of each chunk, so the third one reaches them.
    assert pictures_asked(config(), pictures=1000) == (192, 1000)
    assert pictures_asked(config(), pictures=100) == (100, 100)
    assert pictures_asked(config(curation={"images": 500}), pictures=1000) == (192, 500)
    assert pictures_asked(config(curation={"margin": "all"}), pictures=1000) == (1000, 1000)
    assert pictures_asked(config(reasoner={"steps": 0}), pictures=1000) == (64, 1000)
    # 320 / (0.05 x 8) are 800 pictures, 12.5 chunks.
    assert pictures_asked(config(), pictures=1000, kept=0.05) == (832, 1000)
    asking, votes = iteration_work(config(), pictures=1000, prompt=1)[2:4]
    assert (asking.prompts, asking.completions, asking.rows) == (192, 1536, 1536)
    assert (votes.prompts, votes.completions) == (1536, 15_360 + 64)
    assert (asking.bound, votes.bound) == (8000 * 1024, (80_000 + 64) * 4096)


def test_evaluations() -> None:
    own = {"benchmarks": ["mmstar", "mm_vet"], "limit": 500, "maj_limit": 100, "blind_limit": 300, "maj_k": 4}
    work = evaluation_work(config(evaluation=own))
    assert work.prompts == 500 + 218 + 300 + 218 + 100 + 100  # mm_vet has 218 questions
    assert work.completions == 500 + 218 + 300 + 218 + 4 * 200 == work.rows
    assert evaluation_work(config()).completions == 0
    assert [evaluations(config(iterations=5, evaluation={"every": n})) for n in (1, 2, 9)] == [6, 4, 2]


@pytest.mark.slow
def test_a_finished_run_has_stored_what_was_counted(whole: Path) -> None:
    done = run_config(whole)
    pictures = pq.read_table(whole / "manifest.parquet").num_rows
    counted = {work.phase: work for work in iteration_work(done, pictures=pictures, prompt=1)}
    iteration = whole / "iteration-1"
    for phase, file in (
        ("questioner", "questioner/rollouts.parquet"),
        ("curation", "curation/candidates.parquet"),
        ("reasoner", "reasoner/rollouts.parquet"),
    ):
        assert pq.read_table(iteration / file).num_rows == counted[phase].rows, phase
    samples = sum(len(path.read_text().splitlines()) for path in iteration.glob("evaluation/*/*.jsonl"))
    assert samples == evaluation_work(done).rows
    measured = [step for step in _steps(whole) if step.endswith("/evaluation")]
    assert len(measured) == evaluations(done)


def _steps(run: Path) -> list[str]:
    return [json.loads(line)["step"] for line in (run / "journal.jsonl").read_text().splitlines()]


SIZE = Size(
    parameters=7 * 10**9, adapter=10**7, dtype=torch.bfloat16, layers=28, width=3584,
    vocabulary=152064, layer_parameters=233_057_792, kv_bytes=57_344, context=32768,
)  # fmt: skip


def test_disk_by_hand() -> None:
    own = {"benchmarks": ["mmstar"], "limit": 100, "maj_limit": 0, "blind_limit": 0}
    found = disk(config(evaluation=own), SIZE, pictures=100, prompt=1)
    assert found.adapters == 40_000_000 * (1 + 2 * 3)
    assert found.rollouts == 1000 * 3 * (1280 + 800 + 1280)
    assert found.samples == 3000 * 4 * 100
    assert found.working == 40_000_000 * (3 + 2 * 4)
    pruned = disk(config(iterations=9, checkpoints={"keep_last": 2}), SIZE, pictures=100, prompt=1)
    assert pruned.adapters == 40_000_000 * (1 + 2 * 3)  # the two last and the best
