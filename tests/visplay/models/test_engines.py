"""What `start_engine` refuses before anything is started."""

from pathlib import Path

import pytest

from visplay.config.sections import Engine, Model
from visplay.errors import ConfigError
from visplay.models.engines import start_engine


@pytest.mark.parametrize(
    ("engine", "complaint"),
    [
        (Engine(backend="server", sleep=True, replicas=1), r"engine\.sleep: vLLM can only sleep on a GPU"),
        (
            Engine(backend="server", sleep=True, urls=["http://10.0.0.1:8000"]),
            r"engine\.sleep: only servers that are started here \(engine\.replicas\) can be put to sleep",
        ),
    ],
)
def test_sleep_is_for_servers_of_ours_on_a_gpu(engine: Engine, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=complaint):
        start_engine(Model(path="pocket", device="cpu"), engine, lora_rank=8, logs=tmp_path)
    assert not list(tmp_path.iterdir())
