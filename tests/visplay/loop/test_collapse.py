"""Collapse on purpose: the alarm that matches is raised within the iteration, and a run can go back."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.visplay.small import ORACLE, SMALL
from visplay.config.loading import check_config
from visplay.loop.selfplay import selfplay
from visplay.pocket.truth import write_pictures
from visplay.progress import Display
from visplay.runs.checkpoints import roles_after
from visplay.storage import read_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.extra]
COLLAPSING = {
    **SMALL,
    "curation": {"questions_per_image": 4},
    "optimizer": {"learning_rate": 3e-3, "micro_batch_size": 64},
    "evaluation": {
        "benchmarks": ["pocket-dusk"], "limit": 60, "maj_limit": 0, "blind_limit": 0,
        "split": "development",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, count=48, seed=3, style="dusk")
    return folder


def alarms(run: Path) -> dict[str, str]:
    raised = json.loads((run / "iteration-1/health/alarms.json").read_text())["alarms"]
    return {alarm.split(" is ")[0]: alarm for alarm in raised}


def test_a_reasoner_rewarded_for_yes_is_noticed_and_taken_back(pictures: Path, tmp_path: Path) -> None:
    run = selfplay(
        check_config(
            {
                **COLLAPSING,
                "images": {"source": str(pictures), "oracle": ORACLE},
                "output": str(tmp_path),
                "questioner": {**SMALL["questioner"], "steps": 0},
                "reasoner": {"steps": 14, "prompts_per_step": 8, "group_size": 8, "max_tokens": 96},
                "rewards": {
                    "format_weight": 1.0,  # which leaves nothing for the silver answer
                    "reasoner_terms": {"tests.visplay.loop.collapse:says_yes": 1.0},
                },
                "health": {"action": "roll_back"},
            }
        ),
        display=Display(),
    )
    assert "the Reasoner gives one answer to nearly everything" in alarms(run)["same_answer"]
    assert json.loads((run / "iteration-1/health/alarms.json").read_text())["rolled_back_to"] == 0
    _, measured = roles_after(run, iteration=1)
    best = load_file(run / "iteration-0/adapters/shared-0/adapter_model.safetensors")
    back = load_file(run / "iteration-1/health/reasoner/adapter/adapter_model.safetensors")
    collapsed = load_file(measured["reasoner"].path / "adapter_model.safetensors")
    assert all(best[name].equal(back[name]) for name in best)
    assert not all(best[name].equal(collapsed[name]) for name in best)


def test_a_questioner_rewarded_for_repeats_is_noticed(pictures: Path, tmp_path: Path) -> None:
    """Without a price on redundancy (lambda = 0), and with a reward for asking in the same words."""
    run = selfplay(
        check_config(
            {
                **COLLAPSING,
                "images": {"source": str(pictures), "oracle": ORACLE},
                "output": str(tmp_path),
                "optimizer": {"learning_rate": 6e-3, "micro_batch_size": 64},
                "questioner": {**SMALL["questioner"], "steps": 18, "prompts_per_step": 4, "group_size": 16},
                "votes": {"samples": 2},
                "rewards": {
                    "redundancy_weight": 0.0,
                    "questioner_terms": {"tests.visplay.loop.collapse:repeats": 2.0},
                },
            }
        ),
        display=Display(),
    )
    assert "the questions about one picture are all alike" in alarms(run)["redundancy"]
    (figures,) = read_jsonl(run / "iteration-1/health/metrics.jsonl")
    assert figures["redundancy"] > 0.5 > figures["distinct"]
