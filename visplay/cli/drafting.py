"""`visplay config init`: a first configuration, by what the planner says fits."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from visplay.config.loading import check_config
from visplay.config.sections import Model
from visplay.data.images import count_entries
from visplay.errors import ImageSourceError
from visplay.models.cards import GIB, Card
from visplay.models.processor import load_processor, smaller_pictures
from visplay.planning.plan import Plan, make_plan

# Tokens of a picture, of a question and of an answer, the roomiest first; the first with which a micro-batch
# of LEAST_MICRO completions fits is taken.
LENGTHS = ((1280, 1024, 4096), (1280, 1024, 2048), (640, 512, 2048), (640, 512, 1024), (320, 256, 512))
LEAST_MICRO, MOST_MICRO = 4, 16
POCKET: dict[str, Any] = {
    "prompts": {"forms": {}},
    "questioner": {"types": ["numerical", "yes/no", "short answer"], "steps": 10, "max_tokens": 64},
    "curation": {"questions_per_image": 3, "images": 300},
    "reasoner": {"steps": 20, "max_tokens": 160},
    "optimizer": {"learning_rate": 1e-3, "micro_batch_size": 64},
    "evaluation": {
        "benchmarks": ["pocket-dusk", "easy-vqa"], "limit": 500, "maj_limit": 100, "blind_limit": 100,
    },
}  # fmt: skip
ORACLE = {"oracle": "visplay.pocket.truth:read_truth"}
MEANINGS = {  # of a section or key, said beside it
    "method": "for labels that stay right; `paper` is VisPlay as published. docs/when-self-play-helps.md",
    "model": "the base VLM; both roles are LoRA adapters on it",
    "max_pixels": "larger pictures are scaled down",
    "processor": "so that a picture takes few tokens",
    "images": "your pictures: a folder, a dataset, a list of paths ...; docs/pictures.md",
    "oracle": "the truth, for telemetry only; other pictures than pocket scenes have none",
    "prompts": "the pocket VLM was taught without the form of an answer",
    "questioner": "asks; rewarded for diverse questions that the Reasoner is unsure about",
    "reasoner": "answers; rewarded for agreeing with its own majority vote",
    "curation": "keeps questions on which the votes are neither split nor certain",
    "images: 1000": "at most; it stops as soon as enough is kept",
    "steps": "of the optimizer, in each iteration",
    "max_tokens": "a longer completion is cut off",
    "micro_batch_size": "completions learned from at once; the largest that fits",
    "evaluation": "before the first and after each iteration; `visplay benchmarks` lists what there is",
    "limit": "questions of each benchmark: more give narrower intervals and take longer",
}


def card_here() -> Card | None:
    """This machine's first GPU as a card; None without one."""
    if not torch.cuda.is_available():
        return None
    about = torch.cuda.get_device_properties(0)
    return Card(name=about.name, memory=about.total_memory, bandwidth=math.nan, flops=math.nan, source="")


def draft(model: str, images: str, *, card: Card | None, file: Path | None) -> str:
    """The text of a configuration.

    Args:
        model: base VLM, as `model.path`.
        images: pictures, as `images.source`.
        card: that it is written for; None: the CPU.
        file: it will be written to, for the commands in its head.

    Raises:
        ConfigError: no `config.json` or no processor of the base VLM can be had, or nothing fits the card.
    """
    name = (file.stem if file else model.rstrip("/").rpartition("/")[2]).lower()
    data = {"name": name, "method": "steady", "iterations": 3}
    if model == "pocket":
        data |= {"model": {"path": model, "dtype": "float32"}, "images": {"source": images, **ORACLE}}
        about = ["The pocket VLM: minutes on two CPU cores, everything synthetic.", _counted(images)]
        return _written(data | POCKET, about, file)
    plan = _roomiest(data, model, images, card)
    settings = plan.config.model_dump(exclude_unset=True, mode="json")
    return _written(settings, [*_about(plan, card), _counted(images)], file)


def _counted(images: str) -> str:
    try:
        return f"{count_entries(Path(images)):,} pictures in {images}."
    except ImageSourceError as error:
        return f"No pictures yet: {' '.join(str(error).split())[:160]}"


def _roomiest(data: dict[str, Any], model: str, images: str, card: Card | None) -> Plan:
    """The plan of the roomiest configuration that fits, its micro-batch set."""
    processor = load_processor(Model(path=model))
    best: tuple[int, Plan] | None = None
    for tokens, question, answer in LENGTHS if card else LENGTHS[-1:]:
        smaller = smaller_pictures(processor, tokens=tokens)
        # vLLM takes no lists among a processor's settings.
        engine = any(isinstance(value, list) for value in smaller.get("processor", {}).values())
        dtype = "bfloat16" if card else "float32"
        own = data | {
            "model": {"path": model, "dtype": dtype, **smaller, **({} if card else {"device": "cpu"})},
            **({"engine": {"backend": "transformers", "batch_size": 64}} if engine and card else {}),
            "images": {"source": images},
            "questioner": {"steps": 10, "max_tokens": question},
            "curation": {"images": 1000},
            "reasoner": {"steps": 10, "max_tokens": answer},
        }
        plan = make_plan(check_config(own), on_gpu=card is not None)
        micro = min(plan.largest_micro(card, "asleep") if card else LEAST_MICRO, MOST_MICRO)
        own |= {
            "optimizer": {"micro_batch_size": max(micro, 1)},
            "evaluation": {"benchmarks": ["mmstar"], "limit": 200, "maj_limit": 100, "blind_limit": 200},
        }
        if best is None or micro > best[0]:
            best = micro, dataclasses.replace(plan, config=check_config(own))
        if micro >= LEAST_MICRO:
            break
    assert best is not None
    return best[1]


def _about(plan: Plan, card: Card | None) -> Iterator[str]:
    if card is None:
        yield "For a CPU: to try things out; a VLM of billions of parameters takes days there."
        return
    needed, memory = plan.together("asleep"), card.memory
    fits = plan.largest_micro(card, "asleep") >= plan.trainer_micro
    yield (
        f"For one {card.name} of {memory // GIB} GiB: `visplay plan` expects {needed / 1e9:.1f} GB"
        + (" with vLLM asleep while the trainer works." if plan.backend == "vllm" else ".")
    )
    if not fits:
        yield (
            "THAT DOES NOT FIT, whatever the lengths: take a larger card, a smaller VLM, or servers of their "
            "own (docs/scaling.md)."
        )


def _written(data: dict[str, Any], about: list[str], file: Path | None) -> str:
    """YAML with a head and with what its keys mean."""
    shown = file or "FILE"
    head = [
        *about,
        f"visplay plan {shown}     memory, work, time and disk; nothing is loaded",
        f"visplay train {shown}    starts the run, and goes on with it after a stop",
        "Every other key has its default, the paper's value where it gives one: docs/configuration.md.",
    ]
    lines = [f"# {line}" for line in head]
    seen: set[str] = set()
    for line in yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=200).splitlines():
        whole, key = line.strip(), line.strip().partition(":")[0]
        where = whole if whole in MEANINGS else key
        # A key that several sections have is explained once.
        meaning = MEANINGS.get(where) if where not in seen else None
        seen.add(where)
        lines.append(f"{line} # {meaning}" if meaning else line)
    return "\n".join(lines) + "\n"
