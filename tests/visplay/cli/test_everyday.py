"""What people do every day: `~`, other folders, `@` in names, terminals that are not UTF-8, full disks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from visplay.cli.main import app
from visplay.config.loading import Config, dump_config, load_config
from visplay.config.yaml_text import read_yaml
from visplay.errors import ConfigError, EvaluationError, ImageSourceError
from visplay.evaluation.target import find_target
from visplay.pocket.truth import write_pictures
from visplay.runs.shutdown import what_to_do

ROOT = Path(__file__).parents[3]


def written(folder: Path, **values: object) -> Path:
    file = folder / "c.yaml"
    file.write_text(json.dumps({"images": {"source": "pictures"}, **values}))
    return file


def test_a_run_stores_paths_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "base").mkdir()
    config = load_config(written(tmp_path, model={"path": "base"}, output="~/runs"))
    assert config.model.path == str(tmp_path / "base")
    assert config.images.source == tmp_path / "pictures"
    assert config.output == tmp_path / "runs"
    config = load_config(written(tmp_path, model={"path": "~/base"}), ["images.source=hub:owner/set:train"])
    assert config.model.path == str(tmp_path / "base")
    assert str(config.images.source) == "hub:owner/set:train"
    assert load_config(written(tmp_path)).model.path == "pocket"


def test_a_seed_is_of_32_bits(tmp_path: Path) -> None:
    assert load_config(written(tmp_path), ["seed=4294967295"]).seed == 2**32 - 1
    with pytest.raises(ConfigError, match="seed: input should be less than 4294967296"):
        load_config(written(tmp_path), ["seed=4294967296"])


@pytest.mark.parametrize("text", ["& be brief", "* star", "!important"])
def test_an_override_keeps_its_first_word(text: str, tmp_path: Path) -> None:
    assert load_config(written(tmp_path), [f"prompts.system={text}"]).prompts.system == text


def test_a_folder_may_have_an_at_in_its_name(tmp_path: Path) -> None:
    run = tmp_path / "me@home"
    run.mkdir()
    (run / "journal.jsonl").write_text("")
    with pytest.raises(Exception, match="has no finished evaluation"):  # it was taken for a run
        find_target(str(run))


def test_a_file_that_is_no_target_and_no_picture_is_said_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"there is no run, adapter or checkpoint mine\.yaml"):
        find_target("mine.yaml")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(dump_config(load_config(written(tmp_path))))
    error = CliRunner().invoke(app, ["ask", str(run), str(tmp_path / "no.jpg")]).exception
    assert isinstance(error, ImageSourceError) and "is not there; the order is RUN PICTURE" in str(error)


def test_a_runs_folder_resumes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it was moved to, with the configuration that it holds."""
    run = tmp_path / "elsewhere" / "7"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(dump_config(load_config(written(tmp_path), ["seed=3", "name=old"])))
    given: list[Config] = []
    monkeypatch.setattr("visplay.loop.selfplay.selfplay", lambda config, **_: given.append(config) or run)
    CliRunner().invoke(app, ["train", str(run), "threads=1"])
    assert [(one.folder, one.seed, one.threads) for one in given] == [(run, 3, 1)]


def test_a_configuration_is_shown_whole_and_has_a_schema(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["config", "show", str(written(tmp_path)), "method=steady"])
    whole = read_yaml(shown.stdout)
    assert whole["curation"]["low"] == 0.5 and whole["lora"]["rank"] == 16
    schema = json.loads(CliRunner().invoke(app, ["config", "keys", "--schema"]).stdout)
    assert set(schema["properties"]) == set(Config.model_fields)


def test_pictures_are_never_mixed_with_others(tmp_path: Path) -> None:
    write_pictures(tmp_path / "new", count=2, seed=1, style="dusk")
    before = sorted(path.name for path in (tmp_path / "new").iterdir())
    with pytest.raises(ConfigError, match="is not empty"):
        write_pictures(tmp_path / "new", count=3, seed=2, style="dusk")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == before


def visplay(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "visplay", *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | environment)


def test_a_terminal_that_is_not_utf8_ends_no_command(tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9" / "run").mkdir(parents=True)
    (tmp_path / "caf\u00e9" / "run" / "journal.jsonl").write_text("")
    done = visplay("runs", str(tmp_path / "caf\u00e9"), PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and b"Traceback" not in done.stderr and b"caf?" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_is_said() -> None:
    command = [sys.executable, "-m", "visplay", "config", "keys"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: the disk is full") and "give the command again" in done.stderr


def test_a_place_that_cannot_be_written_to_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    onto_a_file = ["pocket", "images", str(tmp_path / "file"), "--count", "1"]
    done = visplay(*onto_a_file)
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: a path cannot be used (")
    for arguments in (
        onto_a_file,
        ["config", "init", "pocket", str(tmp_path), "--out", str(tmp_path / "file" / "c.yaml")],
        ["config", "init", "pocket", str(tmp_path), "--out", str(tmp_path / ("n" * 300))],
        ["pocket", "images", "/proc/pictures", "--count", "1"],
    ):
        error = CliRunner().invoke(app, arguments).exception
        assert isinstance(error, OSError) and str(what_to_do(error)).startswith("a path cannot be used (")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_name_that_is_not_utf8_is_said(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    inside = subprocess.run(
        [sys.executable, "-m", "visplay", "report", "run"],
        cwd=folder, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    for done in (visplay("report", os.fsdecode(folder) + "/run"), inside):
        assert done.returncode == 1 and b"Traceback" not in done.stderr
        assert b"caf\\udce9" in done.stderr and b"is not in UTF-8" in done.stderr
