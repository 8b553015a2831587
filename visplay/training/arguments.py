"""Build TRL's GRPOConfig, check a user's fields of it (`optimizer.grpo`), and set the trainer's device."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import torch
from trl.trainer.grpo_config import GRPOConfig

from visplay.config.loading import Config, phase_of
from visplay.config.names import OF_TRL
from visplay.config.sections import Engine, Model, Optimizer, Phase
from visplay.errors import ConfigError, PreflightError, nearest
from visplay.models.engines import backend_of
from visplay.training.ranks import ALONE, Ranks


def check_fields(optimizer: Optimizer) -> None:
    """Check that `optimizer.grpo` has only fields of TRL's GRPOConfig that a user may set.

    Raises:
        ConfigError: a field is not allowed; the message names it, and the key to use or the nearest field.
    """
    known = {field.name for field in dataclasses.fields(GRPOConfig)}
    for name in optimizer.grpo:
        if name in _OWNED:
            raise ConfigError(f"optimizer.grpo.{name}: {_OWNED[name]}")
        if name not in known:
            raise ConfigError(
                f"optimizer.grpo.{name}: TRL's GRPOConfig has no such field{nearest(name, known)}"
            )
    if "lomo" in str(optimizer.grpo.get("optim", "")):
        raise ConfigError(
            f"optimizer.grpo.optim: {optimizer.grpo['optim']} updates weights inside the backward pass, "
            "which this loop does not support; use another optimizer, e.g. adamw_torch"
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = GRPOConfig(output_dir=folder, use_cpu=True, report_to="none", **optimizer.grpo)
            if made.loss_type not in LOSSES or made.importance_sampling_level not in LEVELS:
                raise ValueError(f"loss_type is one of {LOSSES}, importance_sampling_level of {LEVELS}")
        # Their checks raise various errors: an unknown value, a package that is not installed.
        except Exception as error:
            given = ", ".join(f"{name}: {value!r}" for name, value in optimizer.grpo.items())
            raise ConfigError(f"optimizer.grpo: {{{given}}} cannot be used: {_first_line(error)}") from error
    if optimizer.ahead and not optimizer.grpo.get(_CORRECTION, True):
        raise ConfigError(
            f"optimizer.grpo.{_CORRECTION}: rollouts of an older adapter (optimizer.ahead) need it; leave it "
            "out, or set optimizer.ahead=0"
        )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def check_phases(config: Config, ranks: Ranks) -> None:
    """Check before a run starts that micro-batches fill the batch of every phase.

    Raises:
        ConfigError: they do not; the message names the phase and its numbers.
    """
    own = config.optimizer
    for role in config.role_names:
        phase = phase_of(config, role)
        try:
            micro_batch(phase, own, ranks)
        except PreflightError as error:
            raise ConfigError(f"{role}: {error}") from error


def micro_batch(phase: Phase, optimizer: Optimizer, ranks: Ranks) -> int:
    """The number of completions in a micro-batch.

    Raises:
        PreflightError: micro-batches do not fill a batch.
    """
    batch, updates = phase.prompts_per_step * phase.group_size, optimizer.updates_per_batch
    micro = min(optimizer.micro_batch_size, max(1, batch // (ranks.size * updates)))
    if batch % (micro * ranks.size * updates):
        many = f" times {ranks.size} ranks" if ranks.size > 1 else ""
        many += f" times {updates} updates_per_batch" if updates > 1 else ""
        raise PreflightError(
            f"optimizer.micro_batch_size {micro}{many} must divide prompts_per_step * group_size = {batch}"
        )
    return micro


def check_ahead(optimizer: Optimizer, model: Model, engine: Engine) -> None:
    """If `optimizer.ahead` is set, check that the engine can work while the trainer does.

    Raises:
        ConfigError: the engine shares the trainer's base or process.
    """
    backend = backend_of(model, engine)
    if not optimizer.ahead:
        return
    if backend in ("transformers", "vllm"):
        raise ConfigError(
            f"optimizer.ahead: the engine {backend} runs in the trainer's process, so they cannot overlap; "
            "set engine.backend=server with engine.replicas or engine.urls, or optimizer.ahead=0"
        )


LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
LEVELS = ("token", "sequence")
_CORRECTION = "vllm_importance_sampling_correction"

_FIXED = (
    "output_dir", "steps_per_generation", "generation_batch_size", "num_iterations", "logging_steps",
    "save_strategy", "disable_tqdm", "remove_unused_columns", "use_vllm", "vllm_mode", "log_multimodal",
    "log_completions", "shuffle_dataset", "reward_weights", "eval_strategy", "do_eval", "top_p", "top_k",
    "min_p", "repetition_penalty", "generation_kwargs", "model_init_kwargs", "sync_ref_model",
    "resume_from_checkpoint", "push_to_hub", "load_best_model_at_end",
)  # fmt: skip
# They have an effect only in the `train` of TRL or transformers, which is not used.
_WITHOUT_EFFECT = (
    "neftune_noise_alpha", "use_liger_kernel", "liger_kernel_config", "debug", "auto_find_batch_size",
    "torch_empty_cache_steps", "logging_nan_inf_filter", "include_num_input_tokens_seen",
    "use_adaptive_entropy", "deepspeed", "parallelism_config", "save_only_model", "ignore_data_skip",
    "logging_strategy", "save_steps", "save_total_limit", "eval_on_start",
)  # fmt: skip
_OWNED = (
    {name: f"set {key.replace('PHASE', 'reasoner')} instead" for name, key in OF_TRL.items()}
    | {name: "the loop needs its fixed value; leave it out" for name in _FIXED}
    | {name: "it has no effect here; leave it out" for name in _WITHOUT_EFFECT}
)
# The name in transformers 5.24. TRL 1.16 and the planner use the older name, which all versions accept.
_OWNED["activation_checkpointing"] = "set optimizer.grpo.gradient_checkpointing instead, which is the same"


def grpo_arguments(
    phase: Phase,
    optimizer: Optimizer,
    *,
    corrected: bool,
    folder: Path,
    seed: int,
    model: Any,
    ranks: Ranks = ALONE,
) -> GRPOConfig:
    """Build TRL's arguments of one phase.

    Args:
        phase: steps, prompts per step, G, temperature, length, and optionally a learning rate.
        optimizer: learning rate, clipping, KL, and a user's fields.
        corrected: see `visplay.training.learner`.
        folder: folder of checkpoints.
        seed: seed of the order of the prompts.
        model: the trained model on its device.
        ranks: the ranks that share a batch; each gets P * G / W completions.

    Raises:
        PreflightError: micro-batches do not fill a batch.
    """
    batch, updates = phase.prompts_per_step * phase.group_size, optimizer.updates_per_batch
    micro = micro_batch(phase, optimizer, ranks)
    weights = next(model.parameters())
    # A model that will be sharded stays on the CPU first.
    on_cpu = weights.device.type == "cpu" and not (ranks.sharded and torch.cuda.is_available())
    loss_type = optimizer.grpo.get("loss_type", "grpo")
    open_fields: dict[str, Any] = {
        "lr_scheduler_type": "constant",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "loss_type": loss_type,
        "epsilon": 0.2,
        # CISPO uses it as the bound of the ratio itself; 5 is ScaleRL's value (arXiv 2510.13786).
        "epsilon_high": 5.0 if loss_type == "cispo" else 0.3,
        "scale_rewards": "group",
        # TRL's default multiplies the KL term with the ratio; Eq. 4 of GRPO (arXiv 2402.03300) does not.
        "use_bias_correction_kl": False,
        _CORRECTION: corrected,
        "vllm_importance_sampling_mode": "token_truncate",
        "gradient_checkpointing": not on_cpu,
        # All LoRA parameters are used in every pass, so a search for unused ones only costs time.
        "ddp_find_unused_parameters": None if ranks.size == 1 else False,
    }
    arguments = GRPOConfig(
        output_dir=str(folder),
        max_steps=phase.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=batch // (micro * ranks.size * updates),
        steps_per_generation=batch // (micro * ranks.size),
        num_generations=phase.group_size,
        max_completion_length=phase.max_tokens,
        temperature=phase.temperature,
        learning_rate=optimizer.learning_rate if phase.learning_rate is None else phase.learning_rate,
        beta=optimizer.kl,
        bf16=model.dtype == torch.bfloat16,  # otherwise adapters on a 16-bit base compute in 32 bits
        use_cpu=on_cpu,
        logging_steps=1,
        log_multimodal=False,  # otherwise TRL copies a batch's pictures for tables that are not used
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
        remove_unused_columns=False,
        **open_fields | optimizer.grpo,
    )
    if ranks.size == 1:
        on_one_device(arguments, weights.device)
    return arguments


def reentrant(arguments: GRPOConfig) -> bool:
    """Whether checkpoints are reentrant; these pass gradients only if an input requires one."""
    given = arguments.gradient_checkpointing_kwargs
    return isinstance(given, dict) and bool(given.get("use_reentrant", False))


def on_one_device(arguments: GRPOConfig, device: torch.device) -> None:
    """Keep a trainer on the base's device, even if other devices are visible.

    By default transformers uses the first GPU, and with several GPUs nn.DataParallel, whose replicas all call
    the forward method bound to the first. It caches its choice, which this function therefore makes first.
    """
    arguments.device  # noqa: B018 - a cached property
    arguments._n_gpu = min(1, arguments.n_gpu)
    vars(arguments)["_setup_devices"] = device
    arguments.distributed_state.device = device
    if device.type == "cuda":
        torch.cuda.set_device(device)
