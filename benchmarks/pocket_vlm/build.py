"""Warm up the pocket VLM from random weights: the recipe of the model that the package ships.

Seeded and resumable: every batch is a function of (seed, step), and a checkpoint in safetensors is
written every few hundred steps, so a killed build goes on where it was.
"""

import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor, PreTrainedTokenizerFast

from benchmarks.pocket_vlm.lessons import HABIT, PRACTICE, Lesson, LessonKind, draw_lesson
from benchmarks.pocket_vlm.vlm import build_model, build_processor, train_tokenizer
from benchmarks.pocket_vlm.wide import draw_wide
from visplay.pocket.oracle import Kind
from visplay.pocket.scenes import CROWDED, SIDE, Scene, StyleName, render, sample_scene, sample_scenes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """So many steps with so many lessons of each kind in a batch.

    Attributes:
        steps: of the optimizer.
        lessons: in each batch.
        glances: by rung of the ladder, the share of the Reasoner's traces at a glance, in [0, 1].
        lower_case_share: of the questions it is asked, in [0, 1]; easy-vqa writes no capitals.
        taught: the wide world's lessons, with the weight of each kind in what the Reasoner is asked; empty:
            the ladder's.
    """

    steps: int
    lessons: dict[LessonKind, int]
    glances: dict[int, float] = field(default_factory=lambda: dict(HABIT))
    lower_case_share: float = 0.0
    taught: dict[Kind, float] = field(default_factory=dict)


# First it learns to see, from dense captions (without them it stays blind for thousands of steps), and to
# compare what it sees with what it is asked; then to reason with care; at the end it glances by habit.
STAGES = (
    Stage(steps=300, lessons={"caption": 40, "matching": 24}),
    Stage(
        steps=1700,
        lessons={"caption": 2, "matching": 8, "reasoner": 22, "questioner": 6, "judge": 6},
        glances=PRACTICE,
        lower_case_share=0.25,
    ),
    Stage(
        steps=300,
        lessons={"caption": 2, "matching": 2, "reasoner": 26, "questioner": 8, "judge": 4},
        lower_case_share=0.25,
    ),
)
# The wide world's: first it learns to see and to compare, then to reason. How well it does of a kind is a
# matter of how often it is taught with pictures. Nothing is wrong or hasty.
TAUGHT: dict[Kind, float] = {
    "color-at": 0.14, "where": 0.2, "count": 0.34, "exists": 0.21,
    "difference": 0.02, "row": 0.015, "beside": 0.015, "alike": 0.015, "corners": 0.015,
    "column": 0.01, "sum-of-three": 0.01, "most": 0.01,
}  # fmt: skip
WIDE_STAGES = (
    Stage(steps=300, lessons={"caption": 40, "matching": 32, "questioner": 8}, taught=TAUGHT),
    Stage(
        steps=300,
        lessons={"caption": 2, "matching": 14, "reasoner": 24, "questioner": 36, "judge": 4},
        taught=TAUGHT,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the weights. `scenes` pictures are drawn once and asked about anew at every step.

    `planned` steps are those that the learning rate falls over, where training stops before its end; 0: all.
    """

    stages: tuple[Stage, ...] = STAGES
    style: StyleName | None = None  # of all scenes; None: clean ones, half of them crowded
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    planned: int = 0
    scenes: int = 24_000
    weight_decay: float = 0.05
    checkpoint_every: int = 200
    seed: int = 0

    @property
    def steps(self) -> int:
        """All stages together."""
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> Stage:
        """The stage that a step, counted from 0, falls into."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        raise IndexError("past the last stage")


# It stops early, at 600 of 1,200 steps, so that traces fail at single steps.
WIDE_RECIPE = Recipe(stages=WIDE_STAGES, style="wide", scenes=16_000, planned=1200, checkpoint_every=150)


def build(out: Path, *, recipe: Recipe, log: Callable[[str], None] = print) -> Path:
    """Train the pocket VLM and save it to `out` as a transformers checkpoint, in bfloat16; returns `out`.

    Progress lives in `out.partial/` until the build is complete; call again to go on after a kill.
    """
    scratch = out.with_name(out.name + ".partial")
    scratch.mkdir(parents=True, exist_ok=True)
    _same_recipe(scratch, recipe)
    processor = build_processor(tokenizer_of(recipe))
    model = build_model(processor.tokenizer, seed=recipe.seed)
    _train(model, processor, recipe=recipe, folder=scratch, log=log)
    model.eval().to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    shutil.rmtree(scratch)
    return out


def _train(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, *, recipe: Recipe, folder: Path,
    log: Callable[[str], None],
) -> None:  # fmt: skip
    """Go through the stages, from the last checkpoint in `folder` where there is one."""
    scenes, pixels = draw_pool(recipe)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
    )
    done = _resume(folder, model=model, optimizer=optimizer)
    model.train()
    with Progress() as progress:
        bar = progress.add_task("warm-up", total=recipe.steps, completed=done)
        for step in range(done, recipe.steps):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step, recipe=recipe)
            losses = train_step(
                np.random.default_rng([recipe.seed, 7, step]), recipe.stage(step), model=model,
                optimizer=optimizer, processor=processor, scenes=scenes, pixels=pixels,
            )  # fmt: skip
            progress.update(bar, advance=1)
            if (step + 1) % 50 == 0:
                log(f"step {step + 1} " + " ".join(f"{k} {v:.4f}" for k, v in losses.items()))
            if (step + 1) % recipe.checkpoint_every == 0:
                _checkpoint(folder, model=model, optimizer=optimizer, step=step + 1)


