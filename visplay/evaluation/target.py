"""Resolve a target of an evaluation: a base VLM, a run or iteration, an adapter, an exported checkpoint."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollouts.engine import BASE, AdapterVersion
from visplay.config.loading import read_config
from visplay.config.prompts import Prompts
from visplay.config.sections import Model, trusted
from visplay.errors import EvaluationError
from visplay.runs.checkpoints import roles_after
from visplay.runs.run import begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One Reasoner.

    Attributes:
        name: the name in tables and folders, e.g. `pocket` or `demo@1`.
        model: the base VLM.
        adapter: the adapter on the base; its path is None for the base alone.
        folder: the folder of the run that it comes from, or None.
        iteration: the iteration of that run, or None.
        max_tokens: the completion length in the run's Reasoner phase, or None.
        words: the prompt template; a run has its own.
        vllm: the run's arguments for vLLM's engine.
    """

    name: str
    model: Model
    adapter: AdapterVersion
    folder: Path | None = None
    iteration: int | None = None
    max_tokens: int | None = None
    words: Prompts = field(default_factory=Prompts)
    vllm: dict[str, Any] = field(default_factory=dict)


def find_target(
    text: str, *, base: str | None = None, device: str = "auto", trust_remote_code: bool = False
) -> Target:
    """Find the target that `text` names.

    Args:
        text: `pocket`, a hub id, a folder with a checkpoint or an adapter, RUN, or RUN@ITERATION.
        base: the base VLM of an adapter; it overrides the one that the adapter names.
        device: the model's device.
        trust_remote_code: run the code in the model's repository; the setting in a run's configuration is
            ignored.

    Raises:
        EvaluationError: the target does not exist, or the run has no such iteration.
        ConfigError: the run trusted the code of its base, and `trust_remote_code` was not given.
    """
    whole = "@" not in text or (Path(text) / "journal.jsonl").is_file()  # a folder's name may hold an @
    path, _, iteration = (text, "", "") if whole else text.rpartition("@")
    asked = {"device": device, "trust_remote_code": trust_remote_code}
    if base is not None and not (Path(text).expanduser() / "adapter_config.json").is_file():
        raise EvaluationError(f"--base needs an adapter, but {text} is not one; leave it out")
    if Path(path).is_dir() and (Path(path) / "journal.jsonl").is_file():
        return _of_run(Path(path), iteration, device=device, trust_remote_code=trust_remote_code)
    folder = Path(text).expanduser()
    if (folder / "adapter_config.json").is_file():
        try:
            noted = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{folder / 'adapter_config.json'} cannot be read: {error!r}") from error
        if base is None and not noted:
            raise EvaluationError(f"{text} does not name its base model; name it with --base")
        adapter = AdapterVersion(name="adapter", version=0, path=folder)
        model = Model.model_validate({"path": base or str(noted), **asked})
        return Target(name=folder.resolve().name, model=model, adapter=adapter)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise EvaluationError(
            f"{text} is neither a run (journal.jsonl), an adapter (adapter_config.json) nor a checkpoint "
            "(config.json); name one of those, RUN@ITERATION, a hub id or pocket"
        )
    beside = len(folder.parts) > 1 and folder.parent.is_dir()
    if not folder.is_dir() and (beside or text.startswith(("~", ".", "/")) or text.endswith(".yaml")):
        raise EvaluationError(f"there is no run, adapter or checkpoint {text}; `visplay runs` lists the runs")
    name = folder.resolve().name if folder.is_dir() else text.replace("/", "--")
    return Target(name=name, model=Model.model_validate({"path": text, **asked}), adapter=BASE)


def _of_run(folder: Path, iteration: str, *, device: str, trust_remote_code: bool) -> Target:
    if iteration not in ("", "base") and not iteration.isdecimal():
        raise EvaluationError(f"{folder}@{iteration}: an iteration must be a number or base")
    wanted = 0 if iteration == "base" else int(iteration) if iteration else None
    number, adapters = roles_after(folder, iteration=wanted)
    config = read_config(folder / "config.yaml")
    model = trusted(Model.model_validate(config["model"]), again=trust_remote_code, shown=str(folder))
    vllm = {
        k: v for k, v in ((config.get("engine") or {}).get("vllm") or {}).items() if k != "trust_remote_code"
    }
    return Target(
        name=f"{folder.resolve().name}@{number or 'base'}",
        model=model.model_copy(
            update={"date": model.date or begun(folder)} | ({"device": device} if device != "auto" else {})
        ),
        folder=folder, iteration=number, adapter=adapters["reasoner"] if number else BASE,
        max_tokens=(config.get("reasoner") or {}).get("max_tokens"), vllm=vllm,
        words=Prompts.model_validate(config.get("prompts") or {}),
    )  # fmt: skip
