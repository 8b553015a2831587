"""The whole loop for real: pocket VLM, TRL, pictures from a folder; killed, resumed, repeated, controlled."""

import base64
import hashlib
import io
import json
import shutil
import signal
import time
from dataclasses import asdict
from pathlib import Path

import httpx2
import pyarrow.parquet as pq
import pytest
from peft import PeftModel
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

import rewards
import visplay
from rewards import Question
from rollouts.engine import AdapterVersion, Prompt, Sampling
from rollouts.servers.launch import Server
from rollouts.transformers_engine import TransformersEngine
from tests.visplay.scripted import BACKEND
from tests.visplay.small import ORACLE, SMALL
from tests.visplay.started import Started
from visplay.cli.printing import print_asked, print_runs
from visplay.config.loading import Config, check_config
from visplay.config.prompts import Prompts
from visplay.config.sections import Model
from visplay.errors import HealthAlarm, RunError, TooFewExamples
from visplay.evaluation.comparison import compare, find_side
from visplay.evaluation.export import export
from visplay.loop.ask import ask
from visplay.loop.selfplay import selfplay
from visplay.models.engines import CPU_DEFAULTS
from visplay.models.policy import load_base
from visplay.pocket.scenes import render, sample_scenes
from visplay.pocket.truth import write_pictures
from visplay.progress import Display
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import kept_adapter, roles_after
from visplay.runs.run import Run
from visplay.storage import read_jsonl

pytestmark = pytest.mark.slow
SCRIPTED = {"engine": {"backend": BACKEND}}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, count=16, seed=3, style="dusk")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


def config(pictures: Path, output: Path, **values: object) -> Config:
    return check_config(
        {**SMALL, "images": {"source": str(pictures), "oracle": ORACLE}, "output": str(output), **values}
    )


@pytest.fixture(scope="module")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return selfplay(config(pictures, tmp_path_factory.mktemp("finished")), display=Display())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_leaves_everything_that_happened(finished: Path) -> None:
    steps = [entry["step"] for entry in read_jsonl(finished / "journal.jsonl")]
    assert steps == [
        "iteration-0/inputs", "iteration-0/adapters", "iteration-0/contamination",
        "iteration-0/evaluation", "iteration-1/questioner",
        "iteration-1/curation", "iteration-1/reasoner", "iteration-1/evaluation", "iteration-1/health",
    ]  # fmt: skip
    metrics = read_jsonl(finished / "metrics.jsonl")
    assert [row["phase"] for row in metrics] == [
        "evaluation", "questioner", "questioner", "curation", "reasoner", "reasoner", "evaluation", "health",
    ]  # fmt: skip
    # Engine and trainer are the same weights in one process: no pass is spent on correcting between them.
    assert not any(key.startswith("sampling/") for row in metrics for key in row)
    (skipped,) = read_jsonl(finished / "skipped.jsonl")
    assert skipped["source"] == "broken.png"
    assert pq.read_table(finished / "manifest.parquet").num_rows == 16
    asked = pq.read_table(finished / "iteration-1/questioner/rollouts.parquet").to_pylist()
    assert len(asked) == 2 * 2 * 4
    for row in asked:  # Eq. 8 from the stored parts
        difficulty = 1 - abs(2 * row["confidence"] - 1) if row["valid"] else 0.0
        assert row["reward"] == pytest.approx(max(0.0, difficulty - row["reward_redundancy"]) * row["valid"])
    versions = {row["step"] for row in asked}
    assert versions == {0, 1}
    answered = pq.read_table(finished / "iteration-1/reasoner/rollouts.parquet").to_pylist()
    assert len(answered) == 2 * 4 * 4 and {row["reward"] for row in answered} <= {0.0, 1.0}


def test_evaluation_figures_follow_from_the_stored_samples(finished: Path) -> None:
    folder, base = finished / "iteration-1/evaluation", finished / "iteration-0/evaluation"
    summary = json.loads((folder / "summary.json").read_text())["benchmarks"]
    assert list(summary) == ["pocket-dusk", "easy-vqa"]
    for name, figures in summary.items():
        own, before = (read_jsonl(side / name / "greedy.jsonl") for side in (folder, base))
        assert len(own) == 24 == figures["n"]
        assert figures["accuracy"]["value"] == pytest.approx(sum(r["correct"] for r in own) / 24)
        assert len(read_jsonl(folder / name / "sampled.jsonl")) == 8 * 4
        assert figures["blind"]["n"] == figures["sampled"]["maj@4"]["n"] == 8
        pairs = list(zip(before, own, strict=True))
        assert all(b["item"] == r["item"] for b, r in pairs)
        assert figures["paired"]["gained"] == sum(r["correct"] and not b["correct"] for b, r in pairs)
        assert figures["paired"]["lost"] == sum(b["correct"] and not r["correct"] for b, r in pairs)
    compared = compare(find_side(f"{finished}@0"), find_side(f"{finished}@1"))
    assert {one.benchmark: asdict(one.paired) for one in compared} == {
        name: figures["paired"] for name, figures in summary.items()
    }