def draw_pool(recipe: Recipe) -> tuple[list[Scene], torch.Tensor]:
    """The warm-up scenes and their pictures [scenes, 3, 96, 96] as bytes, drawn on all cores."""
    plain = recipe.scenes if recipe.style else recipe.scenes // 2
    scenes = list(sample_scenes(plain, split="warm-up", seed=recipe.seed, style=recipe.style or "clean"))
    scenes += sample_scenes(
        recipe.scenes - len(scenes), split="warm-up", seed=recipe.seed, start=len(scenes), layout=CROWDED
    )
    context = multiprocessing.get_context("spawn")
    with context.Pool(os.cpu_count()) as pool:
        pictures = pool.map(_draw, scenes, chunksize=256)
    return scenes, torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _draw(scene: Scene) -> np.ndarray:
    return np.asarray(render(scene))


def train_step(
    rng: np.random.Generator, stage: Stage, *, model: Idefics3ForConditionalGeneration,
    optimizer: torch.optim.Optimizer, processor: Idefics3Processor, scenes: list[Scene], pixels: torch.Tensor,
) -> dict[str, float]:  # fmt: skip
    """One optimizer step on a batch drawn from `rng`; returns the mean token loss by lesson kind."""
    losses: dict[str, float] = {}
    for kind, count in stage.lessons.items():
        picks = rng.integers(len(scenes), size=count)
        lessons = [_draw_lesson(rng, scenes[i], kind, stage=stage) for i in picks]
        losses[kind] = 0.0
        for own in _parts(lessons, by_length=bool(stage.taught)):
            batch = collate([lessons[i] for i in own], processor=processor)
            if kind != "matching":
                batch["pixel_values"] = ((pixels[picks[own]].float() / 255 - 0.5) / 0.5)[:, None]
            loss = model(**batch).loss
            (loss * len(own) / sum(stage.lessons.values())).backward()
            losses[kind] += loss.item() * len(own) / count
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return losses


def _draw_lesson(rng: np.random.Generator, scene: Scene, kind: LessonKind, *, stage: Stage) -> Lesson:
    if stage.taught:
        return draw_wide(rng, scene, _PLACEHOLDER, kind, taught=stage.taught)
    return draw_lesson(
        rng, scene, _PLACEHOLDER, kind, glances=stage.glances, lower_case_share=stage.lower_case_share
    )


