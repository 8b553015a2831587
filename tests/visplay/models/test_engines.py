"""What `start_engine` refuses before anything is started."""

from pathlib import Path

import pytest

from visplay.config.sections import Engine, Model
from visplay.errors import ConfigError
from visplay.models.engines import start_engine


def test_servers_do_not_sleep(tmp_path: Path) -> None:
    engine = Engine(backend="server", sleep=True, replicas=1)
    with pytest.raises(ConfigError, match=r"engine\.sleep: servers do not sleep"):
        start_engine(Model(path="pocket", device="cpu"), engine, lora_rank=8, logs=tmp_path)
    assert not list(tmp_path.iterdir())
