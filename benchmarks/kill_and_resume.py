"""Does a run that is killed again and again end as if nothing had happened?

A small pocket run is made once undisturbed. Then it is made again, with `kill -9` to its whole process group
at random instants, and started again each time, until the kills are spent; a run that ends before is
followed by another one. Every other kill comes after a random share of the time that an undisturbed run
takes, start-up included; the others wait for a random file of an unfinished step to appear and a few
milliseconds more, so that they fall into phases and into writes. Every voting is noted in a log, so that one
that was done twice is seen.

    python benchmarks/kill_and_resume.py --kills 50 --seed 0
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visplay.pocket.truth import write_pictures
from visplay.storage import read_jsonl

SETTINGS: dict[str, Any] = {
    "iterations": 2, "threads": 1,
    "model": {"path": "pocket", "dtype": "float32"},
    "prompts": {"forms": {}},
    "votes": {"samples": 4},
    "questioner": {
        "types": ["numerical", "yes/no", "short answer"], "steps": 3, "prompts_per_step": 2, "group_size": 4,
        "max_tokens": 48,
    },
    "curation": {"questions_per_image": 2, "margin": "all"},
    "reasoner": {"steps": 3, "prompts_per_step": 4, "group_size": 4, "max_tokens": 96},
    "optimizer": {"learning_rate": 1e-3, "micro_batch_size": 8},
    "evaluation": {
        "benchmarks": ["pocket-dusk", "easy-vqa"], "limit": 12, "maj_limit": 6, "blind_limit": 6,
        "split": "development",
    },
}  # fmt: skip
PICTURES = 72  # so that curation goes through two chunks of 64
NAME = "run"  # of every run, each in a folder of its own: an evaluation notes it
# `visplay train` with a note of every voting, before it is done; O_APPEND, so that no kill cuts a line.
RUNNER = """
import json, os, sys
from visplay.cli import main as cli
from visplay.loop import asking
take_votes, log = asking.take_votes, os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
def noted(ctx, rows, round, *, seed, **named):
    os.write(log, (json.dumps({"pid": os.getpid(), "phase": round.phase, "seed": seed}) + "\\n").encode())
    return take_votes(ctx, rows, round, seed=seed, **named)
