"""Every example of docs/extending.md, run as a user would run it."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from rollouts.chat import Chat
from rollouts.engine import BASE, AdapterVersion, Prompt, Sampling
from tests.scripted_engine import Script, ScriptedEngine
from tests.visplay.contexts import context
from visplay.config.loading import Config, check_config, check_names, load_config
from visplay.data.images import read_images
from visplay.errors import ConfigError
from visplay.evaluation.benchmarks import load_benchmark
from visplay.loop.asking import Asked, Round, judge, parse, through
from visplay.loop.context import first_roles
from visplay.loop.questioner import reward
from visplay.loop.selfplay import play, selfplay
from visplay.models.engines import start_engine
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import run_canaries
from visplay.prompts import canary_prompt
from visplay.runs.checkpoints import roles_after
from visplay.runs.results import run_steps
from visplay.storage import read_jsonl

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
PYTHON = {m[1]: m[2] for m in re.finditer(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)}
YAML = {
    title: re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    for title, text in (part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
}
SMALL: dict[str, Any] = {
    "adapters": "shared",
    "threads": 1,
    "model": {"path": "pocket", "dtype": "float32"},
    "prompts": {"forms": {}},
    "votes": {"samples": 2},
    "questioner": {"steps": 1, "prompts_per_step": 2, "group_size": 2, "max_tokens": 48},
    "curation": {"questions_per_image": 1},
    "reasoner": {"steps": 1, "prompts_per_step": 2, "group_size": 2, "max_tokens": 48},
    "optimizer": {"micro_batch_size": 4},
    "evaluation": {"benchmarks": ["pocket-dusk"], "limit": 4, "maj_limit": 0, "blind_limit": 0},
}  # fmt: skip


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in PYTHON.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in PYTHON:
        sys.modules.pop(name.removesuffix(".py"), None)


def settings(folder: Path, title: str, **values: Any) -> Config:
    """A small run with the YAML of an example."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for shade in range(4):
        Image.new("RGB", (96, 96), (60 * shade, 90, 120)).save(pictures / f"{shade}.png")
    example = YAML[title]
    assert example is not None, title
    own = yaml.safe_load(example[1])
    given = {**SMALL, "images": {"source": str(pictures)}, "output": str(folder / "runs"), **values}
    for key, value in own.items():
        given[key] = {**given.get(key, {}), **value} if isinstance(value, dict) else value
    config = check_config(given)
    check_names(config)
    return config


def written(question: str) -> str:
    return f"<type>numerical</type><question>{question}</question><answer>1</answer>"


