"""`import visplay`: what it gives, what it costs, and what reading a run does not do."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import visplay
from tests.visplay.test_extending import SMALL, scripted
from visplay.config.loading import check_config, dump_config
from visplay.errors import ConfigError, CorruptArtifact, EvaluationError, RunError
from visplay.evaluation.comparison import find_side
from visplay.evaluation.export import export
from visplay.evaluation.silver import export_silver
from visplay.evaluation.target import find_target
from visplay.loop.selfplay import play
from visplay.report import write_report
from visplay.report.comparison import write_comparison


def test_everything_that_is_promised_is_there() -> None:
    for name in visplay.__all__:
        assert getattr(visplay, name).__doc__, name
    assert set(visplay.__all__) == set(visplay._HOMES) and set(visplay.__all__) <= set(dir(visplay))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        visplay.trian  # noqa: B018 - the attribute is what is tested
    for package in ("visplay", "rollouts", "rewards"):
        assert (Path(visplay.__file__).parents[1] / package / "py.typed").is_file()


def test_a_configuration_is_made_of_a_mapping_with_the_checks_of_a_file() -> None:
    config = visplay.load_config({"images": {"source": "photos"}, "method": "steady"}, ["seed=3"])
    assert str(config.images.source) == "photos" and config.seed == 3
    assert config == check_config({"images": {"source": "photos"}, "method": "steady", "seed": 3})
    with pytest.raises(
        ConfigError, match="images: this key is required\nimage: no such key; did you mean 'images'"
    ):
        visplay.load_config({"image": {"source": "photos"}})
    assert visplay.load_config(config) == config
    assert visplay.load_config(config, ["method=paper"]).curation == config.curation  # its own values stay
    with pytest.raises(ConfigError, match="overide"):
        visplay.load_config({"images": {"source": "photos"}}, ["overide"])


def test_plan_and_doctor_are_there_without_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    visplay.plan(visplay.load_config({"images": {"source": "nowhere"}, "model": {"path": "pocket"}}))
    assert "Counted and added up, not measured" in capsys.readouterr().out
    visplay.plan("configs/demo.yaml")  # a file is as good as what it holds
    assert "Counted and added up, not measured" in capsys.readouterr().out
    assert any("torch" in finding.what for finding in visplay.doctor())


def test_files_of_ones_own_named_as_our_packages_hide_nothing(tmp_path: Path) -> None:
    for name in ("rewards", "rollouts"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not ours')\n")
    (tmp_path / "mine.py").write_text("def f(): return 3\n")
    for start in (["-m", "visplay", "config", "keys"], ["-c", "import visplay, rewards; rewards.vote"]):
        done = subprocess.run(
            [sys.executable, *start], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    program = (
        "import sys; sys.path.remove(''); from visplay.config.names import named; named('mine:f', key='k')()"
    )
    subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True
    )  # found where visplay is started


def test_other_packages_are_quiet_from_the_first_use() -> None:
    """`load_config` stands for all of it: what is kept quiet must be so before torch is imported."""
    program = "import os, visplay; visplay.load_config; print(os.environ['TRANSFORMERS_VERBOSITY'])"
    for given, expected in ((None, "error"), ("info", "info")):
        own = {"TRANSFORMERS_VERBOSITY": given} if given else {}
        environment = {k: v for k, v in os.environ.items() if k != "TRANSFORMERS_VERBOSITY"} | own
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == expected


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "pictures").mkdir()
    for shade in range(4):
        Image.new("RGB", (96, 96), (60 * shade, 90, 120)).save(folder / "pictures" / f"{shade}.png")
    small = {
        **SMALL, "images": {"source": str(folder / "pictures")}, "output": str(folder), "name": "run",
        "iterations": 2, "questioner": {**SMALL["questioner"], "types": ["numerical"]},
    }  # fmt: skip
    ctx = scripted(check_config(small))
    with ctx.run.opened(ctx.config):
        play(ctx)
        ctx.images.write_manifest(ctx.run.folder)
    # As a run that was begun elsewhere, with code that is not here and a base whose code was trusted.
    foreign = check_config(
        {
            **small, "loop": "nowhere:loop", "judge": {"function": "nowhere:judge"},
            "rewards": {"questioner_terms": {"nowhere:reward": 1.0}},
            "model": {**SMALL["model"], "trust_remote_code": True},
        }
    )  # fmt: skip
    (ctx.run.folder / "config.yaml").write_text(dump_config(foreign))
    return ctx.run.folder


@pytest.mark.slow
def test_a_run_is_opened_as_tables(finished: Path) -> None:
    run = visplay.open_run(finished)
    assert len(run.candidates()) == 2 * 4 and set(run.candidates(2)["iteration"].to_pylist()) == {2}
    assert run.candidates(1).schema.equals(run.candidates(2).schema)
    assert run.rollouts("questioner", 1).num_rows == 4 and run.rollouts("reasoner").num_rows == 8
    samples = run.samples(iteration=0).to_pylist()
    assert [row["round"] for row in samples] == ["greedy"] * 4 and samples[0]["benchmark"] == "pocket-dusk"
    (key, *_) = run.candidates()["image_key"].to_pylist()
    assert run.picture(key).size == run.picture().size == (96, 96)
    with pytest.raises(RunError, match="has no picture 'none'; take a key from the column image_key"):
        run.picture("none")
    with pytest.raises(RunError, match=r"has no iteration 9; it has \[0, 1, 2\]"):
        run.candidates(9)
    with pytest.raises(RunError, match="trains no role 'resoner'; its roles are questioner, reasoner"):
        run.rollouts("resoner")
    assert run.evaluations[2]["pocket-dusk"]["n"] == 4 and run.config.iterations == 2
    assert [row["iteration"] for row in run.metrics if row["phase"] == "curation"] == [1, 2]
    (compared,) = visplay.compare(f"{finished}@0", f"{finished}@2")
    assert compared.n == 4 and visplay.compare(finished) == [compared]
    assert visplay.compare(f"{finished}@2") == [compared]
    sides = [find_side(f"{finished}@{i}") for i in (0, 2)]
    page = write_comparison(finished.parent / "page.html", *sides, [compared]).read_text()
    heads = page.split("<thead>")[1].split("</thead>")[0]  # the verdict is seen without scrolling
    assert heads.index(">verdict<") < heads.index(">questions<") and ">p<" not in heads
    assert run.report(finished.parent / "own.html") == finished.parent / "own.html"
    assert "pocket-dusk" in (finished.parent / "own.html").read_text()
    shown = run._repr_html_()
    assert "<td>pocket-dusk</td>" in shown and "<td>base</td><td>1</td><td>2</td>" in shown
    with pytest.raises(RunError, match=r"holds no config\.yaml"):
        visplay.open_run(finished.parent)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("journal.jsonl", '{"stp": 1}\n', visplay.open_run),
        ("journal.jsonl", '{"stp": 1}\n', lambda run: find_side(str(run))),
        ("metrics.jsonl", "[1]\n", visplay.open_run),
        ("iteration-2/evaluation/summary.json", '{"bench', visplay.open_run),
        ("iteration-2/evaluation/summary.json", "[]", write_report),
        ("iteration-2/evaluation/evaluation.json", "{", lambda run: find_side(str(run))),
        ("iteration-2/health/roles.json", "{}", lambda run: find_target(str(run), trust_remote_code=True)),
        ("iteration-2/health/roles.json", None, lambda run: find_target(str(run), trust_remote_code=True)),
        ("iteration-2/curation/candidates.parquet", "PAR1", lambda run: visplay.open_run(run).candidates()),
        ("iteration-2/curation/candidates.parquet", "PAR1", lambda run: export_silver(run, run / "../out")),
        ("iteration-2/curation/summary.json", "{", lambda run: export_silver(run, run / "../out")),
        ("manifest.parquet", "PAR1", lambda run: export_silver(run, run / "../out")),
        ("manifest.parquet", None, lambda run: visplay.open_run(run).picture()),
    ],
)
def test_a_damaged_file_is_named(
    finished: Path, tmp_path: Path, name: str, text: str | None, read: Callable[[Path], object]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / name).unlink() if text is None else (run / name).write_text(text)
    with pytest.raises(CorruptArtifact, match=re.escape(name)):
        read(run)


@pytest.mark.slow
def test_a_file_of_samples_that_is_no_text_is_named(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    samples = tmp_path / "run/iteration-2/evaluation/pocket-dusk/greedy.jsonl"
    samples.write_bytes(b"\xff\x00junk\n" + samples.read_bytes())
    with pytest.raises(EvaluationError, match=r"greedy\.jsonl, line 1: not a stored sample"):
        visplay.compare(tmp_path / "run")


def test_wrong_arguments_are_named() -> None:
    for starts in (visplay.train, visplay.plan, lambda path: list(visplay.doctor(path))):
        with pytest.raises(ConfigError, match=r"there is no configuration file mine\.yaml"):
            starts("mine.yaml")
    with pytest.raises(ValueError, match=r"benchmarks must name one, .* got \[\]"):
        visplay.evaluate("pocket", [])
    with pytest.raises(ValueError, match=r"limit must be >= 1, got .* and 0"):
        visplay.evaluate("pocket", "pocket-dusk", limit=0)
    with pytest.raises(EvaluationError, match="there is no run"):  # a path is as good as text
        visplay.evaluate(Path("nowhere.yaml"), "pocket-dusk")


@pytest.mark.slow
def test_reading_a_run_imports_nothing_that_it_names(finished: Path, tmp_path: Path) -> None:
    write_report(finished)
    assert (export(finished, tmp_path / "out") / "adapter_model.safetensors").is_file()
    with pytest.raises(RunError, match="trains no role 'critic'; it trains questioner, reasoner"):
        export(finished, tmp_path / "none", role="critic")


@pytest.mark.slow
def test_code_of_a_foreign_runs_base_is_trusted_here_or_not_at_all(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loads its base VLM 'pocket' with .*--trust-remote"):
        find_target(str(finished))
    assert find_target(str(finished), trust_remote_code=True).model.trust_remote_code
    with pytest.raises(ConfigError, match="--trust-remote-code"):
        export(finished, tmp_path / "merged", form="merged")
    assert not find_target("owner/name").model.trust_remote_code