def served(
    checkpoint: Path | str, prompts: list[Prompt], *, log: Path, adapter: Path | None = None
) -> list[str]:
    """Greedy answers of a vLLM server that was given the folder, or the adapter, and nothing else of ours."""
    options = {"dtype": "float32", **CPU_DEFAULTS}
    options |= {"lora_modules": f"trained={adapter}"} if adapter else {}
    server = Server(str(checkpoint), lora_rank=16, max_adapters=1, log=log, options=options)
    server.start()
    try:
        deadline = time.monotonic() + 400
        while not answers(f"{server.url}/health"):
            assert server.running() and time.monotonic() < deadline, server.log_tail()
            time.sleep(1)
        return [chat(server.url, prompt, name="trained" if adapter else "base") for prompt in prompts]
    finally:
        server.stop()


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def chat(url: str, prompt: Prompt, *, name: str) -> str:
    picture = io.BytesIO()
    prompt.images[0].save(picture, "PNG")
    uri = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
    text = prompt.messages[0]["content"][1]
    content = [{"type": "image_url", "image_url": {"url": uri}}, text]
    request = {
        "model": name, "messages": [{"role": "user", "content": content}], "temperature": 0,
        "max_tokens": 96,
    }  # fmt: skip
    answer = httpx2.post(f"{url}/v1/chat/completions", json=request, timeout=120, trust_env=False)
    return str(answer.raise_for_status().json()["choices"][0]["message"]["content"])


def test_an_export_loads_as_it_is_and_answers_like_the_adapter_on_its_base(
    finished: Path, tmp_path: Path
) -> None:
    last, adapters = roles_after(finished)
    assert (last, adapters["reasoner"]) == (1, adapters["questioner"])  # shared
    prompts = [
        reasoner_prompt(render(scene), "How many shapes are there?", words=Prompts())
        for scene in sample_scenes(8, split="development", seed=2)
    ]
    greedy = Sampling(temperature=0, max_tokens=96)
    trained = TransformersEngine(*load_base(Model(path="pocket", dtype="float32")))
    trained.publish(adapters["reasoner"])
    want = trained.generate(prompts, adapter=adapters["reasoner"], sampling=greedy)
    merged = export(finished, tmp_path / "merged", role="reasoner", iteration=None, form="merged")
    exported = TransformersEngine(*load_base(Model(path=str(merged))))
    got = exported.generate(prompts, adapter=AdapterVersion(name="base", version=0), sampling=greedy)
    assert [g[0].text for g in got] == [g[0].text for g in want]
    card = (merged / "README.md").read_text()
    summary = json.loads((finished / "iteration-1/evaluation/summary.json").read_text())["benchmarks"]
    assert (
        f"{100 * summary['easy-vqa']['accuracy']['value']:.1f}\u00a0% (" in card
        and "iteration 1, reasoner" in card
    )
    first = export(finished, tmp_path / "first", role="questioner", iteration=0, form="adapter")
    assert (
        load_file(first / "adapter_model.safetensors").keys()
        == load_file(adapters["reasoner"].path / "adapter_model.safetensors").keys()
    )
    assert served(merged, prompts, log=tmp_path / "server.log") == [g[0].text for g in want]
    with pytest.raises(RunError, match="not empty"):
        export(finished, tmp_path / "first", role="questioner", iteration=0, form="adapter")
    with pytest.raises(RunError, match=r"iteration 2 .* is not finished; finished are \[0, 1\]"):
        export(finished, tmp_path / "none", role="reasoner", iteration=2, form="adapter")


@pytest.mark.extra
def test_an_exported_adapter_is_served_under_its_name(finished: Path, tmp_path: Path) -> None:
    """As `vllm serve BASE --enable-lora --lora-modules NAME=FOLDER` does."""
    out = export(finished, tmp_path / "out")
    model, processor = load_base(Model(path="pocket", dtype="float32"))
    adapted = PeftModel.from_pretrained(model, str(out)).merge_and_unload()
    prompts = [
        reasoner_prompt(render(scene), "How many shapes are there?", words=Prompts())
        for scene in sample_scenes(8, split="development", seed=2)
    ]
    engine = TransformersEngine(adapted, processor)
    greedy = Sampling(temperature=0, max_tokens=96)
    want = engine.generate(prompts, adapter=AdapterVersion(name="base", version=0), sampling=greedy)
    base = Model(path="pocket").source
    got = served(base, prompts, log=tmp_path / "server.log", adapter=out)
    assert got == [w[0].text for w in want]


