"""What tests of servers share."""

import pytest

from rollouts.chat import Chat
from tests.rollouts.fleets import POCKET
from visplay.models.processor import load_processor


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat.load(load_processor(POCKET), POCKET.source)
