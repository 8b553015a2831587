"""A trained Reasoner or Questioner as a checkpoint that transformers, PEFT and vLLM load as it is."""

import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel

from visplay.config.sections import trusted
from visplay.errors import RunError
from visplay.evaluation.cards import Form, model_card
from visplay.evaluation.exported import digest, write_export
from visplay.models.policy import load_base
from visplay.models.processor import load_processor
from visplay.runs.checkpoints import roles_after
from visplay.runs.results import run_config
from visplay.storage import write_text


def export(
    run: str | Path,
    out: str | Path,
    *,
    role: str = "reasoner",
    iteration: int | None = None,
    form: Form = "adapter",
    trust_remote_code: bool = False,
    again: bool = False,
) -> Path:
    """Write what a run has trained to the new folder `out`, with a model card of the run's own figures.

    Args:
        run: a run's folder.
        out: where the checkpoint goes; must not exist, or be empty.
        role: `questioner` or `reasoner`; with shared adapters they are the same weights.
        iteration: after which; None takes the last finished one.
        form: `adapter` is a PEFT folder; `merged` the whole model with the adapter added into its weights.
        trust_remote_code: with `merged`, run the code that the base VLM's repository carries.
        again: leave `out` as it is where it holds this very export.

    Raises:
        RunError: not a run, no such role, the iteration is not finished, or `out` holds something else.
        ConfigError: the run trusted the code of its base, and `trust_remote_code` was not given.
    """
    run, out = Path(run), Path(out)
    config = run_config(run)
    last, adapters = roles_after(run, iteration=iteration)
    if role not in adapters:
        raise RunError(f"{run} trains no role {role!r}; it trains {', '.join(adapters)}")
    adapter = adapters[role].path
    assert adapter is not None

    def write(scratch: Path) -> None:
        if form == "adapter":
            shutil.copytree(adapter, scratch, dirs_exist_ok=True)
        else:
            trusting = trusted(config.model, again=trust_remote_code, shown=str(run))
            model, _ = load_base(trusting)
            merged: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
            merged.save_pretrained(scratch)
            # As it was published, with the run's settings of pictures; who loads it sets the template anew.
            load_processor(
                trusting.model_copy(update={"chat_template_kwargs": {}, "date": None})
            ).save_pretrained(scratch)
        card = model_card(run, config, role=role, iteration=last, form=form)
        write_text(scratch / "README.md", card)

    weights = digest([adapter / "adapter_model.safetensors"])
    made_of = {"export": form, "role": role, "iteration": last, "sha256": weights}
    return write_export(out, made_of, write, again=again)
