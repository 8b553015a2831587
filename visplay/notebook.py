"""The Python interface: train a run, open one, read its tables, ask its Reasoner."""

import os
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import rewards
from rollouts.engine import Completion, Sampling
from visplay.config.loading import Config, load_config
from visplay.config.sections import Engine
from visplay.data.images import read_images, reopen_images
from visplay.errors import RunError
from visplay.evaluation.metrics import Figures
from visplay.evaluation.reasoner import evaluate_target, open_reasoner
from visplay.evaluation.records import read_records
from visplay.evaluation.sampling import Reasoner
from visplay.evaluation.session import Plan
from visplay.evaluation.target import find_target
from visplay.evaluation.verdict import headline, sum_up
from visplay.loop.ask import ask
from visplay.loop.selfplay import selfplay
from visplay.models.generation import generate
from visplay.progress import Display
from visplay.prompts import reasoner_prompt
from visplay.report import write_report
from visplay.runs import results
from visplay.schema import ANSWERS, CANDIDATES, ROLLOUTS, SAMPLES
from visplay.storage import read_jsonl


class Run:
    """A run's folder, read only; nothing that its configuration names is loaded or imported.

    Attributes:
        folder: `output/name`.
        config: its configuration.
        steps: the names of its finished steps, oldest first.
        metrics: the rows of `metrics.jsonl`: each optimizer step, curation, evaluation and health.
        evaluations: iteration -> benchmark -> figures; iteration 0 is the base.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.config, self.steps = folder, results.run_config(folder), results.run_steps(folder)
        self.metrics = read_jsonl(folder / "metrics.jsonl")
        self.evaluations = results.read_summaries(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {len(self.steps)} finished steps)"

    def _repr_html_(self) -> str:
        """The run in words, and its accuracy by benchmark and iteration: what a notebook shows."""
        labels, health = results.read_curations(self.folder), results.health_rows(self.metrics)
        said = sum_up(self.evaluations, curations=labels, health=health, config=self.config.model_dump())
        measured = self.evaluations.values()
        rows = [["", *(str(i) if i else "base" for i in self.evaluations)]]
        for name in dict.fromkeys(name for own in measured for name in own):
            rows.append([name, *(headline(own.get(name, {})) for own in measured)])
        table = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f"<p><b>{escape(repr(self))}</b></p><p>{escape(' '.join(said))}</p><table>{table}</table>"

    def candidates(self, iteration: int | None = None) -> pa.Table:
        """The questions of curation, of all iterations or of one, with the column `iteration` before them.

        Raises:
            RunError: the run has no such iteration.
        """
        return self._rows("curation/candidates.parquet", CANDIDATES, iteration)

    def rollouts(self, role: str = "questioner", iteration: int | None = None) -> pa.Table:
        """The rewarded completions of a role, of all iterations or of one.

        Raises:
            RunError: the run trains no such role, or has no such iteration.
        """
        schemas = {**dict.fromkeys(self.config.roles, ANSWERS), "questioner": ROLLOUTS, "reasoner": ANSWERS}
        if role not in schemas:
            raise RunError(
                f"{self.folder} trains no role {role!r}; its roles are {', '.join(sorted(schemas))}"
            )
        return self._rows(f"{role}/rollouts.parquet", schemas[role], iteration)

    def samples(self, iteration: int | None = None) -> pa.Table:
        """The stored samples of evaluations: greedy, blind and sampled ones; `round` names which."""
        found: list[dict[str, Any]] = []
        for number, path in self._files("evaluation/*/*.jsonl", iteration):
            for record in read_records(path):
                about = {"iteration": number, "round": path.stem, "gold": record["gold"]["answers"]}
                found.append(about | {name: record.get(name) for name in SAMPLES.names[len(about) :]})
        return pa.Table.from_pylist(found, schema=SAMPLES)

    def ask(
        self, picture: str | Path, *, iteration: int | None = None, questions: int = 8, seed: int = 0
    ) -> pa.Table:
        """What the Questioner asks about a picture and how the Reasoner votes, as a table like `candidates`.

        Raises:
            VisplayError: see `visplay.errors`, e.g. a picture that cannot be read.
        """
        rows = ask(
            self.folder, Path(picture), iteration=iteration, questions=questions, seed=seed,
            display=Display.quiet(),
        )  # fmt: skip
        return pa.Table.from_pylist([row.record() | {"kept": not row.reject} for row in rows], CANDIDATES)

    def picture(self, key: str | None = None) -> Image.Image:
        """A picture of the run by its `image_key`, by default the first; raises `VisplayError`."""
        own, manifest = self.config.images, self.folder / "manifest.parquet"
        opened = partial(reopen_images, own.source, column=own.column)
        images = results.read_with(lambda file: opened(manifest=file), manifest)
        keys = [record.key for record in images.records]
        if key is not None and key not in keys:
            raise RunError(f"{self.folder} has no picture {key!r}; take a key from the column image_key")
        return images.load(key or keys[0])

    def report(self, out: str | Path | None = None) -> Path:
        """Write the page of the run, `report.html` in its folder or `out`, and return its path."""
        return write_report(self.folder, out=Path(out) if out else None)

    def reasoner(self, iteration: int | None = None, *, device: str = "auto") -> "Answering":
        """The Reasoner after an iteration, by default the last, loaded to answer questions."""
        at = str(self.folder) if iteration is None else f"{self.folder}@{iteration}"
        return open_answering(at, device=device)

    def _files(self, pattern: str, iteration: int | None) -> list[tuple[int, Path]]:
        numbers = {int(step.split("/")[0].removeprefix("iteration-")) for step in self.steps}
        if iteration is not None and iteration not in numbers:
            raise RunError(f"{self.folder} has no iteration {iteration}; it has {sorted(numbers)}")
        found = results.by_iteration(self.folder, pattern)
        return [(number, path) for number, path in found if iteration in (None, number)]

    def _rows(self, name: str, schema: pa.Schema, iteration: int | None) -> pa.Table:
        tables = []
        for number, path in self._files(name, iteration):
            table = results.read_with(pq.read_table, path)
            column = pa.array([number] * len(table), pa.int32())
            tables.append(table.add_column(0, "iteration", column))
        return pa.concat_tables(tables) if tables else schema.empty_table()


class Answering:
    """A Reasoner that is loaded; `close` gives its memory back."""

    def __init__(self, reasoner: Reasoner, *, max_tokens: int) -> None:
        self._reasoner, self._max_tokens = reasoner, max_tokens

    def answer(self, picture: Image.Image | str | Path, question: str) -> str:
        """Its greedy completion: the reasoning and the boxed answer."""
        return self._sample(picture, question, Sampling(temperature=0, max_tokens=self._max_tokens))[0].text

    def vote(
        self, picture: Image.Image | str | Path, question: str, *, samples: int = 10, seed: int = 0
    ) -> rewards.Vote:
        """The majority of several sampled answers, its share and all others."""
        sampling = Sampling(n=samples, top_k=40, max_tokens=self._max_tokens, seed=seed)
        said = self._sample(picture, question, sampling)
        form = self._reasoner.words.answer_form
        return rewards.vote([rewards.extract_answer(one.text, form) for one in said], question=question)

    def close(self) -> None:
        """Give back its memory."""
        self._reasoner.engine.close()

    def _sample(
        self, picture: Image.Image | str | Path, question: str, sampling: Sampling
    ) -> list[Completion]:
        if not isinstance(picture, Image.Image):
            images = read_images(picture)
            picture = images.load(images.records[0].key)
        prompt = reasoner_prompt(picture.convert("RGB"), question, words=self._reasoner.words)
        reasoner = self._reasoner
        return generate(reasoner.engine, [prompt], adapter=reasoner.adapter, sampling=sampling)[0]


def train(config: Config | str | Path, *, display: Display | None = None, api_key: str | None = None) -> Run:
    """Run, or resume, self-play, and open the run.

    Args:
        config: the whole run, or its YAML file; see `visplay.load_config`.
        display: `visplay.Display()` shows progress; None shows none.
        api_key: of the servers of `engine.backend=server`, where they ask for one.

    Raises:
        VisplayError: an error that the user can fix; see `visplay.errors`.
    """
    return open_run(selfplay(load_config(config), display=display, api_key=api_key))


def open_run(path: str | Path) -> Run:
    """Open a run's folder, finished or not.

    Raises:
        RunError: the folder is not a run's, or another version's.
    """
    return Run(Path(path))


def open_answering(target: str, *, device: str = "auto", trust_remote_code: bool = False) -> Answering:
    """Load what `visplay evaluate` would score, to be asked single questions."""
    found = find_target(target, device=device, trust_remote_code=trust_remote_code)
    return Answering(
        open_reasoner(found, Engine(backend="transformers"), chunk=1), max_tokens=found.max_tokens or 1024
    )


def evaluate(
    target: str | Path,
    benchmarks: Sequence[str],
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    samples: int = 0,
    seed: int = 0,
    engine: Engine | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    display: Display | None = None,
) -> dict[str, Figures]:
    """Score a base, a run, an iteration, an adapter or a checkpoint; what `out` holds is not asked again.

    Args:
        target: `pocket`, a hub id, a folder, RUN or RUN@ITERATION.
        benchmarks: ids or YAML files.
        out: folder of the stored samples; None is `runs/evaluations/NAME-DIGEST`.
        limit: questions of each benchmark, drawn by `seed`; None for all.
        samples: k sampled answers for avg@k, maj@k and pass@k; 0 for none.
        seed: of drawn questions and samples.
        engine: generates the answers; None uses vLLM on a GPU if it is installed, else transformers.
        device: of the model.
        trust_remote_code: run the code that the model's repository carries.
        display: `visplay.Display()` shows progress; None shows none.

    Returns:
        The figures by benchmark; see docs/evaluation.md.

    Raises:
        VisplayError: an error that the user can fix; see `visplay.errors`.
    """
    benchmarks = [benchmarks] if isinstance(benchmarks, str) else benchmarks
    if not benchmarks or (limit is not None and limit < 1):
        raise ValueError(f"benchmarks must name one, and limit must be >= 1, got {benchmarks!r} and {limit}")
    found = find_target(os.fspath(target), device=device, trust_remote_code=trust_remote_code)
    plan = Plan(
        benchmarks=benchmarks, limit=limit, seed=seed, samples=samples, max_tokens=found.max_tokens or 1024
    )
    _, figures = evaluate_target(
        found, plan, engine=engine or Engine(), chunk=64, out=Path(out) if out else None, judge=None,
        display=display or Display.quiet(),
    )  # fmt: skip
    return figures
