"""Who plays which role after an iteration and after a roll-back; adapters that are gone are named."""

import shutil
from pathlib import Path

import pytest

from rollouts.engine import AdapterVersion
from visplay.config.loading import check_config
from visplay.errors import RunError
from visplay.runs.checkpoints import (
    kept_adapter,
    next_roles,
    note_roles,
    promote,
    promote_back,
    roles_after,
    with_trained,
)
from visplay.runs.run import Run


def weights(folder: Path, version: int) -> AdapterVersion:
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_text(f"weights {version}")
    return AdapterVersion(name="shared", version=version, path=folder)


def three_iterations(run: Run, elsewhere: Path) -> None:
    """Shared adapters; the second iteration was rolled back to the first."""
    with run.step("iteration-0/adapters") as scratch:
        first = weights(scratch / "shared-0", 0)
        roles = {"questioner": first, "reasoner": first}
        note_roles(scratch, roles, roles, run=run.folder)
    with run.step("iteration-0/evaluation") as scratch:
        (scratch / "summary.json").write_text("{}")
    for i in (1, 2, 3):
        for place, role in enumerate(("questioner", "reasoner")):
            version = 10 * i + place
            with run.step(f"iteration-{i}/{role}") as scratch:
                promote(weights(elsewhere / str(version), version), into=scratch)
            roles = with_trained(roles, role, kept_adapter(run.folder / f"iteration-{i}/{role}"))
        with run.step(f"iteration-{i}/evaluation") as scratch:
            (scratch / "summary.json").write_text("{}")
        with run.step(f"iteration-{i}/health") as scratch:
            following = roles
            if i == 2:
                best = roles_after(run.folder, iteration=1)[1]
                following = promote_back(roles, best, into=scratch)
            note_roles(scratch, roles, following, run=run.folder)
        roles = next_roles(run.folder / f"iteration-{i}/health", run=run.folder)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = check_config({"images": {"source": "x"}, "output": str(tmp_path / "runs")})
    with Run(config.folder).opened(config) as opened:
        three_iterations(opened, tmp_path)
    return opened


def test_a_roll_back_gives_new_numbers_and_counts_from_the_next_iteration_on(run: Run) -> None:
    measured = roles_after(run.folder, iteration=2)[1]["reasoner"]
    following = next_roles(run.folder / "iteration-2/health", run=run.folder)["reasoner"]
    first = roles_after(run.folder, iteration=1)[1]["reasoner"]
    assert (first.version, measured.version, following.version) == (12, 22, 23)
    texts = [(one.path / "adapter_model.safetensors").read_text() for one in (first, following) if one.path]
    assert texts == ["weights 11", "weights 11"]


def test_a_run_whose_adapters_were_removed_opens_and_names_them(run: Run, tmp_path: Path) -> None:
    shutil.rmtree(run.folder / "iteration-1/reasoner/adapter")
    config = check_config({"images": {"source": "x"}, "output": str(tmp_path / "runs")})
    with Run(config.folder).opened(config):
        pass
    with pytest.raises(RunError, match=r"adapters of iteration 1 .* were removed"):
        roles_after(config.folder, iteration=1)
    assert roles_after(config.folder)[0] == 3
