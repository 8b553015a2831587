"""`lora.targets`: every name must match a layer that can carry an adapter."""

import pytest

from visplay.config.sections import Lora, Model
from visplay.errors import ConfigError
from visplay.models.policy import Policy, load_base, with_new_adapter


@pytest.fixture(scope="module")
def base() -> Policy:
    return Policy(*load_base(Model(path="pocket", dtype="float32")), lora=Lora())


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["q_proj", "v_prok"], r"'v_prok' matches nothing .*v_proj"),
        (["nothing"], "'nothing' matches nothing"),
        (["lm_head"], "lm_head cannot have LoRA"),
        (["q_proj", "lm_head"], "lm_head cannot have LoRA"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_trained_is_refused(base: Policy, targets: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"lora\.targets: .*{said}"):
        with_new_adapter(base.model, Lora(targets=targets))
