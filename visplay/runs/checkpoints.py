"""The adapter versions that the steps of a run have left: which one plays which role after an iteration."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

from rollouts.engine import AdapterVersion
from visplay.errors import RunError
from visplay.runs.run import SEAL
from visplay.storage import read_jsonl, write_text

Adapters = dict[str, AdapterVersion]  # by role; with shared adapters both roles name the same version
ROLES = ("questioner", "reasoner")


def keep_adapter(trained: AdapterVersion, folder: Path) -> None:
    """Of all versions that a phase published, keep the last in the step's artifact `folder`."""
    assert trained.path is not None
    shutil.copytree(trained.path, folder / "adapter", dirs_exist_ok=True)
    write_text(folder / "adapter.json", json.dumps({"name": trained.name, "version": trained.version + 1}))


def kept_adapter(folder: Path) -> AdapterVersion:
    """The version that `keep_adapter` left."""
    note = json.loads((folder / "adapter.json").read_text())
    return AdapterVersion(name=note["name"], version=note["version"], path=folder / "adapter")


def with_trained(adapters: Adapters, role: str, trained: AdapterVersion) -> Adapters:
    """`trained` in place of the version it was trained from: one role's, or a shared one."""
    return {r: trained if r == role or trained.name == "shared" else adapters[r] for r in adapters}


def first_adapters(folder: Path) -> Adapters:
    """The versions that a run begins with, from the artifact of the step that created them."""
    created = {path.name.removesuffix("-0"): path for path in folder.glob("*-0")}
    names = {role: role if role in created else "shared" for role in ROLES}
    return {role: AdapterVersion(name=n, version=0, path=created[n]) for role, n in names.items()}


def adapters_after(run: Path, *, iteration: int | None = None) -> tuple[int, Adapters]:
    """Who plays which role after an iteration of a run; the last finished one by default.

    An iteration's own versions are those that it was measured with; a roll-back counts from the next one on.

    Returns:
        The iteration, 0 for the base with adapters that change nothing yet, and the versions by role.

    Raises:
        RunError: not a run's folder, or the iteration is not finished, or its adapters were pruned.
    """
    steps = {entry["step"] for entry in read_jsonl(run / "journal.jsonl")}
    measured = sorted(int(re.findall(r"\d+", step)[0]) for step in steps if step.endswith("/evaluation"))
    if not measured:
        raise RunError(f"{run} holds no finished evaluation; give the folder of a run, runs/NAME")
    last = measured[-1] if iteration is None else iteration
    if last not in measured:
        raise RunError(f"iteration {last} of {run} is not finished; finished are {measured}")
    adapters = _versions_after(run, last, steps=steps)
    if any(adapter.path is None or not adapter.path.is_dir() for adapter in adapters.values()):
        raise RunError(f"the adapters of iteration {last} of {run} were removed (checkpoints.keep_last)")
    return last, adapters


def superseded(run: Path, *, last: int, kept: set[int], current: Adapters) -> list[str]:
    """Folders of adapters, relative to the run's, that no iteration in `kept` needs, nor what comes next."""
    steps = {entry["step"] for entry in read_jsonl(run / "journal.jsonl")}
    needed = {adapter.path for adapter in current.values()}
    for iteration in kept:
        needed |= {adapter.path for adapter in _versions_after(run, iteration, steps=steps).values()}
    old = [run / f"iteration-{i}" for i in range(1, last + 1) if i not in kept]
    found = [path for folder in old for step in sorted(folder.glob("*/")) for path in step.rglob("adapter")]
    return [str(path.relative_to(run)) for path in found if path not in needed and _is_sealed(path)]


def _is_sealed(adapter: Path) -> bool:
    """Whether its step lists its files one by one, so that some of them can go."""
    return any((folder / SEAL).exists() for folder in adapter.parents)


def _versions_after(run: Path, last: int, *, steps: set[str]) -> Adapters:
    adapters = first_adapters(run / "iteration-0" / "adapters")
    for number in range(1, last + 1):
        for step in (f"iteration-{number}/{role}" for role in ROLES):
            if step in steps:
                adapters = with_trained(adapters, step.split("/")[1], kept_adapter(run / step))
        if number < last:
            adapters = rolled_back(adapters, run / f"iteration-{number}" / "health")
    return adapters


def keep_roll_back(current: Adapters, best: Adapters, folder: Path) -> None:
    """Keep the best versions under numbers of their own, so that no number ever names two weights."""
    for role in {adapter.name: role for role, adapter in best.items()}.values():  # a shared one once
        keep_adapter(replace(best[role], version=current[role].version), folder / role)


def rolled_back(adapters: Adapters, folder: Path) -> Adapters:
    """The versions that `keep_roll_back` left in a step's folder, or, where it left none, `adapters`."""
    for role in ROLES:
        if (folder / role).is_dir():
            adapters = with_trained(adapters, role, kept_adapter(folder / role))
    return adapters
