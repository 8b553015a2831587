"""What the docs promise of equivalence."""

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_policy_of_the_golden_table_is_written_down():
    text = (DOCS / "answer-equivalence.md").read_text(encoding="utf-8").casefold()
    table = (DOCS.parent / "tests" / "golden" / "answer_pairs.tsv").read_text(encoding="utf-8")
    policies = {line.split("\t")[0] for line in table.splitlines()[1:]}
    named = {
        "tuple": "`(1, 2)` is ordered",
        "magnitude and unit": "magnitudes: `5k`",
        "unit on mathematics": "units are taken off before mathematics",
        "size and sum": "sizes: ",
        "time of day": "times: ",
        "text with digits": "text that happens to hold digits",
        "notation": "codes, versions, phone numbers",
        "scientific": r"\times 10",
        "nothing": "empty answer",
        "number word": "words:",
    }
    named |= {"letter and option": "letters and options", "yes/no": "yes and no"}
    missing = {policy for policy in policies if named.get(policy, policy) not in text}
    assert not missing
