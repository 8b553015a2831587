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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from visplay.pocket.lessons import GLANCE_SHARE, Lesson, LessonKind, draw_lesson
from visplay.pocket.scenes import SIDE, Scene, render, sample_scene, sample_scenes
from visplay.pocket.vlm import build_model, build_processor, train_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """So many steps with so many lessons of each kind in a batch, and with this share of glances."""

    steps: int
    lessons: dict[LessonKind, int]
    glance_share: float = GLANCE_SHARE


# First it learns to see, from dense captions (without them it stays blind for thousands of steps), then to
# reason with care about what it sees; the last stage makes the glance its habit.
STAGES = (
    Stage(steps=300, lessons={"caption": 48, "reasoner": 12, "questioner": 4}, glance_share=0.2),
    Stage(steps=1000, lessons={"caption": 8, "reasoner": 46, "questioner": 10}, glance_share=0.2),
    Stage(steps=300, lessons={"caption": 8, "reasoner": 44, "questioner": 12}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the weights. `scenes` pictures are drawn once and asked about anew at every step."""

    stages: tuple[Stage, ...] = STAGES
    scenes: int = 24_000
    learning_rate: float = 1e-3
    warmup_steps: int = 100
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
    """Train the pocket VLM and save it to `out` as a transformers checkpoint; returns `out`.

    Progress lives in `out.partial/` until the build is complete; call again to go on after a kill.
    """
    scratch = out.with_name(out.name + ".partial")
    scratch.mkdir(parents=True, exist_ok=True)
    processor = build_processor(train_tokenizer(_tokenizer_texts(recipe)))
    model = build_model(processor.tokenizer, seed=recipe.seed)
    scenes, pixels = draw_pool(recipe)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
    )
    first = _resume(scratch, model=model, optimizer=optimizer, recipe=recipe)
    model.train()
    with Progress() as progress:
        bar = progress.add_task("warm-up", total=recipe.steps, completed=first)
        for step in range(first, recipe.steps):
            losses = train_step(
                step, model=model, optimizer=optimizer, processor=processor, scenes=scenes, pixels=pixels,
                recipe=recipe,
            )  # fmt: skip
            progress.update(bar, advance=1)
            if (step + 1) % 50 == 0:
                log(f"step {step + 1} " + " ".join(f"{k} {v:.4f}" for k, v in losses.items()))
            if (step + 1) % recipe.checkpoint_every == 0:
                _checkpoint(scratch, model=model, optimizer=optimizer, step=step + 1)
    out.mkdir(parents=True, exist_ok=True)
    model.eval().to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    shutil.rmtree(scratch)
    return out


def draw_pool(recipe: Recipe) -> tuple[list[Scene], torch.Tensor]:
    """The warm-up scenes and their pictures [scenes, 3, 96, 96] as bytes, drawn on all cores."""
    scenes = list(sample_scenes(recipe.scenes, split="warm-up", seed=recipe.seed))
    context = multiprocessing.get_context("spawn")
    with context.Pool(os.cpu_count()) as pool:
        pictures = pool.map(_draw, scenes, chunksize=256)
    return scenes, torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _draw(scene: Scene) -> np.ndarray:
    return np.asarray(render(scene))


def train_step(
    step: int, *, model: Idefics3ForConditionalGeneration, optimizer: torch.optim.Optimizer,
    processor: Idefics3Processor, scenes: list[Scene], pixels: torch.Tensor, recipe: Recipe,
) -> dict[str, float]:  # fmt: skip
    """One optimizer step on a batch drawn from (seed, step); returns the mean token loss by lesson kind."""
    rng = np.random.default_rng([recipe.seed, 7, step])
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * _schedule(step, recipe=recipe)
    losses: dict[str, float] = {}
    stage = recipe.stage(step)
    for kind, count in stage.lessons.items():
        picks = rng.integers(len(scenes), size=count)
        lessons = [
            draw_lesson(rng, scenes[i], _PLACEHOLDER, kind, glance_share=stage.glance_share) for i in picks
        ]
        batch = collate(lessons, processor=processor)
        values = (pixels[picks].float() / 255 - 0.5) / 0.5
        loss = model(**batch, pixel_values=values[:, None]).loss
        (loss * count / sum(stage.lessons.values())).backward()
        losses[kind] = loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return losses


_PLACEHOLDER = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))  # the pixels come from the pool


def collate(lessons: list[Lesson], *, processor: Idefics3Processor) -> dict[str, torch.Tensor]:
    """Token ids, mask and labels, each [lessons, tokens]; the loss is on the completion and its end token."""
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
        before, after = prompt.split("<image>")
        head = [*tokenizer(before)["input_ids"], *picture, *tokenizer(after)["input_ids"]]
        tail = [*tokenizer(lesson.completion)["input_ids"], tokenizer.eos_token_id]
        rows.append(head + tail)
        labels.append([-100] * len(head) + tail)
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
        for kind in STAGES[0].lessons:
            lesson = draw_lesson(rng, scene, _PLACEHOLDER, kind)
            yield f"{lesson.prompt.messages[0]['content'][1]['text']}\n{lesson.completion}"


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


def _resume(
    folder: Path, *, model: Idefics3ForConditionalGeneration, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> int:
    """Load the last checkpoint, if there is one; returns the step to go on with.

    Raises:
        ValueError: the folder holds the progress of another recipe.
    """
    written = json.dumps(asdict(recipe))
    if not (folder / "recipe.json").exists():
        (folder / "recipe.json").write_text(written)
    elif (folder / "recipe.json").read_text() != written:
        raise ValueError(f"{folder} holds the progress of another recipe; remove it or build elsewhere")
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