def test_ask_shows_questions_and_votes_and_lets_no_text_steer_the_terminal(
    finished: Path, tmp_path: Path
) -> None:
    render(next(sample_scenes(1, split="development", seed=4))).save(tmp_path / "one.png")
    rows = ask(finished, tmp_path / "one.png", iteration=None, questions=6, seed=0, display=Display())
    assert len(rows) == 6
    table = visplay.open_run(finished).ask(str(tmp_path / "one.png"), questions=6)
    assert table["completion"].to_pylist() == [row.completion for row in rows]
    assert table["kept"].to_pylist() == [not row.reject for row in rows]
    for row in rows:
        assert isinstance(row.question, Question) == (row.vote is not None) and row.truth is None
        assert row.vote is None or row.vote.samples == 4
    console = Console(width=160, record=True)
    rows[0].question = Question(type="numerical", question="[red]Is it?\x1b[2J", answer="")
    rows[0].vote = rewards.vote(["\x07no"] * 4)
    print_asked(rows, console)
    text = console.export_text()
    assert (
        "[red]Is it?\ufffd[2J" in text
        and "4 x \ufffdno" in text
        and "\x1b" not in text
        and "\x07" not in text
    )


def test_a_finished_run_does_nothing_when_started_again(finished: Path, pictures: Path) -> None:
    kept = ("metrics.jsonl", "journal.jsonl", "iteration-1/reasoner/rollouts.parquet")
    before = [digest(finished / name) for name in kept]
    selfplay(config(pictures, finished.parent), display=Display())
    assert [digest(finished / name) for name in kept] == before


def test_stopped_killed_and_started_again_it_ends_as_if_nothing_had_happened(
    finished: Path, pictures: Path, tmp_path: Path
) -> None:
    settings = config(pictures, tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(settings.model_dump(mode="json")))  # JSON is YAML
    command = ["train", str(file)]
    stopped = Started(command, tmp_path / "said")
    stopped.wait_for(settings.folder / "iteration-0/evaluation.partial/unfinished")
    asked = time.monotonic()
    code, _, said = stopped.end(signal.SIGTERM)
    assert code == 128 + signal.SIGTERM and time.monotonic() - asked < 10
    assert f"stopped; all finished steps are kept; resume with: visplay train {file}" in said
    assert Run(settings.folder).is_open() is False
    console = Console(width=200, record=True)
    print_runs(tmp_path, console)
    listed = console.export_text()
    assert "stopped, contamination" in listed and "0/1" in listed
    for step in ("iteration-1/questioner", "iteration-1/reasoner"):
        killed = Started(command, tmp_path / "said")
        killed.wait_for(settings.folder / f"{step}.partial" / "unfinished" / "checkpoint.json")
        assert killed.end(signal.SIGKILL)[0] == 128 + signal.SIGKILL
        assert not (settings.folder / step).exists()
    code, printed, _ = Started(command, tmp_path / "said").end()
    assert code == 0 and "pocket-dusk" in printed
    assert digest(settings.folder / "metrics.jsonl") == digest(finished / "metrics.jsonl")
    adapters = [
        load_file(run / "iteration-1/reasoner/adapter/adapter_model.safetensors")
        for run in (finished, settings.folder)
    ]
    assert all((adapters[0][name] == adapters[1][name]).all() for name in adapters[0])
    assert (settings.folder / "report.html").stat().st_size > 100_000


