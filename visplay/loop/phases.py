"""The three phases of one self-play iteration (Algorithm 1 of arXiv 2511.15661)."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rewards
from rewards import ParseFailure, Question, Reward, Vote
from rollouts.engine import BASE, AdapterVersion, Prompt, Sampling
from visplay.loop import grpo
from visplay.loop.context import Table, mix_seed, sample, take_votes, write_table
from visplay.loop.examples import Lesson, asked_by_base
from visplay.loop.health import blind_answer_rate
from visplay.loop.silver import stored_vote
from visplay.progress import Advance
from visplay.prompts import questioner_prompt
from visplay.runs.run import UNFINISHED
from visplay.seeds import draw
from visplay.storage import read_piece, write_piece

Group = Sequence[Question | ParseFailure]  # what was asked about one picture


def questioner_phase(
    table: Table,
    *,
    questioner: AdapterVersion,
    reasoner: AdapterVersion,
    folder: Path,
    seed: int,
    memory: Sequence[str] = (),
) -> grpo.Trained:
    """Teach the Questioner to ask diverse questions that the frozen Reasoner is unsure about (Eqs. 5-8).

    `memory` holds questions of earlier iterations, for `rewards.memory_weight`.
    Writes `rollouts.parquet` to `folder`; goes on after the steps that a stopped phase left there.
    """
    config, preset = table.config.questioner, table.preset
    terms = table.config.rewards.terms("questioner")
    keys = draw([r.key for r in table.images.records], config.steps * config.prompts_per_step, seed=seed)
    pictures = {key: table.images.load(key) for key in set(keys)}
    prompts = [questioner_prompt(pictures[key], types=config.types, key=key) for key in keys]
    for finished in grpo.finished_steps(folder / UNFINISHED):
        memory = _remember(memory, finished["records"], size=preset.memory_size)

    def rollout(rows: Sequence[int], version: AdapterVersion, step: int) -> grpo.Rollouts:
        nonlocal memory
        records: list[dict[str, Any]] = []
        asked = sample(
            table, [prompts[row] for row in rows], adapter=version,
            sampling=_sampling(config, seed=mix_seed(seed, "ask", step)),
        )  # fmt: skip
        with table.watch("rewards"):
            groups = [[rewards.parse_question(c.text, types=config.types) for c in group] for group in asked]
        keys_drawn = [prompts[row].key for row in rows]
        ballots = take_votes(
            table,
            keys_drawn,
            groups,
            reasoner=reasoner,
            phase="questioner",
            seed=mix_seed(seed, "vote", step),
        )
        blind = _probe_blind(table, keys_drawn, groups, reasoner=reasoner, seed=mix_seed(seed, "blind", step))
        with table.watch("rewards"):
            confidences = [[v.confidence if v else 0.0 for v in group] for group in ballots]
            rewarded = rewards.questioner_rewards(
                groups, confidences, preset=preset, votes=ballots, blind=blind, memory=memory, terms=terms
            )
            if table.config.control == "random_reward":
                rewarded = [
                    _by_lot(group, seed=mix_seed(seed, "lot", step, i)) for i, group in enumerate(rewarded)
                ]
            for key, *group in zip(keys_drawn, asked, groups, ballots, rewarded, strict=True):
                for completion, item, vote, reward in zip(*group, strict=True):
                    records.append(
                        {"step": step, "image_key": key, "completion": completion.text}
                        | _question_record(table, key, item, vote)
                        | {"reward": reward.total}
                        | {f"reward_{name}": part for name, part in reward.parts.items()}
                    )
            memory = _remember(memory, records, size=preset.memory_size)
        rolled = [grpo.Group(completions=c, rewards=r) for c, r in zip(asked, rewarded, strict=True)]
        return grpo.Rollouts(groups=rolled, records=records)

    with table.display.bar("questioner", total=config.steps) as advance:
        trained = _train(
            table, start=questioner, prompts=prompts, rollout=rollout, phase=config, folder=folder, seed=seed,
            on_step=_telling(advance, table, "questioner"),
        )  # fmt: skip
    write_table(folder / "rollouts.parquet", trained.records)
    return trained


def curation(
    table: Table,
    *,
    questioner: AdapterVersion,
    reasoner: AdapterVersion,
    folder: Path,
    seed: int,
    chunk: int = 64,
) -> list[dict[str, Any]]:
    """Ask about all pictures, let the Reasoner vote, keep the questions of moderate confidence (Eq. 9).

    Writes all candidates, the rejected ones with their reason, to `candidates.parquet` and returns them.
    A share of the pictures may be asked about by the base model (`guards.base_questions`).
    It goes through `chunk` pictures at a time; what a stopped curation has taken of them is not taken again.
    """
    config = table.config.curation
    keys = [record.key for record in table.images.records]
    if config.images is not None:
        keys = sorted(draw(keys, min(config.images, len(keys)), seed=mix_seed(seed, "pictures")))
    candidates: list[dict[str, Any]] = []
    unfinished = folder / UNFINISHED
    unfinished.mkdir(exist_ok=True)
    by_base = asked_by_base(table, keys, seed=seed)
    with table.display.bar("curation", total=-(-len(keys) // chunk)) as advance:
        for start in range(0, len(keys), chunk):
            done = unfinished / f"pictures-{start}.json"
            pieces = read_piece(done)
            if pieces is None:
                of_chunk, asked = keys[start : start + chunk], []
                for name, asker, of in (
                    ("questioner", questioner, [key for key in of_chunk if key not in by_base]),
                    ("base", BASE, [key for key in of_chunk if key in by_base]),
                ):
                    if not of:
                        continue
                    rows = ask_and_vote(
                        table, of, questioner=asker, reasoner=reasoner, seed=mix_seed(seed, "chunk", start)
                    )
                    asked += [row | {"asked_by": name} for row in rows]
                write_piece(done, asked)
                pieces = read_piece(done)  # as one that goes on reads it
            candidates += pieces
            advance(f"kept {sum(c['reject_reason'] == '' for c in candidates)} of {len(candidates)}")
    within = [i for i, candidate in enumerate(candidates) if candidate["reject_reason"] == ""]
    kept = set(draw(within, min(config.budget, len(within)), seed=mix_seed(seed, "budget")))
    for i in within:
        if i not in kept:
            candidates[i]["reject_reason"] = "over budget"
    for i, candidate in enumerate(candidates):
        candidate["kept"] = i in kept
    write_table(folder / "candidates.parquet", candidates)
    return candidates


def reasoner_phase(
    table: Table, *, reasoner: AdapterVersion, lessons: Sequence[Lesson], folder: Path, seed: int
) -> grpo.Trained:
    """Teach the Reasoner to agree with the silver answers (Eq. 10); see `visplay.loop.examples.draw_lessons`.

    Writes `rollouts.parquet` to `folder`; goes on after the steps that a stopped phase left there.
    """
    config = table.config.reasoner
    terms = table.config.rewards.terms("reasoner")
    prompts = [lesson.prompt for lesson in lessons]

    def rollout(rows: Sequence[int], version: AdapterVersion, step: int) -> grpo.Rollouts:
        records: list[dict[str, Any]] = []
        answered = sample(
            table, [prompts[row] for row in rows], adapter=version,
            sampling=_sampling(config, seed=mix_seed(seed, "answer", step)),
        )  # fmt: skip
        groups = []
        with table.watch("rewards"):
            for i, (row, completions) in enumerate(zip(rows, answered, strict=True)):
                lesson = lessons[row]
                texts = [completion.text for completion in completions]
                rewarded = rewards.reasoner_rewards(
                    texts, silver=lesson.vote, preset=table.preset, terms=terms
                )
                if table.config.control == "random_reward":
                    rewarded = _by_lot(rewarded, seed=mix_seed(seed, "lot", step, i))
                groups.append(grpo.Group(completions=completions, rewards=rewarded))
                records.extend(
                    {
                        "step": step, "image_key": lesson.prompt.key, "question": lesson.question,
                        "origin": lesson.origin, "completion": text, "silver_answer": lesson.vote.answer,
                        "reward": reward.total,
                    }
                    | {f"reward_{name}": part for name, part in reward.parts.items()}
                    for text, reward in zip(texts, rewarded, strict=True)
                )  # fmt: skip
        return grpo.Rollouts(groups=groups, records=records)

    with table.display.bar("reasoner", total=config.steps) as advance:
        trained = _train(
            table, start=reasoner, prompts=prompts, rollout=rollout, phase=config, folder=folder, seed=seed,
            on_step=_telling(advance, table, "reasoner"),
        )  # fmt: skip
    write_table(folder / "rollouts.parquet", trained.records)
    return trained


def ask_and_vote(
    table: Table, keys: Sequence[str], *, questioner: AdapterVersion, reasoner: AdapterVersion, seed: int
) -> list[dict[str, Any]]:
    """N questions about each picture, answered m times each, as candidate records with a reject reason.

    `reject_reason` is empty where a question would be kept.
    """
    config = table.config
    sampling = Sampling(
        n=config.curation.questions_per_image, temperature=config.questioner.temperature,
        max_tokens=config.questioner.max_tokens, seed=mix_seed(seed, "ask"),
    )  # fmt: skip
    with table.watch("pictures"):
        prompts = [
            questioner_prompt(table.images.load(k), types=config.questioner.types, key=k) for k in keys
        ]
    asked = sample(table, prompts, adapter=questioner, sampling=sampling)
    groups = [
        [rewards.parse_question(completion.text, types=config.questioner.types) for completion in group]
        for group in asked
    ]
    ballots = take_votes(
        table, keys, groups, reasoner=reasoner, phase="curation", seed=mix_seed(seed, "vote")
    )
    candidates, seen = [], set()
    for key, *group in zip(keys, groups, ballots, strict=True):
        for item, vote in zip(*group, strict=True):
            reason = _reject_reason(item, vote, preset=table.preset)
            if isinstance(item, Question):
                reason = "asked before" if (key, item.question) in seen else reason
                seen.add((key, item.question))
            record = {"image_key": key} | _question_record(table, key, item, vote)
            candidates.append(record | {"reject_reason": reason})
    if table.preset.groundedness_limit is not None:
        _reject_ungrounded(table, candidates, reasoner=reasoner, seed=mix_seed(seed, "blind"))
    return candidates


def _probe_blind(
    table: Table, keys: Sequence[str], groups: Sequence[Group], *, reasoner: AdapterVersion, seed: int
) -> list[list[Vote | None]] | None:
    """Votes with the pictures greyed out for a fraction of the groups; None where nothing asks for them."""
    if not table.preset.groundedness_weight:
        return None
    fraction = table.preset.groundedness_fraction
    probed = rewards.probed_groups(len(groups), fraction=fraction, seed=seed)
    nothing = ParseFailure(reason="not probed")
    asked = [group if yes else [nothing] * len(group) for group, yes in zip(groups, probed, strict=True)]
    return take_votes(table, keys, asked, reasoner=reasoner, phase="questioner", seed=seed, blind=True)


def probe_blind_answers(
    table: Table, candidates: Sequence[dict[str, Any]], *, reasoner: AdapterVersion, seed: int
) -> dict[str, Any] | None:
    """Answer some kept questions once more, with grey pictures; see `health.blind_answer_rate`."""
    kept = [c for c in candidates if c["kept"]]
    count = min(table.config.health.blind_questions, len(kept))
    probed = draw(kept, count, seed=mix_seed(seed, "blind answers"))
    if not probed:
        return None
    blind = _vote_blind(table, probed, reasoner=reasoner, seed=mix_seed(seed, "blind answers"), samples=1)
    return blind_answer_rate([stored_vote(c) for c in probed], blind)


def _reject_ungrounded(
    table: Table, candidates: list[dict[str, Any]], *, reasoner: AdapterVersion, seed: int
) -> None:
    """Of the candidates that would be kept, reject those that are answered the same without the picture."""
    limit = table.preset.groundedness_limit
    assert limit is not None
    kept = [c for c in candidates if c["reject_reason"] == ""]
    blind = _vote_blind(table, kept, reasoner=reasoner, seed=seed)
    for candidate, unseeing in zip(kept, blind, strict=True):
        if unseeing is not None and not rewards.is_grounded(stored_vote(candidate), unseeing, limit=limit):
            candidate["reject_reason"] = "answered the same without the picture"


def _vote_blind(
    table: Table,
    candidates: Sequence[dict[str, Any]],
    *,
    reasoner: AdapterVersion,
    seed: int,
    samples: int | None = None,
) -> list[Vote | None]:
    """The Reasoner's votes on candidates' questions with grey pictures, one each."""
    keys = [c["image_key"] for c in candidates]
    asked = [[Question(type=c["type"], question=c["question"], answer="")] for c in candidates]
    votes = take_votes(
        table, keys, asked, reasoner=reasoner, phase="curation", seed=seed, blind=True, samples=samples
    )
    return [vote for (vote,) in votes]


def _reject_reason(item: Question | ParseFailure, vote: Vote | None, *, preset: rewards.Preset) -> str:
    if isinstance(item, ParseFailure) or vote is None:
        return "not a well-formed question"
    if vote.answer is None:
        return "no answer could be parsed"
    if vote.confidence < preset.low:
        return "confidence too low"
    return "confidence too high" if vote.confidence > preset.high else ""


def _question_record(
    table: Table, key: str, item: Question | ParseFailure, vote: Vote | None
) -> dict[str, Any]:
    """A question, its vote and, on pocket pictures, the truth, as one row of a table."""
    valid = isinstance(item, Question)
    return {
        "valid": valid,
        "failure": "" if isinstance(item, Question) else item.reason,
        "type": item.type if isinstance(item, Question) else "",
        "question": item.question if isinstance(item, Question) else "",
        "answers": [answer for answer, _ in vote.shares] if vote else [],
        "shares": [share for _, share in vote.shares] if vote else [],
        "silver_answer": vote.answer if vote else None,
        "confidence": vote.confidence if vote else 0.0,
        "parsed": vote.parsed if vote else 0,
        "samples": vote.samples if vote else 0,
        "truth": table.oracle(key, item) if table.oracle and isinstance(item, Question) else None,
    }


def _train(
    table: Table, *, start: AdapterVersion, prompts: Sequence[Prompt], rollout: grpo.Rollout, phase: Any,
    folder: Path, seed: int, on_step: Any,
) -> grpo.Trained:  # fmt: skip
    with table.watch("optimisation"):
        return grpo.train(
            policy=table.policy, start=start, engine=table.engine, prompts=prompts, rollout=rollout,
            phase=phase, optimizer=table.config.optimizer, scratch=folder / UNFINISHED, seed=seed,
            on_step=on_step,
        )  # fmt: skip


def _telling(advance: Advance, table: Table, phase: str) -> Callable[[dict[str, float]], None]:
    """Tells display and trackers of each step."""

    def on_step(row: dict[str, float]) -> None:
        advance(f"reward {row['reward']:.3f}")
        with table.watch("telemetry"):
            table.tracker.log_step(phase, row)

    return on_step


def _remember(memory: Sequence[str], records: Sequence[dict[str, Any]], *, size: int) -> Sequence[str]:
    """The memory after one more step."""
    return rewards.remember(memory, [row["question"] for row in records if row["valid"]], size=size)


def _by_lot(group: Sequence[Reward], *, seed: int) -> list[Reward]:
    """The control: rewards of 0 or 1 drawn by lot, the real parts kept for the record."""
    lot = random.Random(seed)
    return [Reward(total=float(lot.random() < 0.5), parts=reward.parts) for reward in group]


def _sampling(phase: Any, *, seed: int) -> Sampling:
    """Untruncated: the log-probs feed the importance correction."""
    return Sampling(n=phase.group_size, temperature=phase.temperature, max_tokens=phase.max_tokens, seed=seed)
