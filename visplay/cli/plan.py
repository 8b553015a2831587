"""`visplay plan` and `visplay config init`: what a run will take, and a first configuration that fits."""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import torch
from rich.console import Console

from visplay.cli.printing import plain_table
from visplay.config.loading import Config, check_config, check_names, enough_kept, load_config
from visplay.config.method import ABOUT, differences
from visplay.config.sections import POCKET, Model
from visplay.config.yaml_text import read_yaml
from visplay.data.images import count_entries
from visplay.errors import ImageSourceError
from visplay.models.memory import CARDS, GIB, LEAST_LENGTH, Card, find_card
from visplay.models.policy import check_device, device_of
from visplay.models.processor import load_processor, smaller_pictures
from visplay.planning.plan import Plan, make_plan
from visplay.planning.work import (
    ANSWER_TOKENS,
    KEPT,
    QUESTION_TOKENS,
    WITHOUT_CURATION,
    evaluation_work,
    evaluations,
    iteration_work,
    pictures_asked,
    too_few_pictures,
)
from visplay.training.arguments import check_fields

ASSUMED_PICTURES = 1000  # where the source is not there yet
TRAINER_LINES = {
    "weights": "weights of the base", "adapter": "LoRA weights (fp32)", "gradients": "LoRA gradients",
    "moments": "AdamW's two moments", "reference": "LoRA as reference (KL)",
    "kept": "kept by the forward pass", "working": "one layer's backward or LM head",
    "pictures": "pictures of the step", "overhead": "allocator and CUDA context",
}  # fmt: skip


def print_plan(
    config: Config | str | Path, *, cards: Sequence[Card | str] = (), pictures: int | None = None,
    console: Console | None = None,
) -> None:  # fmt: skip
    """Print memory, cards and work of a run.

    Args:
        config: of the run, or its YAML file.
        cards: GPUs to plan for, or their names, such as "h100"; all known ones if there are none.
        pictures: number of pictures; None counts those in `images.source`.
        console: prints the plan; None is standard output, 80 columns wide.

    Raises:
        ConfigError: no `config.json` of the base VLM can be read, or a run could not start with a key.
    """
    config, console = load_config(config), console or Console(width=80)
    check_names(config)
    check_fields(config.optimizer)
    if torch.cuda.is_available() or not config.model.device.startswith("cuda"):  # else a GPU elsewhere
        check_device(device_of(config.model))
    plan = make_plan(config)
    evaluation_work(config)  # an unknown benchmark is an error before anything is printed
    size, dtype = plan.size, str(plan.size.dtype).removeprefix("torch.")
    less = " The base is quantized: its weights take less." * ("quantization_config" in config.model.options)
    apart = "".join(f"\n  {line}" for line in differences(config))
    console.print(f"method {config.method}: {ABOUT[config.method]}{apart}", highlight=False)
    console.print(
        f"{config.name}: {config.model.path} in {dtype} on a {'GPU' if plan.on_gpu else 'CPU'}\n"
        f"{size.parameters:,} parameters; LoRA of rank {config.lora.rank} adds {size.adapter:,}; a token "
        f"takes {size.kv_bytes:,} bytes of KV cache.\n"
        f"A prompt of {plan.batch.prompt:,} tokens, {plan.prompt.how}, and at most "
        f"{plan.batch.completion:,} tokens of completion.{less}",
        highlight=False,
    )  # fmt: skip
    _print_memory(plan, console)
    if plan.on_gpu:
        named = [find_card(card) if isinstance(card, str) else card for card in cards]
        _print_cards(plan, named or CARDS, console)
    _print_work(plan, console, pictures=pictures)
    console.print(
        "Counted and added up, not measured: one run on one card has confirmed its memory. "
        "docs/planning.md says what it was checked against.",
        highlight=False,
    )  # fmt: skip


