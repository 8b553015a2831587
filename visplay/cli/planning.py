"""`visplay plan`: what a run will take, in tables of 80 columns."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from visplay.cli.printing import plain_table
from visplay.config.loading import Config, enough_kept
from visplay.data.images import count_entries
from visplay.errors import ImageSourceError
from visplay.models.cards import CARDS, GIB, Card
from visplay.models.memory import ASLEEP, LEAST_LENGTH, STEP_LENGTH
from visplay.planning.plan import USABLE, Plan, make_plan
from visplay.planning.work import (
    ANSWER_TOKENS,
    KEPT,
    QUESTION_TOKENS,
    WITHOUT_CURATION,
    disk,
    evaluation_work,
    evaluations,
    iteration_work,
    pictures_asked,
)
from visplay.runs.results import kept_share

ASSUMED_PICTURES = 1000  # where the source is not there yet
TRAINER_LINES = {
    "weights": "weights of the base", "adapter": "LoRA weights (fp32)", "gradients": "LoRA gradients",
    "moments": "AdamW's two moments", "reference": "LoRA as reference (KL)",
    "kept": "kept by the forward pass", "working": "one layer's backward or LM head",
    "pictures": "pictures of the step",
    "overhead": "allocator and CUDA context",
}  # fmt: skip


def print_plan(
    config: Config, *, cards: Sequence[Card] = (), prompt_tokens: int | None = None,
    pictures: int | None = None, kept: float | None = None, console: Console | None = None,
) -> None:  # fmt: skip
    """Print memory, cards, work and disk of a run.

    Args:
        config: of the run.
        cards: to plan for; all known ones if there are none.
        prompt_tokens: of a prompt with its picture; None measures one.
        pictures: how many there will be; None counts those in `images.source`.
        kept: share of curation's questions that is kept, in (0, 1]; None takes what the run has measured so
            far, or a quarter.
        console: where to print; None: standard output, 80 columns wide.

    Raises:
        ConfigError: no `config.json` of the base VLM can be had.
    """
    console = console or Console(width=80)
    plan = make_plan(config, prompt_tokens=prompt_tokens)
    for line in _about(plan):
        console.print(line, highlight=False)
    _print_memory(plan, console)
    if plan.on_gpu:
        _print_cards(plan, cards or CARDS, console)
        for line in _advice(plan, cards):
            console.print(line, highlight=False)
    _print_work(plan, console, pictures=pictures, kept=kept)
    console.print(
        "Counted, not measured; docs/planning.md says how far a run on a card agreed with it.",
        highlight=False,
    )  # fmt: skip


def _about(plan: Plan) -> Iterator[str]:
    config, size = plan.config, plan.size
    dtype = str(size.dtype).removeprefix("torch.")
    yield f"{config.name}: {config.model.path} in {dtype} on a {'GPU' if plan.on_gpu else 'CPU'}"
    yield (
        f"{size.parameters:,} parameters; LoRA of rank {config.lora.rank} adds {size.adapter:,}; a token "
        f"takes {size.kv_bytes:,} bytes of KV cache."
    )
    yield (
        f"A prompt of {plan.batch.prompt:,} tokens, {plan.prompt.how}, and at most "
        f"{plan.batch.completion:,} tokens of completion."
    )
    if not plan.held.counted:
        yield (
            "Activations are estimated by formulas fitted to Qwen2.5-VL: this architecture's forward pass "
            "cannot be counted without values."
        )
    if config.model.options.get("quantization_config"):
        yield "The base is quantized: its weights take less than is said here."


def _print_memory(plan: Plan, console: Console) -> None:
    trainer, engine, micro = plan.trainer(), plan.engine(), plan.trainer_micro
    table = plain_table(f"Trainer, micro-batches of {micro}", "", "GB")
    for name, words in TRAINER_LINES.items():
        if size := getattr(trainer, name):
            table.add_row(words, _gb(size))
    table.add_row("in all", _gb(trainer.total))
    console.print(table)
    table = plain_table(f"Engine: {plan.backend}", "", "GB")
    table.add_row("weights" if engine.weights else "weights: the trainer's", _gb(engine.weights))
    table.add_row("three versions of LoRA", _gb(engine.adapters))
    table.add_row(
        "logits" if plan.backend == "transformers" else "context, graphs, buffers", _gb(engine.runtime)
    )
    sequences = plan.config.engine.batch_size if plan.backend == "transformers" else 1
    length = plan.batch.tokens if plan.backend == "transformers" else plan.longest
    table.add_row(f"KV cache, {sequences} x {length:,} tokens", _gb(engine.needs))
    console.print(table)
    if plan.backend == "transformers":
        console.print(
            f"Both on one device, at work in turn: {_gb(plan.together('asleep'))} GB", highlight=False
        )
        return
    if not plan.shares:
        console.print(f"The engine ({plan.backend}) is on cards of its own.", highlight=False)
        return
    console.print(
        f"Both on one GPU: {_gb(plan.together('asleep'))} GB with the engine asleep while the trainer works "
        f"({_gb(ASLEEP)} GB of it stay), {_gb(plan.together('awake'))} GB with both awake. The engine gives "
        f"what is left to its KV cache; sequences of {max(plan.longest, LEAST_LENGTH):,} tokens where there "
        f"is room, {plan.longest:,} at least.",
        highlight=False,
    )  # fmt: skip


def _print_cards(plan: Plan, cards: Sequence[Card], console: Console) -> None:
    shared = plan.shares
    columns = ("asleep", "awake") if shared else ("1 x",)
    table = plain_table(
        "Largest micro-batch by card; - where none fits", "card", "GiB", *columns, "2 x", "4 x", "8 x"
    )
    for card in cards:
        own = [plan.largest_micro(card, how) for how in (("asleep", "awake") if shared else ("asleep",))]
        own += [plan.largest_micro(card, "fsdp2", ranks=ranks) for ranks in (2, 4, 8)]
        table.add_row(card.name, f"{card.memory // GIB}", *(str(micro or "-") for micro in own))
    console.print(table)
    console.print(
        ("asleep, awake: trainer and engine on one card. " if shared else "")
        + "2 x, 4 x, 8 x: the trainer alone on so many ranks with FSDP2, the engine on cards of its own; "
        "docs/scaling.md says how they are started.",
        highlight=False,
    )


def _advice(plan: Plan, cards: Sequence[Card]) -> Iterator[str]:
    """What to lower for the cards that were named."""
    asked, shared = plan.trainer_micro, plan.shares
    for card in cards:
        asleep, awake = plan.largest_micro(card, "asleep"), plan.largest_micro(card, "awake")
        if shared and awake >= asked:
            yield f"{card.name}: fits with both awake (engine.sleep=false spares the waking)."
        elif asleep >= asked:
            how = " with the engine asleep while the trainer works (the default)" if shared else ""
            yield f"{card.name}: fits{how}."
        elif asleep:
            yield f"{card.name}: set optimizer.micro_batch_size={asleep} (it is {asked})."
        else:
            yield f"{card.name}: {_no_micro(plan, card)}"


def _no_micro(plan: Plan, card: Card) -> str:
    trainer = plan.trainer(micro=1)
    moving = trainer.kept + trainer.working
    room = USABLE * card.memory - (plan.together("asleep", micro=1) - 1.08 * moving)
    tokens = int(plan.batch.tokens * room / (1.08 * moving)) - plan.batch.prompt
    if tokens >= STEP_LENGTH // 4 and tokens < plan.batch.completion:
        return (
            f"not even micro-batches of 1 fit; with max_tokens of at most about {tokens:,} for questioner "
            "and reasoner they would."
        )
    return (
        "too small, whatever the micro-batch: take a larger card, a smaller VLM, or an engine of its own "
        "(engine.backend=server)."
    )


def _print_work(plan: Plan, console: Console, *, pictures: int | None, kept: float | None) -> None:
    config, prompt = plan.config, plan.batch.prompt
    count, how = _pictures(config, pictures)
    share, known = _kept(config, kept)
    works = iteration_work(config, pictures=count, prompt=prompt, kept=share)
    title = f"One iteration of {config.iterations}, {count:,} pictures {how}"
    table = plain_table(title, "phase", "prompts", "completions", "tokens", "at most")
    for work in works:
        tokens, most = _short(work.tokens), _short(work.bound)
        table.add_row(work.phase, f"{work.prompts:,}", f"{work.completions:,}", tokens, most)
    console.print(table)
    if (enough := enough_kept(config)) is not None and config.loop not in WITHOUT_CURATION:
        asked, most_asked = pictures_asked(config, pictures=count, kept=share)
        console.print(
            f"Curation stops once {enough:,} examples are kept: after about {asked:,} pictures where "
            f"{share:.0%} of the questions are, which is {known}; after {most_asked:,} at most. "
            "curation.margin=all asks about every one.",
            highlight=False,
        )
    once, often = evaluation_work(config), evaluations(config)
    repeated = [work for work in works if work.phase != "evaluation"]
    total = config.iterations * sum(w.completions for w in repeated) + often * once.completions
    tokens_in_all = config.iterations * sum(w.tokens for w in repeated) + often * once.tokens
    found = disk(config, plan.size, pictures=count, prompt=prompt, kept=share)
    console.print(
        f"The whole run: {total:,} completions, {_short(tokens_in_all)} tokens. Questions of "
        f"{QUESTION_TOKENS} and answers of {ANSWER_TOKENS} tokens are assumed; all questions count as valid. "
        f"Disk: {_gb(found.adapters)} GB of adapters, {_gb(found.rollouts)} GB of rollouts, "
        f"{_gb(found.samples)} GB of samples, and {_gb(found.working)} GB while a phase goes on.",
        highlight=False,
    )  # fmt: skip


def _kept(config: Config, given: float | None) -> tuple[float, str]:
    """The share of curation's questions that is kept, and how it is known."""
    if given is not None:
        return given, "as given"
    if measured := kept_share(config.folder):
        return measured, "what the run's last curation kept"
    return KEPT, "assumed"


def _pictures(config: Config, given: int | None) -> tuple[int, str]:
    """How many, and how that is known."""
    if given is not None:
        return given, "as given"
    try:
        images = config.images
        found = count_entries(images.source, **images.reading)
    except ImageSourceError:
        return config.images.limit or ASSUMED_PICTURES, f"assumed ({config.images.source} is not there)"
    return min(found, config.images.limit or found), f"in {config.images.source}"


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f}" if size >= 5e7 else f"{size / 1e9:.3f}"


def _short(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count:,}"
