"""axe-core in the browser that the tests drive: what in a page bars people who cannot see or use a mouse.

It is no Python package: `make axe` fetches it from npm, and so does continuous integration. Where it is
missing these tests are skipped, and pytest's summary says what was not tested and the mend.
"""

from pathlib import Path

import pytest

from tests.visplay.report.chromium import Tab

SCRIPT = Path(__file__).parents[3] / ".venv/axe-core/axe.min.js"
needs_axe = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="NOT TESTED: whether everybody can use the report's pages; run `make axe`"
)


def violations(tab: Tab) -> list[str]:
    """What axe finds in the page as it is now, by all of its rules: one line for each element and rule."""
    tab.run(SCRIPT.read_text(encoding="utf-8") + "; undefined")
    found = tab.run("axe.run().then(({ violations, passes }) => ({ violations, passed: passes.length }))")
    assert found["passed"] > 20, "axe has looked at hardly anything"
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
