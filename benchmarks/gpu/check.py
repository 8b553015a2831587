"""Does visplay work on this machine's GPU, and how fast? One table and one JSON file say so.

    python benchmarks/gpu/check.py          a VLM of the size of Qwen2.5-VL-3B, random weights, on the card
    python benchmarks/gpu/check.py --tiny   the same code with a tiny VLM, also without a card

Nothing is downloaded. docs/gpu.md says what each row means.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TORCH_LOGS"] = "-all"

import torch
import transformers
from rich.console import Console
from rich.table import Table

from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.planned import card_flops
from benchmarks.gpu.stand import TINY, TRUE, Row, Stand
from visplay.errors import VisplayError
from visplay.launcher import quieten

NO_CARD = 2  # exit status


def main(arguments: list[str] | None = None) -> int:
    quieten()
    options = read_options(arguments)
    console = Console(width=80, soft_wrap=False)
    on_gpu = torch.cuda.is_available() and not options.cpu
    if not on_gpu and not options.tiny:
        console.print(
            "No CUDA device: nothing was run. With one, this would build a VLM of the size of Qwen2.5-VL-3B "
            f"(7.5 GB in bf16) on it and run these parts: {', '.join(options.parts)}. --tiny runs the same "
            "code with a tiny VLM on the CPU.",
            markup=False, highlight=False,
        )  # fmt: skip
        return NO_CARD
    peak, source = card_flops(options.peak_tflops, name=torch.cuda.get_device_name() if on_gpu else None)
    with tempfile.TemporaryDirectory(prefix="visplay-gpu-check-") as folder:
        stand = Stand(
            scale=TINY if options.tiny else TRUE, device="cuda" if on_gpu else "cpu", steps=options.steps,
            tokens=options.tokens or (16 if options.tiny else 256), peak_flops=peak, peak_source=source,
            folder=Path(folder),
        )  # fmt: skip
        about = machine(stand)
        options.json.parent.mkdir(parents=True, exist_ok=True)

        def keep(rows: list[Row], errors: dict[str, str]) -> None:
            report = {"machine": about, "rows": [asdict(row) for row in rows], "errors": errors}
            options.json.write_text(json.dumps(report, indent=1) + "\n")

        parts = {name: PARTS[name] for name in options.parts}
        rows, errors = run_parts(stand, parts, seconds=options.seconds, console=console, keep=keep)
    show(about, rows, console)
    console.print(f"Written to {options.json}.", markup=False, highlight=False, soft_wrap=True)
    return 1 if errors else 0


def read_options(arguments: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="a tiny VLM, on the CPU where there is no card")
    parser.add_argument("--cpu", action="store_true", help="with --tiny: on the CPU though there is a card")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}; all by default")
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps; the first is not timed")
    parser.add_argument("--tokens", type=int, help="length of a completion; 256, with --tiny 16")
    parser.add_argument("--peak-tflops", type=float, help="of the card in bf16; else by its name")
    parser.add_argument("--seconds", type=float, default=480, help="for all parts together")
    parser.add_argument("--json", type=Path, default=Path("runs/gpu-check.json"), help="where the rows go")
    options = parser.parse_args(arguments)
    options.parts = options.parts.split(",")
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"--parts {','.join(unknown)}: known are {', '.join(PARTS)}")
    if options.cpu and not options.tiny:
        parser.error("--cpu: a VLM of true size is for a card; add --tiny")
    for name in ("steps", "tokens", "peak_tflops"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0, got {value:g}")
    return options


def run_parts(
    stand: Stand,
    parts: Mapping[str, Part],
    *,
    seconds: float,
    console: Console,
    keep: Callable[[list[Row], dict[str, str]], None],
) -> tuple[list[Row], dict[str, str]]:
    """Run parts one after the other; returns their rows, and a traceback for each that broke.

    Args:
        stand: the VLM under test.
        parts: by name, in order.
        seconds: for all together. A part that runs when they are over is stopped, later ones are not begun.
        console: is told which part runs.
        keep: given what was found so far after each part, so that a process that is killed leaves it.
    """
    rows: list[Row] = []
    errors: dict[str, str] = {}
    began = time.perf_counter()
    for name, part in parts.items():
        so_far = time.perf_counter() - began
        if so_far > seconds:
            note = f"{so_far:.0f} s are over, more than --seconds {seconds:g}"
            rows.append(Row(part=name, what="not begun", value="late", note=note))
            errors[name] = note
            continue
        console.print(f"{so_far:5.0f} s  {name} ...", highlight=False)
        try:
            with at_most(seconds - so_far):
                for row in part(stand):
                    rows.append(row)
        # Whatever breaks on a machine that nobody has seen: the other parts are still worth knowing.
        except Exception as error:
            errors[name] = traceback.format_exc()
            lines = str(error).strip().splitlines() or [""]
            kind = "" if isinstance(error, VisplayError) else f"{type(error).__name__}: "
            rows.append(Row(part=name, what="failed", value="failed", note=kind + lines[0][:300]))
        keep(rows, errors)
    rows.append(Row(part="all", what="took", value=time.perf_counter() - began, unit="s"))
    keep(rows, errors)
    return rows, errors


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise in what runs longer, as soon as it is back in Python: a kernel that hangs is not interrupted.

    Raises:
        TimeoutError: it ran longer.
    """

    def stop(*_: Any) -> None:
        raise TimeoutError(f"stopped after {seconds:.3g} s, all that --seconds had left for it")

    handler = signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)  # who else waits for an alarm still gets it
        signal.signal(signal.SIGALRM, handler)


def machine(stand: Stand) -> dict[str, str]:
    """What the figures were made with."""
    on_gpu = stand.device != "cpu"
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "vlm": f"Qwen2.5-VL, {stand.scale.name}, random weights, bf16",
        "python": platform.python_version(), "torch": torch.__version__,
        "transformers": transformers.__version__,
    }  # fmt: skip


def show(about: dict[str, str], rows: list[Row], console: Console) -> None:
    """Print the one table."""
    table = Table(title="; ".join(f"{key} {value}" for key, value in about.items()), box=None, padding=(0, 1))
    for name in ("part", "what"):
        table.add_column(name, no_wrap=name == "part")
    table.add_column("found", justify="right", no_wrap=True)
    table.add_column("note")
    for row in rows:
        table.add_row(row.part, row.what, f"{written(row.value)} {row.unit}".strip(), row.note)
    console.print(table, markup=False)


def written(value: float | str) -> str:
    """A number with three digits, whole ones in full."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
