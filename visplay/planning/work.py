"""How much a run asks and learns: prompts, completions and tokens by phase, and the disk they take.

Counts follow from the configuration; where a number is not known before the run, such as how many questions
are well-formed, the largest is taken; only how many pictures curation asks about goes by a share that is
assumed to be kept. Tokens go by mean lengths, which are said, and by `max_tokens` at most.
"""

import math
from dataclasses import dataclass, replace

from visplay.config.loading import Config, enough_kept, phase_of
from visplay.config.sections import Phase
from visplay.evaluation.spec import expand
from visplay.models.counting import Size

CHUNK = 64  # pictures that curation asks about at a time
VERDICT_LIMIT = 256  # tokens of a shipped judge's verdict, at most
BLIND_QUESTIONS = 64  # that curation asks again with a grey picture
BLIND = 0.25  # of a step's images, whose questions are asked blind where groundedness is rewarded
QUESTION_TOKENS, ANSWER_TOKENS, VERDICT_TOKENS = 80, 300, 100  # mean lengths of completions, assumed
KEPT = 0.25  # of curation's questions, assumed, where it stops when enough is kept
ROW_BYTES, SAMPLE_BYTES = 1_000, 3_000  # of a row of parquet, of a stored sample with its scores
WITHOUT_CURATION = ("visplay.loop.rise:rise",)  # learns from what the Questioner has just been trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one phase does in one iteration.

    Attributes:
        phase: its name.
        prompts: asked.
        completions: sampled.
        tokens: of completions, at the mean lengths.
        bound: of completions, where each takes its `max_tokens` and curation asks about all pictures.
        rows: stored, in parquet; of an evaluation, samples.
    """

    phase: str
    prompts: int
    completions: int
    tokens: int
    bound: int
    rows: int = 0


def iteration_work(config: Config, *, pictures: int, kept: float = KEPT) -> list[Work]:
    """The phases of one iteration in their order, measuring included.

    Args:
        config: of the run.
        pictures: in `images.source`.
        kept: share of curation's questions that is kept, in (0, 1].
    """
    found = [
        _rollouts("questioner", config.questioner, length=QUESTION_TOKENS),
        *_questioner_votes(config),
    ]
    if config.loop not in WITHOUT_CURATION:
        found += _curation(config, pictures=pictures, kept=kept)
    for role in ("reasoner", *config.roles):
        found.append(_rollouts(role, phase_of(config, role), length=ANSWER_TOKENS))
    return [work for work in [*found, evaluation_work(config)] if work.completions]


def evaluation_work(config: Config) -> Work:
    """One evaluation: every benchmark once greedily, some again blind, some sampled for maj@k."""
    own = config.evaluation
    sizes = [min(own.limit, spec.rows or own.limit) for spec in expand(own.benchmarks) if not spec.parts]
    greedy, sampled = sum(sizes), sum(min(own.maj_limit, size) for size in sizes)
    blind = sum(min(own.blind_limit, size) for size in sizes)
    return _answers(
        "evaluation", prompts=greedy + blind + sampled, config=config, stored=True,
        completions=greedy + blind + config.votes.samples * sampled,
    )  # fmt: skip


def evaluations(config: Config) -> int:
    """How often a whole run measures: the base, every so many iterations, the last."""
    return len({0, config.iterations, *range(0, config.iterations, config.evaluation.every)})


def disk(config: Config, size: Size, *, pictures: int, kept: float = KEPT) -> dict[str, int]:
    """Bytes that a whole run leaves on disk, and those that it takes besides while a phase goes on.

    An adapter is fp32. Inside a phase lie the published versions and two of the trainer's checkpoints
    (adapter, its reference, AdamW's two moments), of which the older goes when the newer is whole.
    """
    adapter = 4 * size.adapter
    last = config.checkpoints.keep_last
    of = min(config.iterations, last + 1) if last else config.iterations
    trained = sum(1 for role in config.role_names if phase_of(config, role).steps)
    first = 1 if config.adapters == "shared" else len(config.role_names)
    works = iteration_work(config, pictures=pictures, kept=kept)
    rows = sum(work.rows for work in works if work.phase != "evaluation")
    samples = evaluation_work(config).rows * evaluations(config)
    return {
        "adapters": adapter * (first + trained * of),
        "rollouts": ROW_BYTES * rows * config.iterations,
        "samples": SAMPLE_BYTES * samples,
        "working": adapter * (3 + 2 * (3 + config.optimizer.keeps_start)),
    }


def _rollouts(name: str, phase: Phase, *, length: int) -> Work:
    prompts = phase.steps * phase.prompts_per_step
    completions = prompts * phase.group_size
    return Work(
        phase=name, prompts=prompts, completions=completions, rows=completions,
        tokens=completions * min(length, phase.max_tokens), bound=completions * phase.max_tokens,
    )  # fmt: skip


def _questioner_votes(config: Config) -> list[Work]:
    phase = config.questioner
    groups = phase.steps * phase.prompts_per_step
    questions = groups * phase.group_size
    judged = _verdicts(config, questions)
    if config.rewards.groundedness_weight:
        questions += round(groups * BLIND) * phase.group_size
    samples = config.votes.samples
    votes = _answers(
        "its votes", prompts=questions * _views(config, samples),
        completions=questions * samples, config=config,
    )  # fmt: skip
    return [*judged, votes]


def _views(config: Config, samples: int) -> int:
    """Pictures that are shown for the votes on one question."""
    return min(max(1, len(config.votes.views)), samples)


def _verdicts(config: Config, questions: int) -> list[Work]:
    """What a shipped judge says of that many questions; one of the user's own is not known."""
    function = config.judge.function or ""
    if not function.startswith("visplay.loop.judging:"):
        return []
    work = Work(
        phase="its verdicts", prompts=questions, completions=questions, tokens=questions * VERDICT_TOKENS,
        bound=questions * VERDICT_LIMIT,
    )  # fmt: skip
    return [work]


def pictures_asked(config: Config, *, pictures: int, kept: float = KEPT) -> tuple[int, int]:
    """How many pictures one curation asks about where the share `kept` of questions is, and at most."""
    most, enough = min(pictures, config.curation.images or pictures), enough_kept(config)
    if enough is None:
        return most, most
    chunks = math.ceil(enough / (kept * config.curation.questions_per_image * CHUNK))
    return min(most, max(1, chunks) * CHUNK), most


def _curation(config: Config, *, pictures: int, kept: float) -> list[Work]:
    asked, most = pictures_asked(config, pictures=pictures, kept=kept)
    works, longest = _curation_of(config, asked), _curation_of(config, most)
    return [replace(work, bound=last.bound) for work, last in zip(works, longest, strict=True)]


def _curation_of(config: Config, pictures: int) -> list[Work]:
    """What curation asks, judges and votes on, where it asks about so many pictures."""
    length, samples = config.questioner.max_tokens, config.curation.samples or config.votes.samples
    asked = pictures * config.curation.questions_per_image
    voted = asked * (1 if config.curation.max_blind is None else 2)
    asking = Work(
        phase="curation", prompts=pictures, completions=asked, rows=asked,
        tokens=asked * min(QUESTION_TOKENS, length), bound=asked * length,
    )  # fmt: skip
    votes = _answers(
        "its votes", prompts=voted * _views(config, samples), config=config,
        completions=voted * samples + BLIND_QUESTIONS,
    )  # fmt: skip
    return [asking, *_verdicts(config, asked), votes]


def _answers(name: str, *, prompts: int, completions: int, config: Config, stored: bool = False) -> Work:
    length = config.reasoner.max_tokens
    return Work(
        phase=name, prompts=prompts, completions=completions,
        tokens=completions * min(ANSWER_TOKENS, length), bound=completions * length,
        rows=completions if stored else 0,
    )  # fmt: skip
