"""Let the two roles of a trained run ask and answer questions about one picture."""

from pathlib import Path

from rollouts.transformers_engine import TransformersEngine
from visplay.config.sections import trusted
from visplay.data.images import read_images
from visplay.errors import ImageSourceError
from visplay.loop.asking import Asked, Round, parse, vote
from visplay.loop.context import RunContext
from visplay.loop.curation import ask_about, band
from visplay.models.policy import Policy, load_base
from visplay.models.processor import picture_limits
from visplay.progress import Display, Stopwatch
from visplay.runs.checkpoints import roles_after
from visplay.runs.results import run_config
from visplay.runs.run import Run, begun
from visplay.runs.tracking import Tracker


def ask(
    run: Path,
    picture: Path,
    *,
    iteration: int | None,
    questions: int,
    seed: int,
    display: Display,
    trust_remote_code: bool = False,
) -> list[Asked]:
    """Let a run's Questioner ask about a picture and its Reasoner vote, as in curation.

    Args:
        run: a run's folder.
        picture: any picture file.
        iteration: the iteration of the adapters; None uses the last finished one.
        questions: the number of questions N, >= 1.
        seed: seed of the sampling.
        display: where progress is shown.
        trust_remote_code: run the code in the base VLM's repository.

    Returns:
        One row per question.

    Raises:
        RunError: not a run, or the iteration is not finished.
        ImageSourceError: the picture cannot be read.
        ConfigError: the run trusted the code of its base, and `trust_remote_code` was not given.
    """
    config = run_config(run)
    if not picture.is_file():
        what = "is a folder; name one picture in it" if picture.is_dir() else "is not there"
        raise ImageSourceError(f"the picture {picture} {what}; the order is RUN PICTURE")
    _, roles = roles_after(run, iteration=iteration)
    trusting = trusted(config.model, again=trust_remote_code, shown=str(run))
    model, processor = load_base(trusting.model_copy(update={"date": config.model.date or begun(run)}))
    policy = Policy(model, processor, lora=config.lora)  # without training, one copy of the base is enough
    images = read_images(picture, accepts=picture_limits(policy.processor))
    ctx = RunContext(
        config=config.model_copy(
            update={"curation": config.curation.model_copy(update={"questions_per_image": questions})}
        ),
        run=Run(run),
        policy=policy,
        engine=TransformersEngine(model, processor, batch_size=config.engine.batch_size),
        images=images,
        picture=images.load,
        control_tokens=policy.chat.control_tokens,
        oracle=None,
        watch=Stopwatch(),
        display=display,
        tracker=Tracker(config.model_copy(update={"report_to": []})),
    )
    for adapter in roles.values():
        ctx.publish(adapter)
    round = Round(phase="curation", roles=roles, seed=seed)
    stages = [parse, vote, band]  # no judge, so that no code that the run names is imported
    (rows,) = ask_about(ctx, [images.records[0].key], round, stages=stages)
    return rows
