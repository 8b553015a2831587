"""Who answers an evaluation: what a target names, loaded into an engine, with what tells it from others."""

import hashlib
import json
from pathlib import Path

from transformers import AutoConfig

from rollouts.engine import AdapterVersion, RolloutEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Engine, Model
from visplay.evaluation.sampling import Reasoner
from visplay.evaluation.target import Target
from visplay.models.engines import backend_of, start_engine


def open_reasoner(target: Target, engine: Engine, *, chunk: int) -> Reasoner:
    """Load what a target names.

    Args:
        target: its base VLM and adapter.
        engine: what generates; on vLLM a base alone gets an engine without room for adapters.
        chunk: items asked at once.

    Raises:
        ConfigError: the base VLM or the engine cannot be had.
    """
    path = target.adapter.path
    rank = int(json.loads((path / "adapter_config.json").read_text())["r"]) if path else None
    started = start_engine(target.model, engine, lora_rank=rank, logs=Path())
    started.publish(target.adapter)
    return reasoner_on(
        started,
        target.adapter,
        model=target.model,
        words=target.words,
        backend=backend_of(target.model, engine),
        chunk=chunk,
    )


def reasoner_on(
    engine: RolloutEngine, adapter: AdapterVersion, *, model: Model, words: Prompts, backend: str, chunk: int
) -> Reasoner:
    """An adapter that is published to an engine, with what tells it and its base VLM from others."""
    return Reasoner(
        engine=engine, adapter=adapter, model_digest=model_digest(model), backend=backend, words=words,
        chunk=chunk,
        adapter_digest=folder_digest(adapter.path) if adapter.path else "",
    )  # fmt: skip


def model_digest(model: Model) -> str:
    """What tells one base VLM from another, and from itself with other pixels or another template.

    Hub id and commit, or a hash of the folder's files, then a hash of the settings that differ from the
    defaults.
    """
    shown = {"max_pixels", "min_pixels", "processor", "chat_template_kwargs", "options", "date"}
    settings = model.model_dump(mode="json", include=shown, exclude_defaults=True)
    if not settings:
        return _weights_digest(model)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return f"{_weights_digest(model)}+{digest[:16]}"


def _weights_digest(model: Model) -> str:
    source = Path(model.source)
    if source.is_dir():
        return folder_digest(source)
    config = AutoConfig.from_pretrained(
        model.path, revision=model.revision, trust_remote_code=model.trust_remote_code
    )
    return f"{model.path}@{config._commit_hash or model.revision or 'main'}"


def folder_digest(folder: Path) -> str:
    """Hash of the files of a folder, by name and content, first 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "README.md"):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
