"""How much a run asks and learns: completions and their tokens by phase.

Counts follow from the configuration; where a number is not known before the run, such as how many questions
are well-formed, the largest is taken; only how many pictures curation asks about goes by a share that is
assumed to be kept. Tokens go by mean lengths, which are said.
"""

import math
from dataclasses import dataclass

from visplay.config.loading import Config, enough_kept, phase_of
from visplay.config.sections import Phase
from visplay.evaluation.spec import expand

CHUNK = 64  # pictures that curation asks about at a time
VERDICT_LIMIT = 256  # tokens of a shipped judge's verdict, at most
BLIND_QUESTIONS = 64  # that curation asks again with a grey picture
BLIND = 0.25  # of a step's images, whose questions are asked blind where groundedness is rewarded
QUESTION_TOKENS, ANSWER_TOKENS, VERDICT_TOKENS = 80, 300, 100  # mean lengths of completions, assumed
KEPT = 0.25  # of curation's questions, assumed, where it stops when enough is kept
WITHOUT_CURATION = ("visplay.loop.rise:rise",)  # learns from what the Questioner has just been trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one phase samples in one iteration: completions, and their tokens at the mean lengths."""

    phase: str
    completions: int
    tokens: int


def iteration_work(config: Config, *, pictures: int) -> list[Work]:
    """The phases of one iteration in their order, measuring included; `pictures` are in `images.source`."""
    found = [_rollouts("questioner", config.questioner, length=QUESTION_TOKENS), *_votes_of_training(config)]
    if config.loop not in WITHOUT_CURATION:
        found += _curation(config, pictures_asked(config, pictures=pictures))
    found += [
        _rollouts(role, phase_of(config, role), length=ANSWER_TOKENS) for role in ("reasoner", *config.roles)
    ]
    return [work for work in [*found, evaluation_work(config)] if work.completions]


def evaluation_work(config: Config) -> Work:
    """One evaluation: every benchmark once greedily, some again blind, some sampled for maj@k."""
    own = config.evaluation
    sizes = [min(own.limit, spec.rows or own.limit) for spec in expand(own.benchmarks) if not spec.parts]
    sampled = config.votes.samples * sum(min(own.maj_limit, size) for size in sizes)
    return _answers("evaluation", sum(sizes) + sum(min(own.blind_limit, n) for n in sizes) + sampled, config)


def evaluations(config: Config) -> int:
    """How often a whole run measures: the base, every so many iterations, the last."""
    return len({0, config.iterations, *range(0, config.iterations, config.evaluation.every)})


def pictures_asked(config: Config, *, pictures: int) -> int:
    """How many pictures one curation asks about where the share `KEPT` of questions is kept."""
    most, enough = min(pictures, config.curation.images or pictures), enough_kept(config)
    if enough is None:
        return most
    chunks = math.ceil(enough / (KEPT * config.curation.questions_per_image * CHUNK))
    return min(most, max(1, chunks) * CHUNK)


def _rollouts(name: str, phase: Phase, *, length: int) -> Work:
    completions = phase.steps * phase.prompts_per_step * phase.group_size
    return Work(phase=name, completions=completions, tokens=completions * min(length, phase.max_tokens))


def _votes_of_training(config: Config) -> list[Work]:
    """What a judge and the Reasoner say of the questions that the Questioner is trained on."""
    phase = config.questioner
    groups = phase.steps * phase.prompts_per_step
    voted = groups + (round(groups * BLIND) if config.rewards.groundedness_weight else 0)
    votes = _answers("its votes", voted * phase.group_size * config.votes.samples, config)
    return [*_verdicts(config, groups * phase.group_size), votes]


def _curation(config: Config, pictures: int) -> list[Work]:
    """What curation asks, judges and votes on, where it asks about so many pictures."""
    asked = pictures * config.curation.questions_per_image
    voted = asked * (1 if config.curation.max_blind is None else 2)
    samples = config.curation.samples or config.votes.samples
    tokens = asked * min(QUESTION_TOKENS, config.questioner.max_tokens)
    return [
        Work(phase="curation", completions=asked, tokens=tokens),
        *_verdicts(config, asked),
        _answers("its votes", voted * samples + BLIND_QUESTIONS, config),
    ]


def _verdicts(config: Config, questions: int) -> list[Work]:
    """What a shipped judge says of that many questions; one of the user's own is not known."""
    shipped = (config.judge.function or "").startswith("visplay.loop.judging:")
    tokens = questions * VERDICT_TOKENS
    return [Work(phase="its verdicts", completions=questions, tokens=tokens)] if shipped else []


def _answers(name: str, completions: int, config: Config) -> Work:
    tokens = completions * min(ANSWER_TOKENS, config.reasoner.max_tokens)
    return Work(phase=name, completions=completions, tokens=tokens)