def _print_memory(plan: Plan, console: Console) -> None:
    trainer, engine, alone = plan.trainer(), plan.engine(), plan.backend == "transformers"
    table = plain_table(f"Trainer, micro-batches of {plan.trainer_micro}", "", "GB")
    for name, words in TRAINER_LINES.items():
        if size := getattr(trainer, name):
            table.add_row(words, _gb(size))
    table.add_row("in all", _gb(trainer.total))
    console.print(table)
    table = plain_table(f"Engine: {plan.backend}", "", "GB")
    table.add_row("weights" if engine.weights else "weights: the trainer's", _gb(engine.weights))
    table.add_row("three versions of LoRA", _gb(engine.adapters))
    table.add_row("logits" if alone else "context, graphs, buffers", _gb(engine.runtime))
    sequences, length = (plan.config.engine.batch_size, plan.batch.tokens) if alone else (1, plan.longest)
    table.add_row(f"KV cache, {sequences} x {length:,} tokens", _gb(engine.needs))
    console.print(table)
    if alone:
        said = f"Both on one device, at work in turn: {_gb(plan.together('asleep'))} GB"
    elif plan.shares:
        said = (
            f"Both on one GPU: {_gb(plan.together('asleep'))} GB with the engine asleep while the "
            f"trainer works, {_gb(plan.together('awake'))} GB with both awake; asleep it keeps its weights, "
            f"{_gb(engine.weights)} GB, in page-locked main memory; sequences of "
            f"{max(plan.longest, LEAST_LENGTH):,} tokens where there is room, {plan.longest:,} at least."
        )
    else:
        said = f"The engine ({plan.backend}) is on cards of its own."
    console.print(said, highlight=False)


def _print_cards(plan: Plan, cards: Sequence[Card], console: Console) -> None:
    columns = ("asleep", "awake") if plan.shares else ("1 x",)
    table = plain_table(
        "Largest micro-batch by card; - where none fits", "card", "GiB", *columns, "2 x", "4 x", "8 x"
    )
    for card in cards:
        own = [plan.largest_micro(card, how) for how in (("asleep", "awake") if plan.shares else ("asleep",))]
        own += [plan.largest_micro(card, "fsdp2", ranks=ranks) for ranks in (2, 4, 8)]
        table.add_row(card.name, f"{card.memory // GIB}", *(str(micro or "-") for micro in own))
    console.print(table)
    console.print(
        ("asleep, awake: trainer and engine on one card. " if plan.shares else "")
        + "2 x, 4 x, 8 x: the trainer alone on 2, 4 or 8 ranks with FSDP2 (docs/scaling.md).",
        highlight=False,
    )


def _print_work(plan: Plan, console: Console, *, pictures: int | None) -> None:
    config = plan.config
    count, how = _pictures(config, pictures)
    works = iteration_work(config, pictures=count)
    table = plain_table(
        f"One iteration of {config.iterations}, {count:,} pictures {how}",
        "phase", "completions", "tokens",
    )  # fmt: skip
    for work in works:
        table.add_row(work.phase, f"{work.completions:,}", _short(work.tokens))
    console.print(table)
    if (enough := enough_kept(config)) is not None and config.loop not in WITHOUT_CURATION:
        asked = pictures_asked(config, pictures=count)
        console.print(
            f"Curation stops once {enough:,} examples are kept: after about {asked:,} pictures where "
            f"{KEPT:.0%} of the questions are, which is assumed.",
            highlight=False,
        )  # fmt: skip
    if few := too_few_pictures(config, pictures=count):
        console.print(few, highlight=False)
    once, often = evaluation_work(config), evaluations(config)
    repeated = [work for work in works if work.phase != "evaluation"]
    total = config.iterations * sum(w.completions for w in repeated) + often * once.completions
    tokens = config.iterations * sum(w.tokens for w in repeated) + often * once.tokens
    console.print(
        f"The whole run: {total:,} completions, {_short(tokens)} tokens. Questions of {QUESTION_TOKENS} and "
        f"answers of {ANSWER_TOKENS} tokens are assumed; all questions count as valid.",
        highlight=False,
    )  # fmt: skip


def _pictures(config: Config, given: int | None) -> tuple[int, str]:
    """The number of pictures, and where it comes from."""
    images = config.images
    if given is not None:
        return given, "as given"
    try:
        found = count_entries(images.source, column=images.column)
    except ImageSourceError:
        return images.limit or ASSUMED_PICTURES, f"assumed ({images.source} is not there)"
    return min(found, images.limit or found), f"in {images.source}"


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f}" if size >= 5e7 else f"{size / 1e9:.3f}"


def _short(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count:,}"