asking.take_votes = noted
cli.main()
"""
COMPARED = ("metrics.jsonl", "*/*/metrics.jsonl", "*/*/*.parquet", "*/*/summary.json", "*/*/*.safetensors",
            "*/*/*/*.safetensors", "*/evaluation/*/*.jsonl", "journal.jsonl")  # fmt: skip


@dataclass(kw_only=True)
class Outcome:
    """Of all runs: kills by the step they fell into, starts, runs that ended otherwise, votings repeated."""

    settings: dict[str, Any]
    kills: Counter[str] = field(default_factory=Counter)
    resumes: int = 0
    runs: int = 0
    different: list[str] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    beyond_step_in_flight: list[str] = field(default_factory=list)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def kill_and_resume(folder: Path, *, kills: int, seed: int, iterations: int = 2) -> Outcome:
    """Make the undisturbed run and the killed ones below `folder`; says what it sees."""
    pictures = folder / "pictures"
    write_pictures(pictures, count=PICTURES, seed=3, style="dusk")
    lot, outcome = random.Random(seed), Outcome(settings=SETTINGS | {"iterations": iterations})
    start = time.monotonic()
    whole = _begin(folder, "undisturbed", outcome.settings)
    assert whole.wait() == 0, "the undisturbed run failed"
    seconds = time.monotonic() - start
    say(f"undisturbed: {seconds:.0f} s")
    want = digests(folder / "undisturbed" / NAME)
    while outcome.kills.total() < kills:
        name = f"killed-{outcome.runs}"
        _disturbed(folder, name, kills=kills, lot=lot, seconds=seconds, outcome=outcome)
        got = digests(folder / name / NAME)
        outcome.different += [f"{name}/{path}" for path in {**want, **got} if want.get(path) != got.get(path)]
        _count_votings(folder, name, outcome)
        outcome.runs += 1
    return outcome


def digests(run: Path) -> dict[str, str]:
    """Of everything that has to be the same, by its path in the run."""
    paths = {path for pattern in COMPARED for path in run.glob(pattern)}
    return {str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(paths)}


def _disturbed(
    folder: Path, name: str, *, kills: int, lot: random.Random, seconds: float, outcome: Outcome
) -> None:
    while True:
        process = _begin(folder, name, outcome.settings)
        try:
            ended = _lived_on(
                process, folder / name / NAME, kills=kills, lot=lot, seconds=seconds, outcome=outcome
            )
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: what it started goes with it
            code = process.wait()
        if ended or code != -signal.SIGKILL:  # it may end while we make up our mind
            assert code == 0, f"{name} ended with {code}: {(folder / f'{name}.log').read_text()[-2000:]}"
            return
        step = _step_in_flight(folder / name / NAME)
        outcome.kills[step] += 1
        outcome.resumes += 1
        with (folder / f"{name}.kills").open("a") as file:
            file.write(json.dumps({"pid": process.pid, "step": step}) + "\n")
        say(f"kill {outcome.kills.total()} of {name}: {step}")


def _lived_on(
    process: "subprocess.Popen[bytes]", run: Path, *, kills: int, lot: random.Random, seconds: float,
    outcome: Outcome,
) -> bool:  # fmt: skip
    """Wait for the instant to kill; True where the process ended before, or no kill is left."""
    if outcome.kills.total() >= kills:
        process.wait()
        return True
    by_the_clock, share, files = lot.random() < 0.4, lot.random(), lot.randrange(1, 40)
    deadline = time.monotonic() + (0.4 * share * seconds if by_the_clock else 600)
    after = lot.uniform(0, 0.05) if lot.random() < 0.5 else lot.uniform(0, 1)
    seen = set(_scratch(run))
    while process.poll() is None and time.monotonic() < deadline:
        if not by_the_clock and len(set(_scratch(run)) - seen) >= files:
            time.sleep(after)
            break
        time.sleep(0.005)
    return process.poll() is not None


def _scratch(run: Path) -> list[str]:
    """What an unfinished step has written; listed while files come and go."""
    found = []
    for step in run.glob("*/*.partial"):
        for folder, _, names in os.walk(step):
            found += [f"{folder}/{name}" for name in names]
    return found


def _step_in_flight(run: Path) -> str:
    unfinished = [path for path in run.glob("*/*.partial") if path.is_dir()]
    if unfinished:
        return str(unfinished[0].relative_to(run)).removesuffix(".partial")
    return "start-up or between steps"


def _count_votings(folder: Path, name: str, outcome: Outcome) -> None:
    """A voting may be done again only by the process after the one that was killed in it."""
    by_voting: dict[str, list[int]] = {}
    last_of: dict[int, str] = {}
    for row in read_jsonl(folder / f"{name}.votes"):
        voting = f"{row['phase']} {row['seed']}"
        by_voting.setdefault(voting, []).append(row["pid"])
        last_of[row["pid"]] = voting
    killed = {row["pid"] for row in read_jsonl(folder / f"{name}.kills")}
    for voting, processes in by_voting.items():
        for pid in processes[:-1]:
            outcome.repeated[voting.split()[0]] += 1
            if pid not in killed or last_of[pid] != voting:
                outcome.beyond_step_in_flight.append(f"{name}: {voting} of process {pid}")


def _begin(folder: Path, name: str, settings: dict[str, Any]) -> "subprocess.Popen[bytes]":
    config = folder / f"{name}.yaml"
    images = {"source": str(folder / "pictures")}
    config.write_text(json.dumps(settings | {"name": NAME, "output": str(folder / name), "images": images}))
    command = [sys.executable, "-c", RUNNER, str(folder / f"{name}.votes"), "train", str(config)]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="a new one; kept. Absent: a temporary one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = kill_and_resume(folder, kills=asked.kills, seed=asked.seed)
    print("| step in which the kill fell | kills |\n|---|---|")
    for step, count in sorted(outcome.kills.items()):
        print(f"| {step} | {count} |")
    print(f"\n{outcome.kills.total()} kills, {outcome.resumes} resumes, {outcome.runs} runs; all ended.")
    print(f"Files that differ from the undisturbed run: {outcome.different or 'none'}.")
    print(f"Votings begun again after a kill in them: {dict(outcome.repeated)}.")
    print(f"Votings repeated beyond the one in flight: {outcome.beyond_step_in_flight or 'none'}.")
    raise SystemExit(bool(outcome.different or outcome.beyond_step_in_flight))


if __name__ == "__main__":
    main()
