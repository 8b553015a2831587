"""The commands that measure: evaluate, compare, benchmarks."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import psutil
import typer

from visplay.errors import EvaluationError
from visplay.launcher import launched
from visplay.runs.shutdown import graceful_shutdown

if TYPE_CHECKING:
    from visplay.config.sections import Engine
    from visplay.evaluation.judge import Judge
    from visplay.evaluation.target import Target

BATCHES = {"transformers": 64, "vllm": 512}  # items asked at once


def evaluate(
    context: typer.Context,
    target: str,
    benchmarks: Annotated[str, typer.Option("--benchmarks", "-b")] = "pocket-dusk",
    source: list[str] | None = None,
    out: Path | None = None,
    limit: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    split: Literal["held-out", "development"] = "held-out",
    blind: bool = False,
    samples: Annotated[int, typer.Option(min=0)] = 0,
    temperature: Annotated[float, typer.Option(min=0.01)] = 1.0,
    top_k: Annotated[int, typer.Option(min=0)] = 40,
    max_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    base: str | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    engine: Literal["auto", "transformers", "vllm"] = "auto",
    vllm: list[str] | None = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    judge: str | None = None,
    judge_model: str | None = None,
    rescore: bool = False,
    check_data: bool = False,
) -> None:
    """Score a base, a run, an iteration, an adapter or a checkpoint; an interrupted evaluation resumes.

    Args:
        context: Holds the judge's key, which was taken out of the environment.
        target: What to score: pocket or pocket-wide, a hub id, a folder with a checkpoint or an adapter, RUN
            (its last iteration) or RUN@ITERATION (0 is the base).
        benchmarks: Benchmarks to ask: ids (see `visplay benchmarks`) or YAML files, separated by commas.
        source: ID=PATH: read the data of this benchmark from a local copy; may be repeated.
        out: Folder to write to; default: runs/evaluations/NAME-DIGEST.
        limit: Number of questions drawn from each benchmark; default: all.
        seed: Seed of the drawn questions and of the samples.
        split: Which part of the pocket scenes and of easy-vqa to ask about.
        blind: Ask each question again with a grey picture.
        samples: Number k of sampled answers for avg@k, maj@k and pass@k; 0: none.
        temperature: Temperature of the k sampled answers.
        top_k: Top-k filter of the k sampled answers; 0: no filter.
        max_tokens: Longest answer in tokens; default: the run's, else 1024.
        base: Base VLM of an adapter, if the path stored in it does not exist on this machine.
        device: Device of the model: cpu, cuda, cuda:1 ... or auto.
        trust_remote_code: Run the code in the model's repository.
        engine: Engine that generates the answers; auto: vllm where it is installed and there is a GPU.
        vllm: KEY=VALUE: an argument of vLLM's engine, e.g. max_model_len=8192, on top of the run's own.
        batch_size: Number of questions asked at once; default: 64, with vllm 512.
        judge: Address of an OpenAI-compatible endpoint that grades answers, up to and with /v1.
        judge_model: Name of the judging model at that endpoint.
        rescore: Score the answers stored in the folder TARGET again, without a model; with --judge, grade
            the answers that need a judge.
        check_data: Report where the data differs from its spec; ask no questions.

    Examples:
        visplay evaluate runs/mine -b mmstar,mathvista --blind
        visplay evaluate runs/evaluations/mine --rescore
    """
    from visplay.cli.printing import print_figures
    from visplay.evaluation.session import Plan
    from visplay.evaluation.spec import expand
    from visplay.evaluation.target import find_target
    from visplay.progress import Display

    found_sources = _sources(source)
    if check_data:
        _check(benchmarks, found_sources)
        return
    if rescore:
        from visplay.evaluation.session import rescore as rescore_folder

        folder = Path(target)
        print_figures(folder.name, rescore_folder(folder, judge=_judge(context, judge, judge_model)))
        return
    found = find_target(target, base=base, device=device, trust_remote_code=trust_remote_code)
    plan = Plan(
        benchmarks=_listed(benchmarks), sources=found_sources, limit=limit, seed=seed, split=split,
        max_tokens=max_tokens or found.max_tokens or 1024, samples=samples, temperature=temperature,
        top_k=top_k, blind_limit=None if blind else 0,
    )  # fmt: skip
    asked = {spec.id for spec in expand(plan.benchmarks)} | set(plan.benchmarks)
    found_judge = _judge(context, judge, judge_model)
    display = Display()
    with graceful_shutdown(this_command(), say=display.say):
        from visplay.evaluation.reasoner import evaluate_target

        settings, chunk = _engine(found, engine=engine, vllm=vllm, batch_size=batch_size)
        folder, summary = evaluate_target(
            found, plan, engine=settings, chunk=chunk, out=out, judge=found_judge, display=display
        )
    print_figures(found.name, {name: figures for name, figures in summary.items() if name in asked})
    display.say(f"samples and figures: {folder}")


def compare(
    before: str,
    after: Annotated[str | None, typer.Argument()] = None,
    page: Path = Path("comparison.html"),
) -> None:
    """Print better, worse or can't tell for each benchmark, and write a page of the changed answers.

    Args:
        before: Stored samples: a folder of `visplay evaluate`, or a run's, e.g. RUN@0.
        after: Stored samples of the other checkpoint, e.g. RUN@3; default: BEFORE, compared with its base.
        page: HTML file to write.

    Examples:
        visplay compare runs/mine
        visplay compare evaluations/a evaluations/b --page a-b.html
    """
    from visplay.cli.printing import print_comparison
    from visplay.evaluation.comparison import compare as compare_sides
    from visplay.evaluation.comparison import find_sides
    from visplay.report.comparison import write_comparison

    first, second = find_sides(before, after)
    compared = compare_sides(first, second)
    print_comparison(first.name, second.name, compared)
    typer.echo(f"page: {write_comparison(page, first, second, compared)}")


def benchmarks() -> None:
    """List the benchmarks: rows, source, how they are scored.

    Examples:
        visplay benchmarks
        visplay benchmarks | grep -i math
    """
    from rich.console import Console

    from visplay.cli.printing import plain_table
    from visplay.evaluation.spec import shipped_specs

    table = plain_table("", "id", "rows", "rule", "what it is, and where from", left=("rule",))
    table.columns[3].no_wrap, table.columns[3].justify = False, "left"
    for spec in shipped_specs().values():
        source = f"mean of {', '.join(spec.parts)}" if spec.parts else spec.source.hub or spec.source.function
        rule = "" if spec.parts else spec.rule
        table.add_row(spec.id, f"{spec.rows:,}" if spec.rows else "", rule, f"{spec.title}\n{source}")
    Console().print(table)


def _check(names: str, sources: dict[str, Path]) -> None:
    from visplay.errors import BenchmarkError
    from visplay.evaluation.benchmarks import data_differences
    from visplay.evaluation.spec import expand

    differing = []
    for spec in expand(_listed(names)):
        found = data_differences(spec, source=sources.get(spec.id))
        typer.echo(f"{spec.id}: {'fits its spec' if not found else f'{len(found)} differences'}")
        for line in found:
            typer.echo(f"  {line}")
        differing += [spec.id] if found else []
    if differing:
        raise BenchmarkError(f"data that differs from its spec: {', '.join(differing)}")


def _engine(
    target: "Target", *, engine: str, vllm: list[str] | None, batch_size: int | None
) -> "tuple[Engine, int]":
    """The engine that generates, and the number of questions in a batch."""
    from visplay.config.sections import Engine
    from visplay.config.yaml_text import read_overrides
    from visplay.models.engines import backend_of

    backend = backend_of(target.model, Engine(backend=engine))
    if vllm and backend != "vllm":
        raise EvaluationError("--vllm is for --engine vllm; leave it out, or name that engine")
    if wrong := [entry for entry in vllm or [] if "=" not in entry]:
        raise EvaluationError(f"--vllm must look like KEY=VALUE, got {wrong[0]!r}")
    chunk = batch_size or BATCHES[backend]
    return Engine(backend=backend, batch_size=chunk, vllm=target.vllm | read_overrides(vllm or [])), chunk


def _judge(context: typer.Context, url: str | None, model: str | None) -> "Judge | None":
    from visplay.evaluation.judge import Judge

    if url is None:
        return None
    if model is None:
        raise EvaluationError("--judge needs --judge-model, the model's name at that endpoint")
    if not url.startswith(("http://", "https://")):
        raise EvaluationError(f"--judge must be an http(s) address up to and with /v1, got {url!r}")
    return Judge(url=url, model=model, key=(context.obj or {}).get("judge_key"))


def _listed(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise EvaluationError("--benchmarks names none; see `visplay benchmarks`")
    return names


def _sources(given: list[str] | None) -> dict[str, Path]:
    sources = {}
    for entry in given or []:
        name, found, path = entry.partition("=")
        if not found or not name or not path:
            raise EvaluationError(f"--source must look like ID=PATH, got {entry!r}")
        sources[name] = Path(path)
    return sources


def this_command() -> str:
    """The command as typed; under a launcher, the launcher's command line, to repeat on each node."""
    typed = ["visplay", *sys.argv[1:]]
    if launched() and sys.argv[1:]:
        parent = psutil.Process().parent()
        line = parent.cmdline() if parent else []
        if sys.argv[-1] in line:  # else who started us is no launcher with a command line of its own
            by_script = Path(line[0]).name.startswith("python") and not line[1].startswith("-")
            typed = [Path(line[by_script]).name, *line[1 + by_script :]]
    return shlex.join(typed)
