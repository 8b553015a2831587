"""Every row of the hand-made table of answer pairs; its policy is docs/answer-equivalence.md."""

from pathlib import Path

import pytest

from rewards import MathWorker, equivalent

TABLE = Path(__file__).parents[1] / "golden" / "answer_pairs.tsv"


def rows():
    table = []
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines()[1:], start=2):
        policy, a, b, equal, options, tolerance = [*line.split("\t"), "", ""][:6]
        row = pytest.param(
            a,
            b,
            {"yes": True, "no": False}[equal],
            options.split("|") if options else None,
            float(tolerance) if tolerance else None,
            id=f"line {number}: {policy}",
        )
        table.append(row)
    return table


@pytest.fixture(scope="module")
def patient():
    """A worker with time to spare: what equals what is asked here, not how fast a busy machine says so."""
    worker = MathWorker(deadline=30.0)
    yield worker
    worker.stop()


@pytest.mark.parametrize(("a", "b", "equal", "options", "tolerance"), rows())
def test_golden_pair(patient, a, b, equal, options, tolerance):
    verdict = equivalent(a, b, options=options, tolerance=tolerance, mathematics=patient)
    assert verdict.equal is equal, verdict
    assert equivalent(b, a, options=options, tolerance=tolerance, mathematics=patient) == verdict


def test_the_table_is_as_large_as_it_says():
    assert len(rows()) >= 150
