"""Export a trained Reasoner or Questioner as a checkpoint for transformers, PEFT and vLLM, with a model card.

The templates in `cards/` render a card. It reports the figures of its run with their intervals, and what was
not measured.
"""

import re
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import jinja2
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from PIL import Image

from rollouts.chat import Chat
from visplay.config.loading import Config
from visplay.config.prompts import Prompts
from visplay.config.sections import Model, trusted
from visplay.errors import RunError
from visplay.evaluation.verdict import blind, difference, estimate, headline, headlines, quantity
from visplay.models.counting import base_dtype, read_architecture
from visplay.models.policy import check_adapter, load_base
from visplay.models.preflight import trainer_logprobs
from visplay.models.processor import load_processor
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import roles_after
from visplay.runs.results import read_curations, read_summaries, run_config
from visplay.runs.run import outside_runs, read_starts
from visplay.storage import write_text

Form = Literal["adapter", "merged"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
LEAST_KEPT = 0.9  # smallest share of an adapter's change that merged weights must keep
SMALLEST = 1e-5  # nats; a smaller change of log-probs counts as none
PROBE = "The picture shows three red circles above a small blue square. The answer is \\boxed{3} or 12.5 %."


def export(
    run: str | Path,
    out: str | Path,
    *,
    role: str = "reasoner",
    iteration: int | None = None,
    form: Form = "adapter",
    dtype: Dtype = "auto",
    trust_remote_code: bool = False,
) -> Path:
    """Write a checkpoint of a run to the new folder `out`, with a model card of the run's figures.

    Args:
        run: a run's folder.
        out: the checkpoint's folder; it must not exist or be empty.
        role: `questioner` or `reasoner`; with shared adapters they have the same weights.
        iteration: the iteration to export; None exports the last finished one.
        form: `adapter` writes a PEFT folder; `merged` writes the whole model with the adapter merged in.
        dtype: the type of merged weights; `auto` uses the run's.
        trust_remote_code: with `merged`, run the code in the base VLM's repository.

    Raises:
        RunError: not a run, no such role, the iteration is not finished, `out` is not empty, or the merged
            weights would not reproduce the adapter's outputs.
        ConfigError: the run trusted the code of its base, and `trust_remote_code` was not given.
    """
    run, out = Path(run), Path(out)
    config = run_config(run)
    last, adapters = roles_after(run, iteration=iteration)
    if role not in adapters:
        raise RunError(f"{run} trains no role {role!r}; it trains {', '.join(adapters)}")
    if form not in get_args(Form):
        raise RunError(f"form must be one of {', '.join(get_args(Form))}, got {form!r}")
    adapter = adapters[role].path
    assert adapter is not None
    check_adapter(adapter, config.model)

    def write(scratch: Path) -> None:
        saved = None
        if form == "adapter":
            shutil.copytree(adapter, scratch, dirs_exist_ok=True)
        else:
            trusting = trusted(config.model, again=trust_remote_code, shown=str(run))
            saved = _merge(trusting, adapter, scratch, dtype=dtype)
            # As published, with the run's picture settings; loading it sets the chat template again.
            load_processor(
                trusting.model_copy(update={"chat_template_kwargs": {}, "date": None})
            ).save_pretrained(scratch)
        card = model_card(run, config, role=role, iteration=last, form=form, saved=saved)
        write_text(scratch / "README.md", card)

    return write_export(out, write)


def _merge(config: Model, adapter: Path, out: Path, *, dtype: Dtype) -> tuple[str, float]:
    """Merge an adapter into the weights in 32 bits, and save them in a type that preserves its change.

    An update of a weight is often smaller than half a step of a 16-bit weight, and rounding removes it. This
    function therefore compares the log-probs of a probe under the base with the adapter and under the saved
    weights.

    Returns:
        The type, and the share of the adapter's change of the log-probs that the saved weights keep.

    Raises:
        RunError: the share is less than `LEAST_KEPT`, or the adapter is on embeddings that the base ties.
    """
    named = config if dtype == "auto" else config.model_copy(update={"dtype": dtype})
    kept_in = base_dtype(read_architecture(named), named)
    base, processor = load_base(config.model_copy(update={"dtype": "float32"}))
    ends = (base.get_input_embeddings(), base.get_output_embeddings())
    tied = ends[1] is not None and ends[0].weight is ends[1].weight
    peft: Any = PeftModel.from_pretrained(base, str(adapter)).eval()
    if tied and any(
        part.get_base_layer() in ends for part in peft.modules() if isinstance(part, BaseTunerLayer)
    ):
        raise RunError(
            "the adapter is on embeddings that the base ties to its LM head, so a merge would change both; "
            "export it as an adapter, or leave embed_tokens and lm_head out of lora.targets"
        )
    chat = Chat(processor, config=base.config, generation=base.generation_config)
    prompt = reasoner_prompt(Image.new("RGB", (224, 224), "teal"), "What is shown?", words=Prompts())
    ids = chat.tokenizer(PROBE, add_special_tokens=False)["input_ids"]

    def logprobs(model: Any) -> torch.Tensor:
        return torch.tensor(trainer_logprobs(model, chat, prompt, ids, 1.0))

    with peft.disable_adapter():
        before = logprobs(peft)
    adapted = logprobs(peft)
    merged: Any = peft.merge_and_unload().to(kept_in).float()
    change = float((adapted - before).norm())
    share = 1 - float((logprobs(merged) - adapted).norm()) / change if change > SMALLEST else 1.0
    shown = str(kept_in).removeprefix("torch.")
    if share < LEAST_KEPT:
        raise RunError(
            f"in {shown} the merged weights would keep only {max(share, 0):.0%} of the adapter's change, "
            "because its updates are smaller than a step of that type. Use --dtype float32, or "
            "export the adapter, which loses nothing"
        )
    merged.to(kept_in).save_pretrained(out)
    return shown, share


def write_export(out: Path, write: Callable[[Path], None]) -> Path:
    """Call `write` on a new scratch folder beside `out`, and rename that folder to `out`.

    Raises:
        RunError: `out` is not empty, is a file, or is inside a run's folder.
    """
    if outside_runs(out).exists() and not out.is_dir():
        raise RunError(f"{out} is a file; export into a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise RunError(f"{out} is not empty; export into a new folder")
    place = out.resolve()  # an empty folder may be given as a link, or as `.`
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as beside:
        scratch = Path(beside) / "export"
        scratch.mkdir()
        write(scratch)
        for file in (path for path in scratch.rglob("*") if path.is_file()):
            file.chmod(scratch.stat().st_mode & 0o666)  # by the umask; safetensors writes for its user only
        if place.exists():
            place.rmdir()
        scratch.rename(place)
    return out


def model_card(
    run: Path,
    config: Config,
    *,
    role: str,
    iteration: int,
    form: Form,
    saved: tuple[str, float] | None = None,
) -> str:
    """The card of a trained role; each figure is computed from the run's stored samples.

    `saved` is the type of merged weights and the share of the adapter's change that they keep.
    """
    measured = headlines(read_summaries(run), iteration=iteration)
    silver = read_curations(run).get(iteration, {}).get("silver_accuracy")
    return card(
        "model.md", run, config, role=role, iteration=iteration, form=form, measured=measured, saved=saved,
        on_the_hub=_on_the_hub(config.model.path), kept=silver["kept"] if silver else None,
        unblinded=[line.benchmark for line in measured if blind(line.last or line.base or {}) is None],
    )  # fmt: skip


def card(name: str, run: Path, config: Config, **values: Any) -> str:
    """Render the card of an exported model or dataset.

    Args:
        name: a template in `cards/`: `model.md`, or `silver.md` with YAML that `datasets` and the hub read.
        run: the run's folder.
        config: the run's configuration.
        values: further values that the template uses.
    """
    versions = read_starts(run)[-1]
    used = [f"{n} {v}" for n, v in versions.items() if n not in ("step", "date") and v != "not installed"]
    model = config.model.path
    text = files("visplay.evaluation").joinpath("cards", name).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )  # cards are Markdown, not HTML
    return environment.from_string(text).render(
        config=config,
        base=model if _on_the_hub(model) else Path(model).name,  # without local folder names
        trained_by="trained by self-play without labels (VisPlay, arXiv 2511.15661) with visplay "
        f"{versions['visplay']}: method\n`{config.method}`, control `{config.control}`, adapters "
        f"`{config.adapters}`, seed {config.seed}.",
        made_with=", ".join(used),
        headline=headline, estimate=estimate, difference=difference, quantity=quantity, blind=blind, **values,
    )  # fmt: skip


def _on_the_hub(model: str) -> bool:
    """Whether a model's path is a repository id; the hub rejects a card with any other base model."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", model) is not None and not Path(model).exists()
