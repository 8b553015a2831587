"""How long does `visplay report` take for 10,000 rollouts, how large is the page, how soon is it seen?

    python -m benchmarks.report_page --rollouts 10000 --rounds 7

makes a run folder with the columns of a real one, writes its page, and opens it from disk in Chromium, each
round with an empty profile. Times are medians with the smallest and the largest; a first round warms up.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from plotly.offline import get_plotlyjs
from rich.console import Console
from rich.table import Table

from tests.visplay.report.chromium import CHROMIUM, chromium
from tests.visplay.report.many_rollouts import write_run
from visplay.report import write_report

PAINT = "performance.getEntriesByName('first-contentful-paint').map((one) => one.startTime)[0]"
LOADED = "performance.getEntriesByType('navigation')[0].domComplete"
FILTER = """(async () => {
  const control = document.querySelector('[data-filter=text]');
  control.value = 'seven because red';
  const begun = performance.now();
  control.dispatchEvent(new Event('input', { bubbles: true }));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - begun;
})()"""


def seconds_of_command(run: Path) -> tuple[float, float]:
    """By the clock and of the CPU."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "visplay", "report", str(run)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, cpu


def seconds_of_writing(run: Path) -> float:
    begun = time.perf_counter()
    write_report(run)
    return time.perf_counter() - begun


def milliseconds_in_browser(run: Path, *, phone: bool) -> tuple[float, float, float]:
    """First contentful paint, the page whole and its script run, one text filter over all rollouts."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        chromium(Path(profile)) as browser,
    ):
        tab = browser.tab()
        tab.size(390 if phone else 1280, 844 if phone else 900, mobile=phone)
        tab.go((run / "report.html").as_uri())
        return tab.wait_for(PAINT), tab.run(LOADED), tab.run(FILTER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if CHROMIUM is None:
        parser.error("there is no Chromium here; apt-get install chromium")
    measured: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "runs" / "many"
        write_run(run, rollouts=arguments.rollouts)
        for _ in range(arguments.rounds + 1):
            for name, value in zip(("clock", "CPU"), seconds_of_command(run), strict=True):
                measured.setdefault(f"visplay report, {name}, s", []).append(value)
            measured.setdefault("write_report alone, clock, s", []).append(seconds_of_writing(run))
            for device in ("desktop", "phone"):
                names = ("first view", "whole page", "a text filter")
                for name, value in zip(
                    names, milliseconds_in_browser(run, phone=device == "phone"), strict=True
                ):
                    measured.setdefault(f"{name}, {device}, ms", []).append(value)
        size = (run / "report.html").stat().st_size
    table = Table(title=f"{arguments.rollouts} rollouts, {arguments.rounds} rounds", title_justify="left")
    for column in ("", "median", "smallest", "largest"):
        table.add_column(column)
    for name, (_, *values) in measured.items():
        digits = 0 if name.endswith("ms") else 2
        table.add_row(name, *(f"{value:.{digits}f}" for value in (median(values), min(values), max(values))))
    table.add_row("page, MB", f"{size / 1e6:.1f}")
    table.add_row("of it plotly, MB", f"{len(get_plotlyjs().encode()) / 1e6:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
