"""A made-up run of any number of rollouts with the columns of a real one, hostile text all over."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.visplay.report.small_run import benchmark, change, write_unfinished
from visplay.data.images import read_images
from visplay.storage import read_part

HIT = "window.hit = (window.hit || 0) + 1; alert(1)"
HOSTILE = (
    f"<script>{HIT}</script>",
    f"</script><script>{HIT}</script>",
    f"<!--<script>{HIT}",
    f"</title></style></textarea></pre><img src=x onerror='{HIT}'>",
    "<img src='http://127.0.0.1:9/leak.png'><link rel=stylesheet href='//127.0.0.1:9/leak.css'>",
    f"<svg onload='{HIT}'><iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "javascript:alert(1)",
    "<a href='http://127.0.0.1:9/'>a link</a>",
    f"data:text/html,<script>{HIT}</script>",
    f"\" onmouseover='{HIT}' autofocus onfocus='{HIT}' x=\"",
    "{{ 7 * 7 }} {% raw %} ${7*7} `${alert(1)}`",
    "line\u2028and\u2029paragraph, \u202eright to left\u202c, \u2066isolated",
    "nothing\x00\x01\x1b[31m\ufeff\ufffe",
    "&lt;b&gt;&#x3c;script&#x3e;alert(1)&#60;/script>",
    "]]><![CDATA[<x onload=alert(1)>",
    "__proto__",
    "constructor",
    "W" * 100_000,  # no place to break the line
    "𝕳ḛ̸̢̛͙l̵l̴o" * 40,
)
TYPES = ("numerical", "yes/no", "short answer", "<b onclick=alert(1)>bold</b>")
REASONS = ("confidence too low", "confidence too high", "not a well-formed question", "asked before",
           "<img src=x onerror=alert(1)>")  # fmt: skip
PICTURES = 300
HALF_SURROGATE = "half of a pair \ud83d and text"  # cannot be in parquet, can be in a step's JSON


def write_run(folder: Path, *, rollouts: int = 10_000, seed: int = 0) -> None:
    """Two iterations; each asks in training, curates and answers in the shares 1 : 2 : 2.

    `folder.parent / "pictures"` holds the pictures. The second iteration's
    answers are still under way.
    """
    lot = random.Random(seed)
    folder.mkdir(parents=True)
    source = folder.parent / "pictures"
    source.mkdir()
    noise = np.random.default_rng(seed)
    for i in range(PICTURES):
        name = f"{i:03d} <img src=x onerror=alert(1)>.png" if i % 50 == 0 else f"{i:03d}.png"
        pixels = noise.integers(0, 255, (24, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST).save(source / name)
    images = read_images(source)
    images.write_manifest(folder)
    keys = [record.key for record in images.records]
    (folder / "config.yaml").write_text(
        f"name: many\niterations: 2\nseed: {seed}\nmodel: {{path: pocket}}\n"
        f"reasoner: {{steps: 20}}\nhealth: {{limits: {{min_valid: 0.5}}}}\n"
        f"images: {{source: {json.dumps(str(source))}, column: image}}\n"
    )
    paired = change(0.0541, 0.0332, 0.0749)
    for iteration, measured in enumerate((benchmark(0.65), benchmark(0.704, paired=paired))):
        sampled = measured["sampled"]
        sampled |= {"samples": HOSTILE[7], f"maj@{HOSTILE[7]}": sampled.pop("maj@8")}
        _json(
            folder / f"iteration-{iteration}/evaluation/summary.json", {"benchmarks": {HOSTILE[3]: measured}}
        )
    metrics: list[dict[str, Any]] = []
    for iteration in (1, 2):
        n = rollouts // 10
        asked = [_asked(lot, keys, i) for i in range(n)]
        candidates = [_candidate(lot, keys, i) for i in range(2 * n)]
        kept = [row for row in candidates if row["kept"]]
        answers = [_answer(lot, kept[i // 8 % len(kept)], i) for i in range(2 * n)]
        parts = folder / f"iteration-{iteration}"
        _rows(parts / "questioner/rollouts.parquet", asked)
        _rows(parts / "curation/candidates.parquet", candidates)
        if iteration == 1:
            _rows(parts / "reasoner/rollouts.parquet", answers)
        else:
            answers[0]["completion"] = HALF_SURROGATE
            step = {"metrics": {"step": 1.0, "reward": 0.5}, "records": answers}
            write_unfinished(parts / "reasoner.partial/unfinished/step-1.json", step)
        _json(parts / "curation/summary.json", _summary(candidates))
        _json(parts / "health/alarms.json", {"alarms": [HOSTILE[1], HALF_SURROGATE]})
        metrics += [
            {"iteration": iteration, "phase": phase, "step": step, "reward": lot.random(), "kl": lot.random()}
            for phase in ("questioner", "reasoner")
            for step in range(20)
        ]
        health = {f"figure_{i}": lot.random() for i in range(14)} | {
            HOSTILE[3]: 1.0,
            HOSTILE[7]: 2.0,
            "valid": 0.9,
        }
        metrics.append({"iteration": iteration, "phase": "health"} | health)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """What the browser shows, one row a question, told from the files without the report's own code."""
    found = []
    for iteration in (1, 2):
        parts = folder / f"iteration-{iteration}"
        step = parts / "reasoner.partial/unfinished/step-1.json"
        tried = pq.read_table(parts / "reasoner/rollouts.parquet").to_pylist() if iteration == 1 else (
            read_part(step)["records"])  # fmt: skip
        for phase, name in (("questioner", "rollouts"), ("curation", "candidates")):
            for row in pq.read_table(parts / phase / f"{name}.parquet").to_pylist():
                asked = row["image_key"], row["question"]
                mine = (
                    [a for a in tried if (a["image_key"], a["question"]) == asked] if row.get("kept") else []
                )
                found.append(row | {"iteration": iteration, "phase": phase, "attempts": mine})
    return found