def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
    text = str(prompt.messages)
    if "Describe" in text:
        return ["there are 3", "nothing"] * (sampling.n // 2)
    if "ask one question" in text:
        return [written("How many?")] * sampling.n
    return (["\\boxed{3}", "\\boxed{4}"] * sampling.n)[: sampling.n]


def test_a_reward_sees_the_whole_row(examples: Path) -> None:
    ctx = context(settings(examples, "A reward"), ScriptedEngine(script))
    texts = [
        f"<type>numerical</type><question>{q}</question><answer>1</answer>" for q in ("How many?", "a " * 9)
    ]
    groups = [[Asked(picture="a", completion=text) for text in [*texts, "nonsense"]]]
    round = Round(phase="questioner", roles={"reasoner": BASE}, seed=0)
    groups = through(ctx, groups, round, [parse])
    groups[0].append(Asked(picture="a", question=groups[0][0].question, reject="judged invalid"))
    _, records = reward(ctx, groups, step=0, seed=0)
    assert [row["reward_terms"]["brevity"] for row in records] == [0.1, 0.0, 0.0, 0.0]
    assert [row["reward_validity"] for row in records] == [1.0, 1.0, 0.0, 0.0]


def test_a_judge_is_one_file_and_one_line(examples: Path) -> None:
    assert len(PYTHON["settled.py"].splitlines()) <= 40
    example = YAML["A judge"]
    assert example is not None and len(example[1].strip().splitlines()) == 1

    def doubting(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        assert adapter == BASE and sampling.n == 3
        sure = "How many?" in str(prompt.messages)
        return ["\\boxed{3}"] * 3 if sure else ["\\boxed{1}", "\\boxed{2}", "\\boxed{3}"]

    ctx = context(settings(examples, "A judge"), ScriptedEngine(doubting))
    key = ctx.images.records[0].key
    texts = (written("How many?"), written("Who?"), "nonsense")
    groups = [[Asked(picture=key, completion=text) for text in texts]]
    round = Round(phase="questioner", roles={"reasoner": BASE}, seed=0)
    ((sure, unsure, nothing),) = through(ctx, groups, round, [parse, judge])
    assert (sure.validity, sure.reject) == (1.0, "") and sure.asks
    assert unsure.validity == pytest.approx(1 / 3) and unsure.reject == "judged invalid" and not unsure.asks
    assert nothing.validity is None


def test_a_benchmark_comes_from_a_function(examples: Path) -> None:
    example = YAML["A benchmark from a function"]
    assert example is not None
    (examples / "squares.yaml").write_text(example[1])
    items = load_benchmark(str(examples / "squares.yaml"), limit=None, seed=0)
    assert len(items) == 100 and {item.gold.answers[0] for item in items} == {"red", "blue"}
    assert items[0].images()[0].size == (64, 64)


@pytest.mark.slow
def test_an_engine_passes_the_canaries(examples: Path) -> None:
    config = settings(examples, "An engine")
    policy = Policy(*load_base(config.model), lora=config.lora)
    engine: Any = start_engine(config.model, config.engine, lora_rank=16, logs=examples)
    images = read_images(config.images.source)
    found = run_canaries(
        engine, policy=policy, prompt=canary_prompt(images.load(images.records[0].key), config.prompts)
    )
    assert found.disagreement < 1e-4 and engine.tokens > 0


def scripted(config: Config, script: Script = script) -> Any:
    """A context whose completions are written by the script and really trained on."""
    model, processor = load_base(config.model)
    chat = Chat(processor, config=model.config, generation=model.generation_config)
    engine = ScriptedEngine(script, chat=chat)
    return context(config, engine, policy=Policy(model, processor, lora=config.lora))


@pytest.mark.slow
def test_a_loop_of_ones_own_is_resumed_where_it_was(examples: Path) -> None:
    ctx = scripted(settings(examples, "A loop", iterations=2))
    play(ctx)
    steps = run_steps(ctx.run.folder)
    assert [step for step in steps if not step.startswith("iteration-0")] == [
        "iteration-1/curation", "iteration-1/reasoner", "iteration-1/evaluation", "iteration-1/health",
        "iteration-2/reasoner", "iteration-2/evaluation", "iteration-2/health",
    ]  # fmt: skip
    calls = len(ctx.engine.calls)
    play(ctx)
    assert run_steps(ctx.run.folder) == steps and len(ctx.engine.calls) == calls


@pytest.mark.slow
def test_an_advantage_and_a_loss_are_one_line(examples: Path) -> None:
    config = settings(examples, "An advantage or a loss", iterations=1)
    assert (config.optimizer.advantage, config.optimizer.loss) == (
        "reinforce:leave_one_out",
        "reinforce:loss",
    )
    found = sys.modules["reinforce"].leave_one_out([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert found == [[1.0, -0.5, -0.5], [0.0, 0.0, 0.0]]
    ctx = scripted(config)
    play(ctx)
    metrics = read_jsonl(ctx.run.folder / "metrics.jsonl")
    assert [row["grad_norm"] > 0 for row in metrics if row["phase"] == "reasoner"] == [True]


@pytest.mark.slow
def test_a_third_role_is_trained(examples: Path) -> None:
    ctx = scripted(settings(examples, "A third role", iterations=1))
    first = first_roles(ctx)
    assert list(first) == ["questioner", "reasoner", "captioner"]
    play(ctx)
    _, roles = roles_after(ctx.run.folder)
    assert roles["captioner"].version > 0 and roles["questioner"].version == 0
    rows = pq.read_table(ctx.run.folder / "iteration-1/captioner/rollouts.parquet").to_pylist()
    assert len(rows) == 2 * 2 * 4 and {row["reward"] for row in rows} == {0.0, 1.0}


@pytest.mark.slow
def test_a_run_that_keeps_too_little_ends_with_its_best_iteration_named(examples: Path) -> None:
    """The Reasoner's votes agree from the second iteration on, so nothing is informative any more."""
    config = settings(examples, "A loop", iterations=3, evaluation={**SMALL["evaluation"], "limit": 4})
    config = config.model_copy(update={"loop": "visplay.loop.selfplay:visplay"})
    voted: list[int] = []

    def agreeing(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        if "ask one question" not in str(prompt.messages) and adapter.version > 4:
            voted.append(adapter.version)
            return ["\\boxed{3}"] * sampling.n
        return script(prompt, adapter, sampling)

    said: list[str] = []
    ctx = scripted(config, agreeing)
    ctx.display.say = said.append
    play(ctx)
    assert voted and "iteration-2/curation" in run_steps(ctx.run.folder)
    assert "iteration-2/reasoner" not in run_steps(ctx.run.folder)
    (line,) = [line for line in said if "ends early" in line]
    assert "iteration 2 kept 0 silver examples and one step needs 2" in line and "best iteration was" in line


@pytest.mark.slow
@pytest.mark.parametrize("key", ["loop", "judge.function", "rewards.questioner_terms"])
def test_an_error_in_ones_own_function_is_one_line_with_its_place(
    examples: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    text = "def part(*given):\n    return [{}['a\\nb']]\n\n\ndef whole(*given):\n    return part(*given)\n"
    (examples / "wrong.py").write_text(text)
    value = "{'wrong:whole': 1.0}" if key.endswith("terms") else "wrong:whole"
    config = load_config(settings(examples, "A reward", iterations=1), [f"{key}={value}"])

    @contextmanager
    def opened(config: Config, **_: Any) -> Iterator[Any]:
        yield scripted(config)

    monkeypatch.setattr("visplay.loop.selfplay.open_context", opened)
    with pytest.raises(ConfigError) as caught:
        selfplay(config)
    note = config.folder / "traceback.txt"
    assert str(caught.value) == (
        f"{key}: wrong, line 2, failed with KeyError: 'a\\nb'; correct it (the traceback is in {note})"
    )
    assert "in whole\n" in note.read_text() and "in play\n" in note.read_text()
    sys.modules.pop("wrong")


@pytest.mark.slow
def test_an_error_of_our_own_code_is_not_blamed_on_a_loop_of_ones_own(
    examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "from visplay.loop import measuring\n\n\ndef loop(*given):\n    measuring.measure(given[0], 1, {})\n"
    )
    (examples / "innocent.py").write_text(text)
    config = load_config(settings(examples, "A reward", iterations=1), ["loop=innocent:loop"])

    @contextmanager
    def opened(config: Config, **_: Any) -> Iterator[Any]:
        yield scripted(config)

    monkeypatch.setattr("visplay.loop.selfplay.open_context", opened)
    with pytest.raises(KeyError, match="reasoner"):
        selfplay(config)
    assert not (config.folder / "traceback.txt").exists()


def test_a_module_that_fails_while_it_is_imported_is_said_in_a_line(examples: Path) -> None:
    for name, text in (("syntax", "def f(:\n"), ("other", "1 / 0\n")):
        (examples / f"{name}_wrong.py").write_text(text)
        with pytest.raises(ConfigError, match=rf"loop: '{name}_wrong:f' cannot be imported \(.+\); write"):
            settings(examples, "A reward", loop=f"{name}_wrong:f")
