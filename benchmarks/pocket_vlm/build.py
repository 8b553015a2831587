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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from benchmarks.pocket_vlm.lessons import HABIT, PRACTICE, Lesson, LessonKind, draw_lesson
from benchmarks.pocket_vlm.vlm import build_model, build_processor, train_tokenizer
from visplay.pocket.scenes import CROWDED, SIDE, Scene, render, sample_scene, sample_scenes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """So many steps with so many lessons of each kind in a batch.

    Attributes:
        steps: of the optimizer.
        lessons: in each batch.
        glances: by rung of the ladder, the share of the Reasoner's traces at a glance, in [0, 1].
        lower_case_share: of the questions it is asked, in [0, 1]; easy-vqa writes no capitals.
    """

    steps: int
    lessons: dict[LessonKind, int]
    glances: dict[int, float] = field(default_factory=lambda: dict(HABIT))
    lower_case_share: float = 0.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the weights. `scenes` pictures are drawn once and asked about anew at every step."""

    stages: tuple[Stage, ...] = STAGES
    learning_rate: float = 2e-3
    warmup_steps: int = 100
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


def build(out: Path, *, recipe: Recipe, log: Callable[[str], None] = print) -> Path:
    """Train the pocket VLM and save it to `out` as a transformers checkpoint, in bfloat16; returns `out`.

    Progress lives in `out.partial/` until the build is complete; call again to go on after a kill.
    """
    scratch = out.with_name(out.name + ".partial")
    scratch.mkdir(parents=True, exist_ok=True)
    _same_recipe(scratch, recipe)
    processor = build_processor(train_tokenizer(_tokenizer_texts(recipe)))
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
    scenes = list(sample_scenes(recipe.scenes // 2, split="warm-up", seed=recipe.seed))
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
        lessons = [
            draw_lesson(
                rng,
                scenes[i],
                _PLACEHOLDER,
                kind,
                glances=stage.glances,
                lower_case_share=stage.lower_case_share,
            )
            for i in picks
        ]
        batch = collate(lessons, processor=processor)
        if kind != "matching":
            batch["pixel_values"] = ((pixels[picks].float() / 255 - 0.5) / 0.5)[:, None]
        loss = model(**batch).loss
        (loss * count / sum(stage.lessons.values())).backward()
        losses[kind] = loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return losses


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


def _tokenizer_texts(recipe: Recipe) -> Iterator[str]:
    rng = np.random.default_rng([recipe.seed, 8])
    for index in range(1500):
        scene = sample_scene(split="warm-up", seed=recipe.seed, index=index)
        for kind in get_args(LessonKind):
            lesson = draw_lesson(rng, scene, _PLACEHOLDER, kind, glances=HABIT)
            yield f"{lesson.prompt.messages[0]['content'][-1]['text']}\n{lesson.completion}"


def _schedule(step: int, *, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
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
