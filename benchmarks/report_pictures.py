"""The pictures of docs/report.md: a run's first screen, its questions, and these on a phone in the dark.

    visplay train configs/demo.yaml
    python -m benchmarks.report_pictures runs/demo

Needs Chromium. What is pictured is the page as it is, in a window of a fixed size.
"""

import argparse
import base64
import tempfile
from pathlib import Path

from tests.visplay.report.chromium import CHROMIUM, Tab, chromium
from visplay.report import write_report

DESK, PHONE = (1280, 1180), (390, 844)
VIEWS = {
    "report.png": ("", DESK),
    "report-questions.png": ("samples?outcome=kept&answered=some", DESK),
    "report-phone.png": ("samples?phase=questioner", PHONE),
}
OPENED = "document.querySelectorAll('#questions details')[1].open = true"


def photograph(tab: Tab, page: Path, name: str) -> bytes:
    """One picture, as PNG."""
    fragment, size = VIEWS[name]
    phone = size == PHONE
    tab.size(*size, mobile=phone)
    tab.dark(phone)
    tab.go(f"{page.resolve().as_uri()}{'#' * bool(fragment)}{fragment}")
    if fragment:
        tab.wait_for("document.querySelectorAll('#questions article').length > 1")
        tab.run(OPENED if not phone else "document.querySelector('#count').scrollIntoView()")
    tab.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 300)))")
    return base64.b64decode(tab.call("Page.captureScreenshot", format="png")["data"])


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no Chromium was found: apt-get install chromium")
    page = write_report(options.run)
    text = page.read_text(encoding="utf-8")  # absolute paths say nothing to a reader
    page.write_text(text.replace(f"{Path.cwd()}/", ""), encoding="utf-8")
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as browser:
        tab = browser.tab()
        for name in VIEWS:
            (options.out / name).write_bytes(photograph(tab, page, name))
            print(options.out / name)


if __name__ == "__main__":
    main()
