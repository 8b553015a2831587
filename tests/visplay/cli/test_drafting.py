"""`visplay config init`: what it writes loads, fits, and says what its keys mean."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests.visplay.cli.test_planning import released
from tests.visplay.models.released_sizes import SHIPPED, needs_processors
from visplay.cli.main import app
from visplay.cli.plan import LEAST_MICRO, MOST_MICRO, card_here, draft
from visplay.config.loading import load_config
from visplay.errors import ConfigError
from visplay.models.memory import find_card
from visplay.planning.plan import make_plan
from visplay.pocket.truth import write_pictures

GUIDE = Path(__file__).parents[3] / "docs" / "one-gpu.md"
ROWS = {"qwen2.5-vl-3b": "Qwen2.5-VL-3B", "qwen2.5-vl-7b": "Qwen2.5-VL-7B"}


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_the_pocket_vlm_on_its_own_scenes(tmp_path: Path) -> None:
    pictures, file = tmp_path / "pictures", tmp_path / "mine.yaml"
    write_pictures(pictures, count=3, seed=0, style="dusk")
    said = run("config", "init", "pocket", str(pictures), "--out", str(file))
    assert f"visplay plan {file}" in said and said.startswith(
        "The VLM pocket of the package: minutes on two CPU cores"
    )
    config = load_config(file)
    assert config.name == "mine" and config.model.path == "pocket" and config.images.source == pictures
    text = file.read_text()
    assert "# 3 pictures in" in text and "asks; rewarded for diverse questions" in text
    assert "in all" in run("plan", str(file))


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    done = CliRunner().invoke(app, ["config", "init", "pocket", "photos", "--out", str(file)])
    assert isinstance(done.exception, ConfigError) and "already exists" in str(done.exception)
    assert file.read_text() == "mine"


def test_pictures_that_are_not_there_yet_are_said(tmp_path: Path) -> None:
    assert "# No pictures yet" in draft("pocket", str(tmp_path / "none"), card=None, file=None)


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no processor"):
        draft(str(tmp_path), "photos", card=find_card("h100"), file=None)
    with pytest.raises(ConfigError) as caught:  # it has the form of a hub id
        draft("runs/nope", "photos", card=find_card("h100"), file=None)
    said = str(caught.value)
    assert "no processor on the hub, and no folder here, named 'runs/nope': " in said and "\n" not in said


@pytest.mark.parametrize(("major", "half"), [(7, "float16"), (9, "bfloat16")])
def test_the_type_is_one_that_the_card_computes_in(
    major: int, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = SimpleNamespace(name="card", total_memory=15 << 30, major=major)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda place: about)
    card = card_here()
    assert card and card.half == half
    assert [find_card(name).half for name in ("t4", "h100")] == ["float16", "bfloat16"]


@needs_processors
@pytest.mark.slow
def test_a_card_without_bfloat16_gets_float16(tmp_path: Path) -> None:
    model = str(released("smolvlm2-500m", tmp_path / "model").model.path)
    text = draft(model, "photos", card=find_card("t4"), file=Path("mine.yaml"))
    assert "dtype: float16\n" in text and "# visplay plan mine.yaml --card t4     memory" in text


@needs_processors
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_each_shipped_family_gets_what_fits(name: str, tmp_path: Path) -> None:
    """It loads, and its micro-batch is the largest that the planner says fits the card."""
    card = "rtx4090" if name in ("qwen2.5-vl-3b", "smolvlm2-500m") else "a100-80"
    base, file = tmp_path / "base", tmp_path / "mine.yaml"
    released(name, base)
    run("config", "init", str(base), "photos", "--out", str(file), "--card", card)
    config = load_config(file)
    plan, text = make_plan(config, on_gpu=True), file.read_text()
    most = plan.largest_micro(find_card(card), "asleep")
    assert LEAST_MICRO <= config.optimizer.micro_batch_size == min(most, MOST_MICRO)
    planned = f"{plan.together('asleep') / 1e9:.1f} GB"
    assert planned in text
    if row := ROWS.get(name):  # of docs/one-gpu.md
        (line,) = [line for line in GUIDE.read_text().splitlines() if line.startswith(f"| {row} |")]
        lengths = f"{config.questioner.max_tokens:,}, {config.reasoner.max_tokens:,} tokens"
        assert f"| {lengths} | {config.optimizer.micro_batch_size} | {planned} |" in line


@needs_processors
@pytest.mark.slow
def test_a_card_that_is_too_small_is_said(tmp_path: Path) -> None:
    base = tmp_path / "base"
    released("qwen2.5-vl-7b", base)
    file = tmp_path / "mine.yaml"
    said = run("config", "init", str(base), "photos", "--out", str(file), "--card", "l4")
    for text in (said, file.read_text()):
        assert "DOES NOT FIT" in text and "of 24 GiB (25.8 GB): `visplay plan` expects " in text


@needs_processors
def test_without_a_card_it_says_that_it_takes_days(tmp_path: Path) -> None:
    base = tmp_path / "base"
    released("smolvlm2-500m", base)
    text = draft(str(base), "photos", card=None, file=None)
    assert "takes days" in text and "device: cpu" in text
