"""What the docs promise: adding a reward is one function and one line in a config."""

import pkgutil
import re
from pathlib import Path

import pytest
import yaml

from rewards import ParseFailure, Question, Term, preset, questioner_rewards

DOCS = Path(__file__).parents[2] / "docs"


def blocks(language):
    return re.findall(
        rf"```{language}\n(.*?)```", (DOCS / "rewards.md").read_text(encoding="utf-8"), re.DOTALL
    )


def test_the_example_of_a_reward_of_ones_own_runs(tmp_path, monkeypatch):
    source = next(block for block in blocks("python") if block.startswith("# my_rewards.py"))
    (tmp_path / "my_rewards.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    config = yaml.safe_load(next(block for block in blocks("yaml") if "questioner_terms" in block))["rewards"]
    terms = [
        Term(name=name.partition(":")[2], weight=weight, function=pkgutil.resolve_name(name))
        for name, weight in config["questioner_terms"].items()
    ]
    short = Question(type="t", question="What color is the car?", answer="red")
    long = Question(type="t", question="What is " + "really " * 10 + "the color?", answer="red")
    group = [short, long, ParseFailure(reason="missing_type")]
    rewards = questioner_rewards([group], [[0.6, 0.6, 0.0]], preset=preset(config["preset"]), terms=terms)[0]
    # uncertainty 0.8, redundancy 1/3, and 0.1 for the short one
    assert [reward.total for reward in rewards] == pytest.approx([0.8 - 1 / 3 + 0.1, 0.8 - 1 / 3, 0.0])
    assert [reward.parts["brevity"] for reward in rewards] == [0.1, 0.0, 0.0]


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
