"""The scorer as a program for other tools: JSON lines in, JSON lines out; `python -m` this module.

A line in: `{"output": TEXT, "gold": {...}, "cut": false, "form": "boxed"}`; out: status, score, answer ...
"""

import json
import sys
from dataclasses import asdict

from visplay.evaluation.items import Gold
from visplay.evaluation.scoring import score_output


def main() -> None:
    """Answer lines until standard input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        score = score_output(
            asked["output"],
            Gold.from_json(asked["gold"]),
            cut=asked["cut"],
            form=asked["form"],
            question=asked.get("question"),
        )
        sys.stdout.write(json.dumps(asdict(score)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
