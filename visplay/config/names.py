"""`module:attribute`: how a configuration names a custom function."""

import pkgutil
import sys
from pathlib import Path
from typing import Any

from visplay.errors import ConfigError

# Fields of TRL's GRPOConfig, and the key that stands for each here; PHASE is `questioner` or `reasoner`.
OF_TRL = {
    "max_steps": "PHASE.steps", "num_train_epochs": "PHASE.steps", "num_generations": "PHASE.group_size",
    "max_completion_length": "PHASE.max_tokens", "temperature": "PHASE.temperature",
    "per_device_train_batch_size": "optimizer.micro_batch_size",
    "gradient_accumulation_steps": "optimizer.micro_batch_size", "output_dir": "output",
    "learning_rate": "optimizer.learning_rate", "beta": "optimizer.kl", "use_vllm": "engine.backend",
    "chat_template_kwargs": "model.chat_template_kwargs", "bf16": "model.dtype", "fp16": "model.dtype",
    "lr": "optimizer.learning_rate", "r": "lora.rank", "lora_r": "lora.rank", "lora_alpha": "lora.alpha",
    "batch_size": "PHASE.prompts_per_step", "use_cpu": "model.device",
    "seed": "seed", "data_seed": "seed", "report_to": "report_to",
}  # fmt: skip


def named(name: str, *, key: str) -> Any:
    """Import `name`, given as `module:attribute`; `key` is the configuration key that holds it.

    Only starting a run or an evaluation calls this; reading a run imports nothing that it names.

    Raises:
        ConfigError: the module or the attribute cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:  # last, so that a file there hides no package
        sys.path.append(here)
    try:
        if callable(found := pkgutil.resolve_name(name)):
            return found
        raise ValueError(f"{type(found).__name__} is no function")
    except Exception as error:  # a custom module may raise any error while it is imported
        raise ConfigError(
            f"{key}: {name!r} cannot be imported ({error}); write module:attribute, and start visplay in "
            "the module's folder, or set PYTHONPATH; `rewards` and `rollouts` are visplay's own packages"
        ) from error
