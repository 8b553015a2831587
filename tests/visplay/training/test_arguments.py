"""What of TRL's GRPOConfig a user may set, and on which device a trainer stays."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from trl.trainer.grpo_config import GRPOConfig

from visplay.config.loading import check_config
from visplay.config.sections import Optimizer, Phase
from visplay.errors import ConfigError
from visplay.training.arguments import check_fields, check_phases, grpo_arguments, on_one_device
from visplay.training.ranks import ALONE


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("beta", "set optimizer.kl instead"),
        ("learning_rate", "set optimizer.learning_rate instead"),
        ("num_generations", "set reasoner.group_size instead"),
        ("num_iterations", "the loop needs its fixed value"),
        ("activation_checkpointing", "set optimizer.grpo.gradient_checkpointing instead"),
        ("loss_typ", "no such field; did you mean 'loss_type'"),
    ],
)
def test_fields_of_ours_and_unknown_ones_are_refused_by_name(field: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"optimizer\.grpo\.{field}: ") as error:
        check_fields(Optimizer(grpo={field: 1}))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        {"optim": "adamw_foo"}, {"importance_sampling_level": "foo"}, {"lr_scheduler_type": "cosin"},
        {"loss_type": None}, {"loss_type": "gprpo"}, {"optim": "lomo"}, {"eval_on_start": True},
        {"auto_find_batch_size": True}, {"use_liger_kernel": True}, {"deepspeed": "ds.json"},
        {"save_only_model": True}, {"ignore_data_skip": True}, {"neftune_noise_alpha": 5.0},
    ],
    ids=str,
)  # fmt: skip
def test_values_that_cannot_work_are_refused_before_anything_is_loaded(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.grpo"):
        check_fields(Optimizer(grpo=given))


def test_every_phase_is_checked_at_the_start() -> None:
    small = {"images": {"source": "photos"}, "optimizer": {"micro_batch_size": 8, "updates_per_batch": 4}}
    check_phases(check_config(small), ALONE)
    odd = {**small, "reasoner": {"prompts_per_step": 3, "group_size": 5}}
    with pytest.raises(ConfigError, match=r"reasoner: optimizer\.micro_batch_size .* must divide .* = 15"):
        check_phases(check_config(odd), ALONE)


def test_every_field_that_we_set_is_either_refused_or_a_users(tmp_path: Path) -> None:
    """So that no field can be given twice: what a user's fields do not replace is refused."""
    model = torch.nn.Linear(2, 2)
    model.dtype = torch.float32
    open_to_users = {
        "loss_type": "dapo",
        "scale_rewards": "none",
        "lr_scheduler_type": "cosine",
        "top_entropy_quantile": 0.5,
    }
    optimizer = Optimizer(grpo=open_to_users)
    check_fields(optimizer)
    made = grpo_arguments(
        Phase(steps=3, prompts_per_step=2, group_size=4), optimizer, corrected=False, folder=tmp_path, seed=5,
        model=model,
    )  # fmt: skip
    assert (made.loss_type, made.scale_rewards, made.lr_scheduler_type) == ("dapo", "none", "cosine")
    assert made.top_entropy_quantile == 0.5 and made.vllm_importance_sampling_correction is False
    defaults = GRPOConfig(output_dir=str(tmp_path), use_cpu=True)
    changed = {
        name for name in vars(defaults)
        if not name.startswith("_") and getattr(made, name, None) != getattr(defaults, name)
    } - open_to_users.keys()  # fmt: skip
    changed -= {"logging_dir", "run_name", "distributed_state", "vllm_importance_sampling_correction",
                "vllm_importance_sampling_mode", "gradient_checkpointing", "deepspeed_plugin",
                "epsilon", "epsilon_high", "use_bias_correction_kl", "weight_decay",
                "max_grad_norm"}  # fmt: skip
    for name in changed:
        with pytest.raises(ConfigError):
            check_fields(Optimizer(grpo={name: 1}))


def test_a_phase_may_have_a_learning_rate_of_its_own(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    model.dtype = torch.float32
    rates = [
        grpo_arguments(
            Phase(steps=3, prompts_per_step=2, group_size=4, learning_rate=own),
            Optimizer(learning_rate=2e-4), corrected=False, folder=tmp_path, seed=5, model=model,
        ).learning_rate
        for own in (None, 1e-3)
    ]  # fmt: skip
    assert rates == [2e-4, 1e-3]


def test_a_trainer_stays_where_the_base_is(tmp_path: Path) -> None:
    """`cpu:0` stands for `cuda:1` here: another device than the one transformers takes by itself."""
    arguments = GRPOConfig(output_dir=str(tmp_path), use_cpu=True)
    assert arguments.device == torch.device("cpu") != torch.device("cpu:0")
    on_one_device(arguments, torch.device("cpu:0"))
    assert arguments.device == torch.device("cpu:0") and Accelerator(cpu=True).device == torch.device("cpu:0")
    assert arguments.n_gpu <= 1
