"""`visplay plan`: what it prints, and that it leaves nothing behind."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from tests.visplay.models.released_sizes import HERE, SHIPPED, needs_processors
from visplay.cli.main import app
from visplay.cli.plan import print_plan
from visplay.config.loading import Config, check_config, load_config
from visplay.config.sections import POCKET
from visplay.errors import ConfigError
from visplay.models.memory import find_card
from visplay.planning.plan import ASSUMED_PROMPT, make_plan

CONFIGS = Path("configs")


def printed(config: Config, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_plan(config, console=console, **options)
    return console.file.getvalue()


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.strip().startswith(name)]
    return re.split(r"\s{2,}", line.strip())[1:]


def released(name: str, folder: Path, overrides: list[str] | None = None) -> Config:
    """A shipped configuration on its real architecture and processor, as a folder without weights."""
    architecture, processor = SHIPPED[name]
    folder.mkdir(exist_ok=True)
    for file in (HERE / processor).iterdir():
        if file.name not in ("config.json", "SOURCE"):
            (folder / file.name).symlink_to(file)
    architecture().save_pretrained(folder)
    return load_config(CONFIGS / f"{name}.yaml", [f"model.path={folder}", *(overrides or [])])


def test_the_pocket_world_is_planned_for_the_cpu() -> None:
    config = load_config(CONFIGS / "pocket.yaml", ["curation.margin=2"])
    text = printed(config, pictures=1500)
    assert "2,744,512 parameters" in text and "on a CPU" in text and "engine: transformers" in text.lower()
    assert row(text, "questioner") == ["640", "40,960"]
    assert "one run on one card has confirmed its memory" in " ".join(text.split())
    # Twice 20 steps of 8 prompts are enough; a quarter of 3 questions of each picture, in chunks of 64.
    said = (
        "Curation stops once 320 examples are kept: after about 300 pictures where 25% of the questions are"
    )
    assert said in " ".join(text.split())
    assert "are wanted" not in text  # 1,500 pictures are enough
    few = printed(config, pictures=13)
    assert "13 pictures give about 10 examples an iteration; 160 are wanted" in " ".join(few.split())
    assert "Curation stops" not in printed(load_config(CONFIGS / "pocket.yaml", ["curation.margin=all"]))
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("judge.function=nowhere:judge", "judge.function: 'nowhere:judge' cannot be imported"),
        ("model.device=gpu0", "model.device: 'gpu0' does not exist; use cpu"),
        ("judge.function=json", "judge.function: 'json' cannot be imported .module is no function"),
    ],
)
def test_what_training_refuses_a_plan_refuses_in_the_same_words(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        printed(load_config(CONFIGS / "pocket.yaml", [override]))


def test_a_gpu_is_planned_for_on_a_machine_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = load_config(CONFIGS / "pocket.yaml", ["model.device=cuda", "engine.backend=transformers"])
    assert "on a GPU" in printed(config)


@needs_processors
@pytest.mark.slow
def test_a_plan_for_cards_says_which_work_and_what_to_lower(tmp_path: Path) -> None:
    config = released("qwen2.5-vl-7b", tmp_path / "7b")
    cards = [find_card(name) for name in ("h100", "a100-40", "rtx4090")]
    text = printed(config, cards=cards, pictures=1000)
    said = " ".join(text.split())
    assert "8,292,166,656 parameters" in text and "a token takes 57,344 bytes" in said
    assert row(text, "weights of the base") == ["16.6"]
    assert "asleep it keeps its weights, 16.6 GB, in page-locked main memory" in said
    assert row(text, "h100  ")[:3] == ["80", "16", "8"]
    assert row(text, "a100-40")[1] == "4" and row(text, "rtx4090")[1] == "-"
    assert max(map(len, text.splitlines())) <= 80


@needs_processors
@pytest.mark.slow
def test_servers_have_cards_of_their_own(tmp_path: Path) -> None:
    server = ["engine.backend=server", "engine.replicas=1"]
    config = released("qwen2.5-vl-3b", tmp_path / "3b", server)
    text = printed(config, cards=[find_card("l4")], pictures=1000)
    said = " ".join(text.split())
    assert "The engine (server) is on cards of its own." in said
    assert "asleep" not in said
    assert make_plan(config).together("awake") == make_plan(config).trainer().total


@needs_processors
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_configurations_fit_their_card_and_say_what_is_planned(name: str, tmp_path: Path) -> None:
    plan = make_plan(released(name, tmp_path / "model"))
    head = " ".join(
        line[2:] for line in (CONFIGS / f"{name}.yaml").read_text().splitlines() if line[0] == "#"
    )
    with_vllm = plan.backend == "vllm"
    both = r" with vLLM asleep .*?, ([\d.]+) GB awake" if with_vllm else "()"
    told = re.search(
        r"one GPU of (\d+) GB\. `visplay plan` expects ([\d.]+) GB"
        + both
        + r".*?480, ([\d,]+) tokens a prompt",
        head,
    )
    assert told is not None and "not run" in head
    card, asleep, awake, prompt = told.groups()
    assert f"{plan.together('asleep') / 1e9:.1f}" == asleep
    assert not with_vllm or f"{plan.together('awake') / 1e9:.1f}" == awake
    assert f"{plan.batch.prompt:,}" == prompt
    assert plan.together("asleep") <= 0.98 * int(card) * 2**30
    assert with_vllm is (name != "llava-onevision-7b")


def test_none_but_the_pocket_worlds_own_measures_on_pocket() -> None:
    assert check_config({"images": {"source": "."}}).evaluation.benchmarks == []
    for path in sorted(CONFIGS.glob("*.yaml")):
        config = load_config(path)
        synthetic = any(name.startswith(("pocket", "easy")) for name in config.evaluation.benchmarks)
        assert synthetic is (config.model.path in POCKET) and config.evaluation.benchmarks, path.name


def test_without_a_processor_an_assumed_prompt_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((Path("visplay/pocket/model") / "config.json").read_bytes())
    config = load_config(CONFIGS / "pocket.yaml", [f"model.path={tmp_path}"])
    plan = make_plan(config)
    assert plan.batch.prompt == ASSUMED_PROMPT and plan.prompt.how.startswith("assumed, because no prompt")
    assert plan.on_gpu and plan.size.dtype == torch.float32
    assert make_plan(config, prompt_tokens=2048).batch.pixel_bytes == 2 * plan.batch.pixel_bytes


def test_a_plan_is_printed_and_nothing_written(tmp_path: Path) -> None:
    asked = ["plan", str(CONFIGS / "pocket.yaml"), f"output={tmp_path / 'runs'}"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0 and "Trainer, micro-batches of 64" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_card_and_a_missing_model_are_errors(tmp_path: Path) -> None:
    pocket = str(CONFIGS / "pocket.yaml")
    done = CliRunner().invoke(app, ["plan", pocket, "--card", "h1000"])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("--card 'h1000' is not in the table; known: rtx4090, l4")
    done = CliRunner().invoke(app, ["plan", pocket, f"model.path={tmp_path}"])
    assert isinstance(done.exception, ConfigError) and "model.path: no config.json" in str(done.exception)
