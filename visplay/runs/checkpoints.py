"""The adapter versions of a run: their numbers, and the roles that they play.

A number identifies one set of weights and is never used twice. Each publication in a phase takes the next
number, the result of a phase takes another one (`promote`), and so does a roll-back (`promote_back`).
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rollouts.engine import AdapterVersion
from visplay.errors import RunError
from visplay.runs.results import read_with, run_steps
from visplay.runs.run import require_format
from visplay.storage import PARTIAL, write_text

Roles = dict[str, AdapterVersion]  # with shared adapters all roles name the same version
ROLES = "roles.json"  # in the step that ends an iteration: the version of each role


def numbered(root: Path, name: str, version: int) -> AdapterVersion:
    """A version whose path is its folder below `root`; the folder need not exist yet."""
    return AdapterVersion(name=name, version=version, path=root / f"{name}-{version}")


def next_version(version: AdapterVersion, root: Path) -> AdapterVersion:
    """The next version, in its folder below `root`."""
    return numbered(root, version.name, version.version + 1)


def promote(version: AdapterVersion, *, into: Path) -> AdapterVersion:
    """Copy the weights to a step's folder under a new number, as the result of the step.

    Returns:
        The new version, in `into`.
    """
    assert version.path is not None
    kept = replace(version, version=version.version + 1, path=into / "adapter")
    shutil.copytree(version.path, into / "adapter", dirs_exist_ok=True)
    write_text(into / "adapter.json", json.dumps({"name": kept.name, "version": kept.version}))
    return kept


def promote_back(current: Roles, best: Roles, *, into: Path) -> Roles:
    """Copy earlier versions to a step's folder under new numbers; returns the resulting roles."""
    following = current
    for role in {adapter.name: role for role, adapter in best.items()}.values():  # a shared one once
        renumbered = replace(best[role], version=current[role].version)
        following = with_trained(following, role, promote(renumbered, into=into / role))
    return following


def kept_adapter(folder: Path) -> AdapterVersion:
    """The version that `promote` wrote to a step's folder."""
    note = json.loads((folder / "adapter.json").read_text())
    return AdapterVersion(name=note["name"], version=note["version"], path=folder / "adapter")


def with_trained(roles: Roles, role: str, trained: AdapterVersion) -> Roles:
    """Replace a role's version by `trained`; a shared version is replaced in all roles."""
    return {r: trained if r == role or trained.name == "shared" else roles[r] for r in roles}


def create_roles(folder: Path, *, names: Sequence[str]) -> Roles:
    """The roles at the start of a run: the versions 0 that its first step wrote."""
    shared = (folder / "shared-0").is_dir()
    return {name: numbered(folder, "shared" if shared else name, 0) for name in names}


def note_roles(folder: Path, measured: Roles, following: Roles, *, run: Path) -> None:
    """Record the roles of an iteration and those of the next one in a step's scratch folder."""
    final = folder.with_name(folder.name.removesuffix(PARTIAL))

    def noted(roles: Roles) -> dict[str, Any]:
        return {
            role: {"name": a.name, "version": a.version, "path": _relative(a, folder, final, run)}
            for role, a in roles.items()
        }

    write_text(folder / ROLES, json.dumps({"measured": noted(measured), "next": noted(following)}, indent=2))


def next_roles(folder: Path, *, run: Path) -> Roles:
    """The roles after the step that `note_roles` wrote to."""
    return _noted(folder, "next", run=run)


def roles_after(run: Path, *, iteration: int | None = None) -> tuple[int, Roles]:
    """The roles after an iteration of a run; the default is the last finished iteration.

    An iteration's versions are those that it was measured with; a roll-back takes effect in the next one.

    Returns:
        The iteration, 0 for the base with untrained adapters, and the versions by role.

    Raises:
        RunError: not a run's folder, or the iteration is not finished, or its adapters were removed.
    """
    require_format(run)
    steps = set(run_steps(run))
    finished = sorted(int(re.findall(r"\d+", step)[0]) for step in steps if step.endswith("/health"))
    if "iteration-0/evaluation" in steps:
        finished = [0, *finished]
    if not finished:
        raise RunError(f"{run} has no finished evaluation; name the folder of a run, runs/NAME")
    last = finished[-1] if iteration is None else iteration
    if last not in finished:
        raise RunError(f"iteration {last} of {run} is not finished; finished are {finished}")
    roles = _noted(_ending(run, last), "measured", run=run)
    if any(adapter.path is None or not adapter.path.is_dir() for adapter in roles.values()):
        raise RunError(f"the adapters of iteration {last} of {run} were removed")
    return last, roles


def _ending(run: Path, iteration: int) -> Path:
    """The folder of the step that records an iteration's roles."""
    return run / f"iteration-{iteration}" / ("health" if iteration else "adapters")


def _noted(folder: Path, when: str, *, run: Path) -> Roles:
    noted = read_with(lambda path: json.loads(path.read_bytes())[when], folder / ROLES)
    return {
        role: AdapterVersion(name=a["name"], version=a["version"], path=run / a["path"])
        for role, a in noted.items()
    }


def _relative(adapter: AdapterVersion, scratch: Path, final: Path, run: Path) -> str:
    assert adapter.path is not None
    inside = adapter.path.is_relative_to(scratch)
    return str((final / adapter.path.relative_to(scratch) if inside else adapter.path).relative_to(run))
