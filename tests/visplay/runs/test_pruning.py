import json
from pathlib import Path

import pytest

from rollouts.engine import AdapterVersion
from tests.visplay.loop.faulty import StopsAt, settings
from visplay.config.loading import Config, check_config
from visplay.errors import RunError
from visplay.loop.selfplay import selfplay
from visplay.pocket.truth import write_pictures
from visplay.runs.checkpoints import (
    kept_adapter,
    next_roles,
    note_roles,
    promote,
    promote_back,
    roles_after,
    superseded,
    with_trained,
)
from visplay.runs.run import PRUNED, Run
from visplay.storage import write_text


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


def pruned(run: Run, folders: list[str]) -> None:
    with run.step("iteration-3/pruning") as scratch:
        write_text(scratch / PRUNED, json.dumps(folders))


def begun(tmp_path: Path) -> Config:
    return check_config({"images": {"source": "x"}, "output": str(tmp_path / "runs")})


def test_what_no_kept_iteration_needs_goes(tmp_path: Path) -> None:
    config = begun(tmp_path)
    with Run(config.folder).opened(config) as run:
        three_iterations(run, tmp_path)
        current = roles_after(run.folder, iteration=3)[1]
        found = superseded(run.folder, last=3, kept={0, 1, 3}, current=current)
        assert found == [
            "iteration-2/health/reasoner/adapter", "iteration-2/questioner/adapter",
            "iteration-2/reasoner/adapter",
        ]  # fmt: skip
        # After the second iteration the run goes on from what the roll-back left, so that stays.
        back = roles_after(run.folder, iteration=2)[1]
        path = run.folder / "iteration-2/health/reasoner/adapter"
        back = {role: AdapterVersion(name="shared", version=22, path=path) for role in back}
        found = superseded(run.folder, last=2, kept={0}, current=back)
        assert "iteration-2/health/reasoner/adapter" not in found and len(found) == 4


def test_a_pruned_run_opens_names_what_is_gone_and_makes_good_a_kill(tmp_path: Path) -> None:
    config = begun(tmp_path)
    gone = "iteration-1/reasoner/adapter"
    with Run(config.folder).opened(config) as run:
        three_iterations(run, tmp_path)
        pruned(run, [gone])
        assert (run.folder / gone).exists()  # killed between list and removal
    with Run(config.folder).opened(config) as run:
        run.remove_pruned()
        assert not (run.folder / gone).exists()
    with Run(config.folder).opened(config) as run:
        run.remove_pruned()
    with pytest.raises(RunError, match=r"adapters of iteration 1 .* were removed \(checkpoints.keep_last\)"):
        roles_after(config.folder, iteration=1)
    assert roles_after(config.folder)[0] == 3


@pytest.mark.slow
def test_a_run_keeps_the_last_and_the_best_and_goes_on(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", count=16, seed=3, style="dusk")
    small = {
        "questioner": {"steps": 0, "types": ["numerical", "yes/no", "short answer"], "max_tokens": 48},
        "reasoner": {"steps": 1, "prompts_per_step": 2, "group_size": 2, "max_tokens": 64},
        "optimizer": {"learning_rate": 1e-3, "micro_batch_size": 4},
        "evaluation": {"benchmarks": ["pocket-dusk"], "limit": 6, "maj_limit": 0, "blind_limit": 0,
                       "split": "development"},
        "checkpoints": {"keep_last": 1},
    }  # fmt: skip
    for iterations in (2, 3):
        config = settings(tmp_path / "pictures", tmp_path, iterations=iterations, **small)
        run = selfplay(config, display=StopsAt())
    accuracy = [
        next(iter(json.loads(path.read_text())["benchmarks"].values()))["accuracy"]["value"]
        for path in sorted(run.glob("iteration-*/evaluation/summary.json"))
    ]
    kept = {0, accuracy.index(max(accuracy)), 3}
    there = {i for i in (1, 2, 3) if (run / f"iteration-{i}/reasoner/adapter").exists()}
    assert there == kept - {0}
    assert all((run / f"iteration-{i}/reasoner/rollouts.parquet").exists() for i in (1, 2, 3))
