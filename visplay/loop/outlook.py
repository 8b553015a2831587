"""How long a run will still take, by what its finished steps took."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from visplay.config.loading import Config
from visplay.loop.workload import Work, evaluation_work, iteration_work
from visplay.storage import read_jsonl

PROMPT = 256  # tokens of a prompt, assumed: only the proportions of phases go by it
LEARNT = 3.0  # what a token that is learnt takes, in tokens that are generated, before both were seen


class Outlook:
    """Seconds left for a run.

    A step takes what the last finished one of its kind took. Before there is one it takes its share of the
    work that the plan counts in tokens, at the rate of the steps that are finished.

    Args:
        work: each step of the run in order, with its work in tokens.
        taken: step -> seconds, of those that are finished.
    """

    def __init__(self, work: Sequence[tuple[str, float]], taken: Mapping[str, float]) -> None:
        self._work, self._taken = dict(work), {k: v for k, v in taken.items() if k in dict(work)}

    def finished(self, step: str, seconds: float) -> None:
        """Note what a step took."""
        if step in self._work:
            self._taken[step] = seconds

    def left(self, step: str, *, since: float, own: float) -> float | None:
        """Seconds left for the run.

        Args:
            step: which is under way.
            since: `time.monotonic()` at its beginning.
            own: seconds left for its bar.

        Returns:
            None while no step has been finished by which it could be told.
        """
        if step not in self._work:
            return None
        later = list(self._work)[list(self._work).index(step) + 1 :]
        expected = [self._expected(name) for name in later if name not in self._taken]
        if any(seconds is None for seconds in expected):
            return None
        # A step may show several bars, one after the other; then more than this one's time is left.
        rest = (self._expected(step) or 0.0) - (time.monotonic() - since)
        return sum(seconds for seconds in expected if seconds is not None) + max(own, rest)

    def _expected(self, step: str) -> float | None:
        kind = step.partition("/")[2]
        same = [seconds for name, seconds in self._taken.items() if name.partition("/")[2] == kind]
        if same:
            return same[-1]
        work = sum(self._work[name] for name in self._taken)
        return self._work[step] * sum(self._taken.values()) / work if work else None


def outlook(config: Config, *, pictures: int, folder: Path) -> Outlook:
    """Of a run with so many pictures, begun or not."""
    works = iteration_work(config, pictures=pictures, prompt=PROMPT)
    size = {kind: sum(map(_size, of)) for kind, of in _by_step(works).items()}
    steps = [("iteration-0/evaluation", float(_size(evaluation_work(config))))]
    for iteration in range(1, config.iterations + 1):
        measured = iteration % config.evaluation.every == 0 or iteration == config.iterations
        kinds = [kind for kind in size if kind != "evaluation" or measured]
        steps += [(f"iteration-{iteration}/{kind}", size[kind]) for kind in kinds]
    taken = {
        row["step"]: sum(row["seconds"].values())
        for row in (read_jsonl(folder / "timings.jsonl") if (folder / "timings.jsonl").exists() else ())
    }
    return Outlook([step for step in steps if step[1]], taken)


def _by_step(works: Sequence[Work]) -> dict[str, list[Work]]:
    """What the plan counts apart goes on in one step: a phase and its votes."""
    found: dict[str, list[Work]] = {}
    last = ""
    for work in works:
        last = last if work.phase.startswith("its ") else work.phase
        found.setdefault(last, []).append(work)
    return found


def _size(work: Work) -> float:
    return work.tokens + LEARNT * work.learnt
