"""A trained phase as benchmarks drive it: prompts, an engine and a function that scores completions."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from visplay.config.sections import Optimizer, Phase
from visplay.models.policy import Policy
from visplay.seeds import mix_seed
from visplay.training.learner import Learner
from visplay.training.ranks import ALONE, Ranks
from visplay.training.trl import Rollout

Groups = list[list[Completion]]


def run_phase(
    policy: Policy,
    *,
    start: AdapterVersion,
    engine: RolloutEngine,
    prompts: Sequence[Prompt],
    score: Callable[[Groups], list[list[float]]],
    phase: Phase,
    optimizer: Optimizer,
    corrected: bool,
    folder: Path,
    sample: Callable[..., Groups] | None = None,
    on_step: Callable[[dict[str, float]], None] = lambda _: None,
    ranks: Ranks = ALONE,
) -> Learner:
    """Train for `phase.steps` steps, each on `prompts_per_step` of the prompts; returns the Learner."""
    each = phase.prompts_per_step
    with Learner(
        policy, start=start, phase=phase, optimizer=optimizer, corrected=corrected, folder=folder, seed=0,
        ranks=ranks,
    ) as learner:  # fmt: skip
        for step in learner.steps():
            adapter = learner.publish(engine)
            own = prompts[step * each : (step + 1) * each]
            sampling = Sampling(
                n=phase.group_size, temperature=phase.temperature, max_tokens=phase.max_tokens,
                seed=mix_seed(0, "rollout", step),
            )  # fmt: skip
            groups = (sample or engine.generate)(own, adapter=adapter, sampling=sampling)
            engine.sleep()
            rollouts = [
                Rollout(prompt=prompt, completion=completion, reward=reward)
                for prompt, group, rewards in zip(own, groups, score(groups), strict=True)
                for completion, reward in zip(group, rewards, strict=True)
            ]
            learner.update(rollouts)
            learner.save([{"ids": list(one.completion.token_ids)} for one in rollouts])
            on_step(learner.history[-1])
    return learner
