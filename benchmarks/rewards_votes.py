"""Votes against pairwise math-verify: `python benchmarks/rewards_votes.py`.

10,000 questions with 10 answers each: numbers, letters, short phrases, one answer in ten in LaTeX. Ours is
timed in full, cold caches included. math-verify, both sides boxed,
is timed on a sample of questions and extrapolated: once parsing for every pair, once parsing every answer
only once.
"""

import argparse
import itertools
import os
import random
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

from math_verify import parse, verify

from rewards import vote

PHRASES = (
    "red|blue|dark green|a wooden table|the man on the left|stop sign|in the kitchen|a baseball bat|two dogs|"
    "because it is raining|New York|a birthday cake|yes|no|Yes, it is|to the left of the car|sunny|winter"
)
LATEX = (
    r"\frac{%d}{%d}",
    r"%d\sqrt{%d}",
    r"%d^{2}+%d",
    r"\frac{%d\pi}{%d}",
    r"%dx+%d",
    r"\text{%d apples, not %d}",
    r"%d\frac{1}{%d}",
    r"\left(%d, %d\right)",
)


def spelled(rng: random.Random, kind: str, truth: int) -> str:
    """One sample: mostly the common answer, sometimes another, in one of several spellings."""
    wrong = rng.random() < 0.4
    value = truth + rng.randint(1, 4) if wrong else truth
    if kind == "number":
        return rng.choice(("%d", "%d", "%d", "%d.0", "$%d$", "%d cm", "%d.")) % value
    if kind == "letter":
        letter = "ABCD"[value % 4]
        return rng.choice(("%s", "%s", "(%s)", "%s.", r"\text{%s}")) % letter
    phrase = PHRASES.split("|")[value % 18]
    return rng.choice((phrase, phrase, phrase.capitalize(), phrase + "."))


def answers(rng: random.Random, largest: int) -> list[str | None]:
    kind, truth = rng.choice(("number", "letter", "phrase")), rng.randint(1, 60)
    drawn: list[str | None] = []
    for _ in range(10):
        if rng.random() < 0.1:
            drawn.append(rng.choice(LATEX) % (rng.randint(1, largest), rng.randint(2, largest)))
        else:
            drawn.append(spelled(rng, kind, truth) if rng.random() > 0.03 else None)
    return drawn


def boxed(text: str) -> list[object]:
    return parse("\\boxed{" + text + "}")


def pairwise(group: list[str | None], *, parse_once: bool) -> None:
    parsed = {text: boxed(text) for text in group if text is not None} if parse_once else {}
    for a, b in itertools.combinations([text for text in group if text is not None], 2):
        if parse_once:
            verify(parsed[a], parsed[b])
        else:
            verify(boxed(a), boxed(b))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--sample", type=int, default=40, help="questions that math-verify is timed on")
    parser.add_argument("--largest", type=int, default=9, help="number in LaTeX; more repeat less often")
    arguments = parser.parse_args()
    rng = random.Random(0)
    groups = [answers(rng, arguments.largest) for _ in range(arguments.questions)]
    latex = sum("\\" in text for group in groups for text in group if text and "text{" not in text)
    share = latex / len(groups) / 10
    print(f"{len(groups)} questions x 10 answers, {share:.0%} of the answers mathematical LaTeX")

    start = time.perf_counter()
    for group in groups:
        vote(group)
    ours = time.perf_counter() - start
    print(f"  ours {ours:.1f} s, {ours / len(groups) * 1e3:.2f} ms a vote")
    start = time.perf_counter()
    for group in groups:
        vote(group)
    print(f"  ours again, caches warm: {time.perf_counter() - start:.1f} s")
    for parse_once in (True, False):
        pairwise(groups[0], parse_once=parse_once)
        start = time.perf_counter()
        for group in groups[1 : 1 + arguments.sample]:
            pairwise(group, parse_once=parse_once)
        each = (time.perf_counter() - start) / arguments.sample
        name = "each answer parsed once" if parse_once else "each pair parsed"
        print(f"  math-verify, {name}: {each * 1e3:.0f} ms a vote -> {each * len(groups):.0f} s")
        print(f"    ratio {each * len(groups) / ours:.0f} x")

    plain = ["7", "7", "red", "7", "8", None, "7", "red", "7", "7"]
    vote(plain)
    start = time.perf_counter()
    for _ in range(20_000):
        vote(plain)
    print(f"  a vote of ten short answers seen before: {(time.perf_counter() - start) / 20_000 * 1e6:.0f} us")


if __name__ == "__main__":
    main()