# Tokens of a picture, of a question and of an answer, the roomiest first; the first with which a micro-batch
# of LEAST_MICRO completions fits is taken.
LENGTHS = ((1280, 1024, 4096), (1280, 1024, 2048), (640, 512, 2048), (640, 512, 1024), (320, 256, 512))
LEAST_MICRO, MOST_MICRO = 4, 16


def card_here() -> Card | None:
    """This machine's first GPU as a card; None without one."""
    if not torch.cuda.is_available():
        return None
    about = torch.cuda.get_device_properties(0)
    return Card(name=about.name, memory=about.total_memory, half=("float16", "bfloat16")[about.major >= 8])


def draft(model: str, images: str, *, card: Card | None, file: Path | None) -> str:
    """The text of a configuration.

    Args:
        model: base VLM, as `model.path`.
        images: pictures, as `images.source`.
        card: that it is written for; None: the CPU.
        file: it will be written to, for the commands in its head.

    Raises:
        ConfigError: no `config.json` or no processor of the base VLM can be read, or nothing fits the card.
    """
    name = re.sub(r"[^\w.-]+", "-", (file.stem if file else Path(model).name).lower()).strip(".") or "run"
    at = f" --card {card.name}" if card in CARDS and model not in POCKET else ""
    settings = {"name": name, "model": model, "images": images, "file": str(file or "FILE"), "at": at}
    if model in POCKET:
        about = [f"The VLM {model} of the package: minutes on two CPU cores, everything synthetic."]
    else:
        plan, settings = _roomiest(settings, card)
        about = list(_about(plan, card))
    return _filled(settings, about=[*about, _counted(images)])


def _counted(images: str) -> str:
    try:
        return f"{count_entries(Path(images)):,} pictures in {images}."
    except ImageSourceError as error:
        return f"No pictures yet: {' '.join(str(error).split())[:160]}"


def _roomiest(settings: dict[str, Any], card: Card | None) -> tuple[Plan, dict[str, Any]]:
    """The plan of the configuration with the largest limits that fits, and the values of the template."""
    processor = load_processor(Model(path=settings["model"]))
    best: tuple[int, Plan, dict[str, Any]] | None = None
    for tokens, question, answer in LENGTHS if card else LENGTHS[-1:]:
        smaller = smaller_pictures(processor, tokens=tokens)
        # vLLM takes no lists among a processor's settings.
        listed = any(isinstance(value, list) for value in smaller.get("processor", {}).values())
        own = settings | {
            "smaller": smaller, "question": question, "answer": answer, "on_gpu": card is not None,
            "transformers": listed and card is not None, "micro": 1, "half": card.half if card else "float32",
        }  # fmt: skip
        plan = make_plan(check_config(read_yaml(_filled(own))), on_gpu=card is not None)
        micro = min(plan.largest_micro(card, "asleep") if card else LEAST_MICRO, MOST_MICRO)
        own["micro"] = max(micro, 1)
        if best is None or micro > best[0]:
            config = check_config(read_yaml(_filled(own)))
            best = micro, dataclasses.replace(plan, config=config), own
        if micro >= LEAST_MICRO:
            break
    assert best is not None
    return best[1], best[2]


def _about(plan: Plan, card: Card | None) -> Iterator[str]:
    if card is None:
        yield "For a CPU: to try things out; a VLM of billions of parameters takes days there."
        return
    needed, memory = plan.together("asleep"), card.memory
    fits = plan.largest_micro(card, "asleep") >= plan.trainer_micro
    yield (
        f"For one {card.name} of {memory // GIB} GiB ({memory / 1e9:.1f} GB): `visplay plan` expects "
        f"{needed / 1e9:.1f} GB"
        + (" with vLLM asleep while the trainer works." if plan.backend == "vllm" else ".")
    )
    if not fits:
        yield (
            "THIS DOES NOT FIT at any length: use a larger card, a smaller VLM, or servers of their "
            "own (docs/scaling.md)."
        )


def _filled(settings: dict[str, Any], *, about: Sequence[str] = ()) -> str:
    """The filled template of a configuration; values are written as JSON, which YAML reads."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["json"] = partial(json.dumps, ensure_ascii=False)
    text = files("visplay.cli").joinpath("draft.yaml.jinja").read_text(encoding="utf-8")
    return environment.from_string(text).render(about=about, **settings)
