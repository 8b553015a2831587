"""How far does decoding alone go, without any training?

For each world the untrained base answers development scenes in many ways: greedily, sampled at several
temperatures, by majority of ten, with a hint to reason, with a common first token forbidden, and with its
answer's first token forced; in the wide world also with that forced which begins the traces of the
question's own kind. The way that is best on development scenes is then run once on held-out scenes.
A training run has gained something only as far as it exceeds that figure.

    python -m benchmarks.decoding --worlds ladder dusk easy-vqa --development 200 --held-out 1000
    # and a run over the best of them:
    python -m benchmarks.decoding --model pocket-wide --worlds wide --against runs/demo
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

import rewards
from benchmarks.pocket_vlm.lessons import WORDS
from benchmarks.pocket_vlm.wide import OPENINGS
from visplay.config.sections import Model
from visplay.evaluation.items import Item
from visplay.evaluation.prompts import item_prompt
from visplay.evaluation.records import read_records
from visplay.evaluation.scoring import score_output
from visplay.evaluation.statistics import accuracy_interval, paired_difference
from visplay.models.policy import load_base
from visplay.pocket.benchmark import clean, dusk, easy_vqa, ladder, wide
from visplay.runs.results import read_summaries

WORLDS = {"ladder": ladder, "dusk": dusk, "clean": clean, "wide": wide, "easy-vqa": easy_vqa}
HINTS = ("Think step by step.", "Go through the things one by one.")
TEMPERATURES = (0.3, 0.7, 1.0)
VOTES, TOKENS, BATCH = 10, 200, 50


@dataclass(frozen=True)
class Way:
    """A way of decoding: what is changed about plain greedy decoding."""

    name: str
    temperature: float = 0.0
    votes: int = 1
    hint: str = ""
    forbidden: int | None = None  # a token id that may not begin the answer
    forced: int | None = None  # the token id that begins the answer
    opened: bool = False  # the token that begins the traces of the question's kind begins the answer


class _First(LogitsProcessor):
    """Forbids or forces the token at the first place of the answer."""

    def __init__(self, way: Way, width: int, openings: Sequence[int] = ()) -> None:
        self.way, self.width, self.openings = way, width, openings

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if ids.shape[1] == self.width:
            if self.way.forbidden is not None:
                scores[:, self.way.forbidden] = -torch.inf
            if self.way.forced is not None:
                scores = torch.full_like(scores, -torch.inf)
                scores[:, self.way.forced] = 0.0
            if self.way.opened:
                scores = torch.full_like(scores, -torch.inf)
                scores[range(len(scores)), list(self.openings)] = 0.0
        return scores


class Base:
    """The untrained base VLM and how it is asked."""

    def __init__(self, path: str, seed: int) -> None:
        self.model, self.processor = load_base(Model(path=path, dtype="float32"))[:2]
        self.model.eval()
        self.tokenizer, self.seed = self.processor.tokenizer, seed
        self.tokenizer.padding_side = "left"
        # A fresh one: what the checkpoint ships must not change how it is decoded here.
        own = self.model.generation_config
        self.generation = GenerationConfig(eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id)

    def right(self, items: Sequence[Item], way: Way) -> list[bool]:
        """Whether each item is answered correctly."""
        return [correct for correct, _ in self._judged(items, way)]

    def first_tokens(self, items: Sequence[Item]) -> Counter[int]:
        """How often each token begins a sampled answer at temperature 1."""
        found: Counter[int] = Counter()
        for _, groups in self._answered(items, Way("sampled", temperature=1.0)):
            found.update(tokens[0] for group in groups for tokens in group)
        return found

    def _judged(self, items: Sequence[Item], way: Way) -> Iterator[tuple[bool, Item]]:
        for chunk, groups in self._answered(items, way):
            for item, group in zip(chunk, groups, strict=True):
                texts = [self.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in group]
                if way.votes > 1:
                    vote = rewards.vote([rewards.extract_answer(text) for text in texts])
                    texts = [f"\\boxed{{{vote.answer}}}" if vote.answer is not None else ""]
                yield score_output(texts[0], item.gold, cut=False).correct, item

    def _answered(
        self, items: Sequence[Item], way: Way
    ) -> Iterator[tuple[Sequence[Item], list[list[list[int]]]]]:
        size = max(1, BATCH // way.votes)
        for start in range(0, len(items), size):
            chunk = items[start : start + size]
            asked = [replace(item, question=f"{item.question} {way.hint}".strip()) for item in chunk]
            inputs = self._inputs([item_prompt(item, words=WORDS) for item in asked])
            width = inputs["input_ids"].shape[1]
            torch.manual_seed(self.seed * 1_000_003 + start)
            sampled: dict[str, Any] = {"do_sample": False}
            if way.temperature > 0:
                sampled = {"do_sample": True, "temperature": way.temperature, "top_k": 0, "top_p": 1.0}
            openings = [self._opening(item) for item in chunk for _ in range(way.votes)] if way.opened else []
            with torch.no_grad():
                written = self.model.generate(
                    **inputs, **sampled, generation_config=self.generation, max_new_tokens=TOKENS,
                    num_return_sequences=way.votes,
                    logits_processor=LogitsProcessorList([_First(way, width, openings)]),
                )  # fmt: skip
            rows = [row[width:].tolist() for row in written]
            yield chunk, [rows[i : i + way.votes] for i in range(0, len(rows), way.votes)]

    def _opening(self, item: Item) -> int:
        return int(self.tokenizer(f"{OPENINGS[item.kind]} ")["input_ids"][0])

    def _inputs(self, prompts: Sequence[Any]) -> Any:
        texts = [
            self.processor.apply_chat_template(list(p.messages), add_generation_prompt=True, tokenize=False)
            for p in prompts
        ]
        pictures = [list(prompt.images) for prompt in prompts]
        return self.processor(text=texts, images=pictures, return_tensors="pt", padding=True)


def ways(base: Base, items: Sequence[Item], most: int, *, world: str) -> list[Way]:
    """Every way that is tried; the tokens are the commonest that begin a sampled answer."""
    common = [token for token, _ in base.first_tokens(items).most_common(most)]
    shown = {token: repr(base.tokenizer.decode([token])) for token in common}
    return [
        Way("greedy"),
        Way(f"majority of {VOTES}", temperature=1.0, votes=VOTES),
        Way(f"majority of {VOTES}, temperature 0.7", temperature=0.7, votes=VOTES),
        *(Way(f"temperature {value}", temperature=value) for value in TEMPERATURES),
        *(Way(f"hint: {hint}", hint=hint) for hint in HINTS),
        *(Way(f"first token {shown[token]} forbidden", forbidden=token) for token in common),
        *(Way(f"first token {shown[token]} forced", forced=token) for token in common),
        *((Way("first token of the question's kind forced", opened=True),) if world == "wide" else ()),
    ]


def main() -> None:
    """Print a table for each world, and write what was seen as JSON lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pocket", help="base VLM: `pocket`, `pocket-wide` or a folder")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=["ladder", "dusk", "easy-vqa"])
    parser.add_argument(
        "--development",
        type=int,
        default=200,
        help="scenes on which ways are compared; 0: none, --ways names one",
    )
    parser.add_argument("--held-out", type=int, default=1000, help="scenes for the best one; 0: none")
    parser.add_argument("--tokens", type=int, default=6, help="common first tokens to forbid and to force")
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="compare only greedy and these")
    parser.add_argument("--against", type=Path, metavar="RUN", help="compare this run with the best way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="append the figures to this file, one JSON object a line")
    asked = parser.parse_args()
    if not asked.development and len(asked.ways or ()) != 1:
        parser.error("--development 0 compares nothing: name the one way with --ways")
    torch.set_num_threads(1)
    base = Base(asked.model, asked.seed)
    for world in asked.worlds:
        _report(base, world, WORLDS[world], asked)


def _report(base: Base, world: str, make: Callable[..., list[Item]], asked: argparse.Namespace) -> None:
    begun = time.perf_counter()
    items = make(asked.development, asked.seed, "development") if asked.development else []
    by_way: dict[str, list[bool]] = {}
    tried = ways(base, items, asked.tokens, world=world)
    if asked.ways:
        if unknown := sorted({*asked.ways} - {way.name for way in tried}):
            raise SystemExit(
                f"--ways: there is no way {unknown[0]!r}; choose from:\n"
                + "\n".join(repr(w.name) for w in tried)
            )
        tried = [way for way in tried if way.name in ("greedy", *asked.ways)]
    best = tried[-1]
    if items:
        print(
            f"\n## {world}: development scenes, n = {len(items)}\n\n| decoding | right |\n|---|---|",
            flush=True,
        )
    for way in tried if items else ():
        by_way[way.name] = base.right(items, way)
        print(f"| {way.name} | {100 * accuracy_interval(by_way[way.name]).value:.1f} |", flush=True)
        _write(asked, world, "development", way.name, by_way[way.name])
    if items:
        best = max(tried, key=lambda way: sum(by_way[way.name]))
    if items and world == "wide":
        print(
            f"| the best way for each kind, chosen with hindsight | {100 * _hindsight(items, by_way):.1f} |"
        )
    if not asked.held_out:
        return
    held = make(asked.held_out, asked.seed, "held-out")
    flags = {way.name: base.right(held, way) for way in dict.fromkeys((*tried[:2], best))}
    clusters = [item.cluster for item in held]
    print(f"\nHeld-out, n = {len(held)}:\n\n| decoding | right | to greedy |\n|---|---|---|")
    for name, right in flags.items():
        mean = accuracy_interval(right)
        diff = paired_difference(flags["greedy"], right, clusters=clusters)
        print(
            f"| {name} | {100 * mean.value:.1f} | "
            f"{100 * diff.difference:+.1f} [{100 * diff.low:+.1f}, {100 * diff.high:+.1f}] |"
        )
        _write(asked, world, "held-out", name, right, best=name == best.name)
    if asked.against:
        _print_against(
            asked.against, world, {item.key: r for item, r in zip(held, flags[best.name], strict=True)}, best
        )
    print(f"\n{time.perf_counter() - begun:.0f} s", flush=True)


def _print_against(run: Path, world: str, best: dict[str, bool], way: Way) -> None:
    """The last iteration of a run over the best way of decoding, on the questions that both were asked."""
    last = max(read_summaries(run))
    folder = run / f"iteration-{last}/evaluation" / (world if world == "easy-vqa" else f"pocket-{world}")
    theirs = {r["item"]: bool(r["correct"]) for r in read_records(folder / "greedy.jsonl")}
    common = [key for key in best if key in theirs]
    if not common:
        raise SystemExit(f"{run} was not asked about held-out questions of {world}")
    diff = paired_difference([best[key] for key in common], [theirs[key] for key in common])
    print(
        f"\n{run}, iteration {last}: {100 * sum(theirs[key] for key in common) / len(common):.1f} % right, "
        f"{100 * diff.difference:+.1f} [{100 * diff.low:+.1f}, {100 * diff.high:+.1f}] points over "
        f"{way.name!r} without training (n = {len(common)})"
    )


def _hindsight(items: Sequence[Item], by_way: dict[str, list[bool]]) -> float:
    """The share right if each kind were decoded in the way that is best for it on these very items."""
    right = 0
    for kind in {item.kind for item in items}:
        own = [i for i, item in enumerate(items) if item.kind == kind]
        right += max(sum(flags[i] for i in own) for flags in by_way.values())
    return right / len(items)


def _write(
    asked: argparse.Namespace, world: str, split: str, name: str, right: list[bool], *, best: bool = False
) -> None:
    if not asked.out:
        return
    row = {
        "model": asked.model, "world": world, "split": split, "seed": asked.seed, "decoding": name,
        "n": len(right), "best": best, "right": "".join("01"[flag] for flag in right),
    }  # fmt: skip
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with asked.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
