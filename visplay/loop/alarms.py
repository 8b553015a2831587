"""Compute the health figures of an iteration, raise alarms, and find the iteration to roll back to."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visplay.config.loading import Config
from visplay.config.sections import AT_MOST, LIMITS, Health
from visplay.evaluation.metrics import samples_by_item, vote_of
from visplay.evaluation.records import GREEDY, SAMPLED, read_records
from visplay.evaluation.scoring import FAILED
from visplay.evaluation.spec import expand
from visplay.evaluation.verdict import verdicts
from visplay.runs.results import read_summaries
from visplay.storage import read_jsonl

FEWEST = 20  # smallest number of votes inside the band for an estimate of their accuracy
JUDGED = ("precision", "recall")
RATIO = "sampling/importance_sampling_ratio/mean"
MEANING = {
    "valid": "the Questioner no longer writes well-formed questions",
    "distinct": "the Questioner repeats the same questions",
    "redundancy": "the questions about one picture are all alike",
    "answerable": "most questions cannot be answered from their picture, but their uncertainty is rewarded",
    "kept": "hardly any question is informative: on nearly all of them the votes agree or scatter",
    "silver_accuracy": "most silver answers that training used are wrong",
    "probe_silver": "on labelled questions, votes of moderate confidence are mostly wrong",
    "blind_answers": "most kept questions are answered the same without the picture",
    "same_answer": "the Reasoner gives one answer to nearly everything",
    "parsed": "the Reasoner no longer boxes its answers",
    "truncated": "most completions reach the length limit; raise max_tokens or look for endless text",
    "no_spread": "most groups have equal rewards and give no gradient",
    "kl": "the policy is far from its reference",
    "ratio_error": "engine and trainer disagree about the probability of the sampled tokens",
    "accuracy_change": "the Reasoner is worse than the base by the interval and the exact test",
}
assert MEANING.keys() == LIMITS.keys()


def raise_alarms(figures: Mapping[str, float | None], health: Health) -> list[str]:
    """Return a sentence for each figure beyond its limit; an unknown figure raises no alarm."""
    found = []
    for name, meaning in MEANING.items():
        value, limit = figures.get(name), health.limit(name)
        if value is None or limit is None:
            continue
        if value > limit if name in AT_MOST else value < limit:
            found.append(f"{name} is {value:.3g}, health.limits.{name} {limit:g}: {meaning}")
    return found


def probe_of(config: Config) -> str | None:
    """The id of the benchmark that selects the best iteration: `health.probe`, or the first measured one."""
    return config.health.probe or next((spec.id for spec in expand(config.evaluation.benchmarks)), None)


def iteration_figures(run: Path, iteration: int, *, config: Config) -> dict[str, float | None]:
    """Compute the health figures of one iteration, with and without limits; None for unknown ones.

    These are shares in [0, 1]: `valid` among all questions; `answerable`, `distinct`, `repeated` and `kept`
    among the valid ones; `silver_accuracy`, `silver_of_answerable` and `blind_answers` among the kept ones;
    `judge_precision` and `judge_recall` of a judge; `same_answer` (the largest share of one answer) and
    `parsed` among benchmark answers; `probe_silver`, right ones among the probe's majority answers inside
    the band; `truncated` and `no_spread` among training completions and groups. `kl` and `entropy` are in
    nats per token at the end of a phase. `ratio_error` is the largest distance of a step's mean importance
    ratio from 1, `grad_norm` the largest norm before clipping, `ROLE_tokens` a mean length. With several
    roles the worse value counts. `accuracy_change` is the largest significant loss, in [-1, 0].
    """
    folder = run / f"iteration-{iteration}"
    return {
        **_question_figures(folder / "curation" / "summary.json"),
        **_training_figures(folder),
        **_answer_figures(run, iteration, config=config),
    }


def _question_figures(summary: Path) -> dict[str, float | None]:
    """The figures of an iteration's curation; all are None if it had no curation."""
    asked: dict[str, Any] = defaultdict(lambda: None, _read_json(summary) if summary.is_file() else {})
    valid = asked["valid"] and max(1, asked["valid"])
    silver, blind = asked["silver_accuracy"] or {}, asked["blind_answers"]

    def of_valid(name: str) -> float | None:
        return asked[name] / valid if valid and asked[name] is not None else None

    return {
        "valid": asked["valid"] / asked["questions"] if asked["questions"] else None,
        **{name: of_valid(name) for name in ("answerable", "distinct", "repeated", "kept")},
        "redundancy": asked["redundancy"],
        **{
            name: (silver.get(key) or {}).get("value")
            for name, key in (("silver_accuracy", "kept"), ("silver_of_answerable", "kept_answerable"))
        },
        **{f"judge_{name}": ((asked["judge"] or {}).get(name) or {}).get("value") for name in JUDGED},
        "calibration_error": calibration_error(asked["calibration"]) if asked["calibration"] else None,
        "blind_answers": blind["value"] if blind else None,
    }


