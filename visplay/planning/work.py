"""The work of a run: completions and their tokens by phase.

The configuration determines the counts. If a number is not known before the run, such as the number of
well-formed questions, the largest is used. Only the number of pictures that curation visits is estimated from
an assumed share of kept questions. Tokens are estimated from stated mean lengths.
"""

import math
from dataclasses import dataclass

from visplay.config.loading import Config, enough_kept, phase_of
from visplay.config.sections import Phase
from visplay.evaluation.spec import expand

CHUNK = 64  # pictures that curation asks about at a time
VERDICT_LIMIT = 256  # tokens of a shipped judge's verdict, at most
BLIND_QUESTIONS = 64  # that curation asks again with a grey picture
QUESTION_TOKENS, ANSWER_TOKENS, VERDICT_TOKENS = 80, 300, 100  # mean lengths of completions, assumed
KEPT = 0.25  # assumed share of kept questions if curation stops when enough is kept
WITHOUT_CURATION = ("visplay.loop.rise:rise",)  # loops that train on the Questioner phase's questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The samples of one phase in one iteration: completions, and their tokens at the mean lengths."""

    phase: str
    completions: int
    tokens: int


def iteration_work(config: Config, *, pictures: int) -> list[Work]:
    """The phases of one iteration in order, with the evaluation; `pictures` are in `images.source`."""
    found = [_rollouts("questioner", config.questioner, length=QUESTION_TOKENS), *_votes_of_training(config)]
    if config.loop not in WITHOUT_CURATION:
        found += _curation(config, pictures_asked(config, pictures=pictures))
    found += [
        _rollouts(role, phase_of(config, role), length=ANSWER_TOKENS) for role in ("reasoner", *config.roles)
    ]
    return [work for work in [*found, evaluation_work(config)] if work.completions]


def evaluation_work(config: Config) -> Work:
    """One evaluation: all benchmarks greedily, some questions also blind, some sampled for maj@k."""
    own = config.evaluation
    sizes = [min(own.limit, spec.rows or own.limit) for spec in expand(own.benchmarks) if not spec.parts]
    sampled = config.votes.samples * sum(min(own.maj_limit, size) for size in sizes)
    return _answers("evaluation", sum(sizes) + sum(min(own.blind_limit, n) for n in sizes) + sampled, config)


def evaluations(config: Config) -> int:
    """Number of evaluations in a run: the base, every `evaluation.every` iterations, the last."""
    return len({0, config.iterations, *range(0, config.iterations, config.evaluation.every)})


def pictures_asked(config: Config, *, pictures: int) -> int:
    """Number of pictures that one curation visits if the share `KEPT` of questions is kept."""
    most, enough = min(pictures, config.curation.images or pictures), enough_kept(config)
    if enough is None:
        return most
    chunks = math.ceil(enough / (KEPT * config.curation.questions_per_image * CHUNK))
    return min(most, max(1, chunks) * CHUNK)


def too_few_pictures(config: Config, *, pictures: int) -> str | None:
    """That a curation keeps fewer examples than the Reasoner's phase uses; None where it keeps enough."""
    asked = min(pictures, config.curation.images or pictures)
    kept = round(KEPT * asked * config.curation.questions_per_image)
    wanted = config.reasoner.steps * config.reasoner.prompts_per_step
    if kept >= wanted or config.loop in WITHOUT_CURATION:
        return None
    return (
        f"{asked:,} pictures give about {kept:,} examples an iteration; {wanted:,} are wanted: add pictures, "
        "or lower reasoner.steps"
    )


def _rollouts(name: str, phase: Phase, *, length: int) -> Work:
    completions = phase.steps * phase.prompts_per_step * phase.group_size
    return Work(phase=name, completions=completions, tokens=completions * min(length, phase.max_tokens))


def _votes_of_training(config: Config) -> list[Work]:
    """Samples of a judge and of the Reasoner in the Questioner phase."""
    phase = config.questioner
    groups = phase.steps * phase.prompts_per_step
    votes = _answers("its votes", groups * phase.group_size * config.votes.samples, config)
    return [*_verdicts(config, groups * phase.group_size), votes]


def _curation(config: Config, pictures: int) -> list[Work]:
    """Samples of curation for a number of visited pictures: questions, verdicts and votes."""
    asked = pictures * config.curation.questions_per_image
    samples = config.curation.samples or config.votes.samples
    tokens = asked * min(QUESTION_TOKENS, config.questioner.max_tokens)
    return [
        Work(phase="curation", completions=asked, tokens=tokens),
        *_verdicts(config, asked),
        _answers("its votes", asked * samples + BLIND_QUESTIONS, config),
    ]


def _verdicts(config: Config, questions: int) -> list[Work]:
    """Samples of a shipped judge for a number of questions; those of a custom judge are unknown."""
    shipped = (config.judge.function or "").startswith("visplay.loop.judging:")
    tokens = questions * VERDICT_TOKENS
    return [Work(phase="its verdicts", completions=questions, tokens=tokens)] if shipped else []


def _answers(name: str, completions: int, config: Config) -> Work:
    tokens = completions * min(ANSWER_TOKENS, config.reasoner.max_tokens)
    return Work(phase=name, completions=completions, tokens=tokens)