def _parts(lessons: list[Lesson], *, by_length: bool) -> list[list[int]]:
    """Which lessons pass through the model together: all, or those of like length, which pads less."""
    order, parts = list(range(len(lessons))), 1
    if by_length:
        order.sort(key=lambda i: len(lessons[i].completion))
        parts = max(1, len(lessons) // 12)
    return [order[len(order) * i // parts : len(order) * (i + 1) // parts] for i in range(parts)]


_PLACEHOLDER = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))  # the pixels come from the pool


def collate(lessons: list[Lesson], *, processor: Idefics3Processor) -> dict[str, torch.Tensor]:
    """Token ids, mask and labels, each [lessons, tokens]; the loss is on what is not given."""
    tokenizer = processor.tokenizer
    prompts = [
        processor.apply_chat_template(
            list(lesson.prompt.messages), add_generation_prompt=True, tokenize=False
        )
        for lesson in lessons
    ]
    picture = processor(text=["<image>"], images=[[_PLACEHOLDER]])["input_ids"][0]
    rows, labels = [], []
    for prompt, lesson in zip(prompts, lessons, strict=True):
        before, image, after = prompt.partition("<image>")
        head = [*tokenizer(before)["input_ids"], *(picture if image else ()), *tokenizer(after)["input_ids"]]
        tail = tokenizer(lesson.completion, return_offsets_mapping=True)
        learned = [
            -100 if any(first <= start and end <= last for first, last in lesson.given) else token
            for token, (start, end) in zip(tail["input_ids"], tail["offset_mapping"], strict=True)
        ]
        rows.append([*head, *tail["input_ids"], tokenizer.eos_token_id])
        labels.append([-100] * len(head) + [*learned, tokenizer.eos_token_id])
    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([r + [tokenizer.pad_token_id] * (width - len(r)) for r in rows]),
        "attention_mask": torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows]),
        "labels": torch.tensor([r + [-100] * (width - len(r)) for r in labels]),
    }


def tokenizer_of(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The tokenizer of a recipe, trained on its lessons; of the wide world on as many of each kind."""
    return train_tokenizer(_tokenizer_texts(recipe))


def _tokenizer_texts(recipe: Recipe) -> Iterator[str]:
    rng = np.random.default_rng([recipe.seed, 8])
    stage = recipe.stages[-1]
    if stage.taught:
        stage = replace(stage, taught=dict.fromkeys(stage.taught, 1 / len(stage.taught)))
    for index in range(1500):
        scene = sample_scene(split="warm-up", seed=recipe.seed, index=index, style=recipe.style or "clean")
        for kind in get_args(LessonKind):
            lesson = _draw_lesson(rng, scene, kind, stage=stage)
            yield f"{lesson.prompt.messages[0]['content'][-1]['text']}\n{lesson.completion}"


def _schedule(step: int, *, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, (recipe.planned or recipe.steps) - recipe.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def _checkpoint(
    folder: Path, *, model: Idefics3ForConditionalGeneration, optimizer: torch.optim.Optimizer, step: int
) -> None:
    tensors = {f"model.{name}": p.detach().contiguous() for name, p in model.named_parameters()}
    for name, parameter in model.named_parameters():
        state = optimizer.state[parameter]
        tensors |= {f"{key}.{name}": state[key].contiguous() for key in ("exp_avg", "exp_avg_sq")}
    save_file(tensors, folder / f"step-{step}.safetensors")
    (folder / "progress.partial").write_text(json.dumps({"step": step}))
    (folder / "progress.partial").replace(folder / "progress.json")
    for old in folder.glob("step-*.safetensors"):
        if old.name != f"step-{step}.safetensors":
            old.unlink()


def _same_recipe(folder: Path, recipe: Recipe) -> None:
    """Raises ValueError if the folder holds the progress of another recipe."""
    written = json.dumps(asdict(recipe))
    if not (folder / "recipe.json").exists():
        (folder / "recipe.json").write_text(written)
    elif (folder / "recipe.json").read_text() != written:
        raise ValueError(f"{folder} holds the progress of another recipe; remove it or build elsewhere")


def _resume(
    folder: Path, *, model: Idefics3ForConditionalGeneration, optimizer: torch.optim.Optimizer
) -> int:
    """Load the last checkpoint, if there is one; returns the step to go on with."""
    if not (folder / "progress.json").exists():
        return 0
    step = int(json.loads((folder / "progress.json").read_text())["step"])
    tensors = load_file(folder / f"step-{step}.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"exp_avg.{name}"],
                "exp_avg_sq": tensors[f"exp_avg_sq.{name}"],
            }
    return step