def test_an_alarm_stops_the_run_or_takes_it_back_to_the_best_adapters(pictures: Path, tmp_path: Path) -> None:
    """So high a learning rate destroys the Reasoner within two steps."""
    destructive = {
        "iterations": 2, "questioner": {**SMALL["questioner"], "steps": 0},
        "optimizer": {"learning_rate": 0.1, "micro_batch_size": 8},
        "evaluation": {"benchmarks": ["pocket-dusk"], "limit": 24, "maj_limit": 0, "blind_limit": 0},
    }  # fmt: skip
    stopping = config(pictures, tmp_path, health={"action": "stop"}, **destructive)
    with pytest.raises(
        HealthAlarm, match=r"iteration 1 raised alarms: .*accuracy_change.*health\.action=warn"
    ):
        selfplay(stopping, display=Display())
    # As if it had been told so at once: what the iteration ended with is done again.
    journal = stopping.folder / "journal.jsonl"
    *kept, last = journal.read_text().splitlines(keepends=True)
    assert json.loads(last)["step"] == "iteration-1/health"
    journal.write_text("".join(kept))
    shutil.rmtree(stopping.folder / "iteration-1/health")
    back = config(pictures, tmp_path, health={"action": "roll_back"}, **destructive)
    run = selfplay(back, display=Display())
    assert json.loads((run / "iteration-1/health/alarms.json").read_text())["rolled_back_to"] == 0
    weights = [
        load_file(run / folder / "adapter_model.safetensors")
        for folder in ("iteration-0/adapters/shared-0", "iteration-1/health/reasoner/adapter")
    ]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    measured = roles_after(run, iteration=1)[1]["reasoner"]
    again = kept_adapter(run / "iteration-1/health/reasoner")
    trained = kept_adapter(run / "iteration-2/reasoner")
    assert measured.version < again.version < trained.version  # no number names two weights
    first, second = (
        json.loads((run / f"iteration-{i}/curation/summary.json").read_text())["valid"] for i in (1, 2)
    )
    assert second > 0.8 * first > 0  # it asks like the base again


def test_two_adapters_and_random_rewards(pictures: Path, tmp_path: Path) -> None:
    small = {**SMALL["evaluation"], "benchmarks": ["pocket-clean"], "limit": 4, "maj_limit": 0}
    run = selfplay(
        config(
            pictures, tmp_path, adapters="per_role", control="random_reward", evaluation=small, **SCRIPTED
        ),
        display=Display(),
    )
    noted = {
        role: json.loads((run / f"iteration-1/{role}/adapter.json").read_text())["name"]
        for role in ("questioner", "reasoner")
    }
    assert noted == {"questioner": "questioner", "reasoner": "reasoner"}
    answered = pq.read_table(run / "iteration-1/reasoner/rollouts.parquet").to_pylist()
    agreed = [f"\\boxed{{{row['silver_answer']}}}" in row["completion"] for row in answered]
    assert agreed != [row["reward"] == 1.0 for row in answered]  # the lot does not know the silver answer


def test_an_untrained_questioner_asks_again_after_many_versions_of_the_reasoner(
    pictures: Path, tmp_path: Path
) -> None:
    small = {**SMALL["evaluation"], "benchmarks": ["pocket-clean"], "limit": 4, "maj_limit": 0}
    values = {
        "adapters": "per_role", "iterations": 2, "evaluation": small,
        "questioner": {**SMALL["questioner"], "steps": 0}, "reasoner": {**SMALL["reasoner"], "steps": 4},
    }  # fmt: skip
    run = selfplay(config(pictures, tmp_path, **values), display=Display())
    assert pq.read_table(run / "iteration-2/curation/candidates.parquet").num_rows > 0


def test_too_few_silver_examples_are_an_error_that_says_what_to_do(pictures: Path, tmp_path: Path) -> None:
    untrained = {**SMALL["questioner"], "steps": 0}
    few = {"questions_per_image": 1, "images": 2}
    settings = config(pictures, tmp_path, curation=few, questioner=untrained, **SCRIPTED)
    with pytest.raises(TooFewExamples, match="silver examples and one step needs 4; ask about more images"):
        selfplay(settings, display=Display())


def test_photographs_go_all_the_way(tmp_path: Path) -> None:
    """The pocket VLM knows nothing of photographs; what is shown is that they pass through every phase."""
    import skimage

    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name in ("astronaut.png", "coffee.png", "chelsea.png", "camera.png", "rocket.jpg", "horse.png"):
        shutil.copy(Path(skimage.__file__).parent / "data" / name, photographs / name)
    Image.open(photographs / "coffee.png").convert("CMYK").save(photographs / "cmyk.jpg")
    run = selfplay(
        config(
            photographs, tmp_path, curation={**SMALL["curation"], "low": 0.0, "high": 1.0},
            questioner={**SMALL["questioner"], "steps": 1}, reasoner={**SMALL["reasoner"], "steps": 1},
            evaluation={"benchmarks": ["easy-vqa"], "limit": 4, "maj_limit": 0, "blind_limit": 0},
        ),
        display=Display(),
    )  # fmt: skip
    health = json.loads((run / "iteration-1/curation/summary.json").read_text())
    assert health["questions"] == 14 and health["valid"] > 0
    assert health["silver_accuracy"] is None  # nobody knows the truth about a photograph