def _training_figures(folder: Path) -> dict[str, float | None]:
    """The figures of an iteration's trained phases over all roles."""
    phases = {
        path.parent.name: read_jsonl(path.with_name("metrics.jsonl"))
        for path in sorted(folder.glob("*/adapter.json"))
    }
    trained = [rows for rows in phases.values() if rows]
    # Rollouts of an older adapter (optimizer.ahead) have a ratio other than 1 on every engine.
    ratios = [
        abs(row[RATIO] - 1) for rows in trained for row in rows if RATIO in row and not row.get("staleness")
    ]
    return {
        "truncated": max((_mean(rows, "completions/clipped_ratio") for rows in trained), default=None),
        "no_spread": max((_mean(rows, "frac_reward_zero_std") for rows in trained), default=None),
        "kl": max((rows[-1]["kl"] for rows in trained if "kl" in rows[-1]), default=None),
        "entropy": min((rows[-1]["entropy"] for rows in trained), default=None),
        "ratio_error": max(ratios, default=None),
        "grad_norm": max((row["grad_norm"] for rows in trained for row in rows), default=None),
        **{f"{name}_tokens": _mean(rows, "completions/mean_length") for name, rows in phases.items() if rows},
    }


_OF_ANSWERS = ("probe_silver", "same_answer", "parsed", "probe_accuracy", "accuracy_change")


def _answer_figures(run: Path, iteration: int, *, config: Config) -> dict[str, float | None]:
    """The figures of an iteration's evaluation."""
    folder = run / f"iteration-{iteration}" / "evaluation"
    answers = [
        record["answer"]
        for path in sorted(folder.glob(f"*/{GREEDY}.jsonl"))
        for record in read_records(path)
        if record["status"] not in FAILED
    ]
    if not (folder / "summary.json").is_file():  # no benchmark is configured
        return dict.fromkeys(_OF_ANSWERS)
    measured = _read_json(folder / "summary.json")["benchmarks"]
    probe = probe_of(config)
    so_far = {i: figures for i, figures in read_summaries(run).items() if i <= iteration}
    worse = [name for (i, name), v in verdicts(so_far).items() if i == iteration and v.word == "worse"]
    return {
        "probe_silver": _probe_silver(folder / str(probe) / f"{SAMPLED}.jsonl", config),
        "same_answer": _largest_share(answers),
        "parsed": sum(answer is not None for answer in answers) / len(answers) if answers else None,
        "probe_accuracy": _accuracy(measured.get(str(probe))),
        "accuracy_change": min((measured[name]["paired"]["difference"] for name in worse), default=0.0),
    }


def is_measured(run: Path, iteration: int) -> bool:
    """Whether an iteration has a finished evaluation."""
    return (run / f"iteration-{iteration}" / "evaluation" / "summary.json").is_file()


def calibration_error(bins: Sequence[dict[str, Any]]) -> float | None:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599, Eq. 3) of `question_health`'s bins."""
    total = sum(b["n"] for b in bins)
    return sum(b["n"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / total if total else None


def best_iteration(run: Path, *, last: int, probe: str | None) -> int:
    """The iteration up to `last` with the highest accuracy on the probe; the earliest one wins ties.

    An iteration counts if it measured the probe on as many questions as the newest one, and if its accuracy
    is not withheld because the engine failed. If none counts, the result is `last`.
    """
    summaries = {i: figures.get(str(probe)) for i, figures in read_summaries(run).items() if i <= last}
    measured = {i: own for i, own in summaries.items() if own and _accuracy(own) is not None}
    if not measured:
        return 0 if summaries else last
    asked = measured[max(measured)]["n"]
    accuracy = {i: _accuracy(own) or 0.0 for i, own in measured.items() if own["n"] == asked}
    return max(accuracy, key=lambda iteration: (accuracy[iteration], -iteration))


def out_of_patience(run: Path, iteration: int, *, patience: int | None, probe: str | None) -> bool:
    """Whether the probe has not improved for `patience` measured iterations; False if that is None."""
    if patience is None or not is_measured(run, iteration):
        return False
    best = best_iteration(run, last=iteration, probe=probe)
    return sum(is_measured(run, i) for i in range(best + 1, iteration + 1)) >= patience


def is_finished(folder: Path, config: Mapping[str, Any], steps: Sequence[str]) -> bool:
    """Whether the last planned iteration is finished, or that at which `health.patience` ended the run."""
    health = config.get("health") or {}
    for iteration in range(1, int(config["iterations"]) + 1):
        if f"iteration-{iteration}/health" not in steps:
            return False
        if out_of_patience(folder, iteration, patience=health.get("patience"), probe=health.get("probe")):
            break
    return True


def _probe_silver(samples: Path, config: Config) -> float | None:
    """The share of right answers among the probe's majority answers that curation would keep."""
    if not samples.is_file():
        return None
    band = []
    for own in samples_by_item(read_records(samples)):
        vote, right = vote_of(own)
        if vote.answer and config.curation.low <= vote.confidence <= config.curation.high:
            band.append(right)
    return sum(band) / len(band) if len(band) >= FEWEST else None


def _accuracy(figures: Mapping[str, Any] | None) -> float | None:
    return figures["accuracy"]["value"] if figures and figures["accuracy"] else None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _largest_share(answers: Sequence[str | None]) -> float | None:
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts.values()) / len(answers) if counts else None


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)