def _asked(lot: random.Random, keys: list[str], i: int) -> dict[str, Any]:
    row = _question(lot, keys, f"Training question {i}? ")
    uncertainty, redundancy = lot.random(), lot.choice([0.0, 0.25, 1.5])
    reward = uncertainty - redundancy if row["valid"] else 0.0
    text = f"<type>{row['type']}</type><question>{row['question']}</question>"
    return {"step": i // 64, "completion": text} | row | {
        "reward": reward, "reward_validity": float(row["valid"]), "reward_uncertainty": uncertainty,
        "reward_redundancy": -redundancy,
    }  # fmt: skip


def _candidate(lot: random.Random, keys: list[str], i: int) -> dict[str, Any]:
    row = _question(lot, keys, f"Question {i}? ")
    reason = "not a well-formed question" if not row["valid"] else lot.choice(("", "", "", *REASONS))
    return row | {"reject_reason": reason, "kept": reason == ""}


def _question(lot: random.Random, keys: list[str], text: str) -> dict[str, Any]:
    evil = lot.random() < 0.03
    valid = lot.random() < 0.95
    counts = sorted((lot.randint(1, 4) for _ in range(lot.randint(1, 3))), reverse=True)
    answers = [
        lot.choice(HOSTILE[:17]) if evil else str(lot.randint(0, 9)) + "abc"[j] for j in range(len(counts))
    ]
    shares = [count / 12 for count in counts]
    longer = lot.choice(HOSTILE) if evil else lot.choice(("", "What is left of the round thing? "))
    return {
        "image_key": lot.choice(keys), "valid": valid, "failure": "" if valid else "no question block",
        "type": lot.choice(TYPES[:3] if lot.random() < 0.98 else TYPES) if valid else "",
        "question": text + longer if valid else "", "answers": answers if valid else [],
        "shares": shares if valid else [], "silver_answer": answers[0] if valid else None,
        "confidence": shares[0] if valid else 0.0, "parsed": sum(counts) if valid else 0,
        "samples": 12 if valid else 0, "truth": lot.choice((None, answers[0], "2")) if valid else None,
    }  # fmt: skip


def _answer(lot: random.Random, example: dict[str, Any], i: int) -> dict[str, Any]:
    words = " ".join(lot.choice(("left", "red", "circle", "seven", "because", "of")) for _ in range(60))
    text = lot.choice(HOSTILE) if lot.random() < 0.02 else words + " \\boxed{7}"
    return {
        "step": i // 64, "image_key": example["image_key"], "question": example["question"],
        "completion": text, "silver_answer": example["silver_answer"], "reward": float(lot.random() < 0.6),
    }  # fmt: skip


def _summary(candidates: list[dict[str, Any]]) -> dict[str, Any]:
    valid = [row for row in candidates if row["valid"]]
    return {
        "questions": len(candidates), "valid": len(valid), "kept": sum(row["kept"] for row in candidates),
        "distinct": len({row["question"] for row in valid}), "answerable": len(valid) // 2,
        "rejects": {reason: 5 for reason in REASONS}, "confidence_histogram": [[0.0, 3], [0.5, 7]],
        "silver_accuracy": {"kept": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 80}, "rejected": None},
        "calibration": [{"confidence": 0.5, "n": 9, "accuracy": 0.4}],
    }  # fmt: skip


def _rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def _json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
