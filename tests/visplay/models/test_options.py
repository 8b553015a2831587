"""Arguments of `from_pretrained` that a configuration hands on, and those that it may not."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.architectures.tiny import ALL
from visplay.config.sections import Model
from visplay.errors import ConfigError
from visplay.models.policy import load_base


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ALL[0].write(tmp_path_factory.mktemp("tiny"))


def test_attention_is_chosen(tiny: Path) -> None:
    for attention in ("eager", "sdpa"):
        model, _ = load_base(Model(path=str(tiny), options={"attn_implementation": attention}))
        assert model.config._attn_implementation == attention


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float16"}, "model.options.dtype: its key is model.dtype"),
        ({"device_map": "auto"}, "model.options.device_map: its key is model.device"),
        ({"use_safetensors": False}, "weights are read from safetensors only"),
        ({"nonsense": 3}, "model.options {'nonsense': 3}"),
    ],
)
def test_what_has_a_key_or_means_nothing_is_refused(tiny: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_base(Model(path=str(tiny), options=options))
    assert said in str(error.value)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_quantisation_without_its_package_says_what_to_install(tiny: Path) -> None:
    quantised = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    with pytest.raises(ConfigError, match="requires bitsandbytes: `pip install"):
        load_base(Model(path=str(tiny), options={"quantization_config": quantised}))
