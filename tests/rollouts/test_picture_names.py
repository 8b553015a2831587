"""A question that names its pictures keeps their names, wherever the template puts the pictures."""

from types import SimpleNamespace

import pytest
from PIL import Image

from rollouts.chat import Chat
from visplay.config.prompts import Prompts
from visplay.prompts import benchmark_prompt

GREY = Image.new("RGB", (8, 8), "grey")


class Processor:
    chat_template = "by hand"

    def __init__(self, *, pictures_first):
        self.pictures_first = pictures_first
        self.tokenizer = SimpleNamespace(added_tokens_decoder={}, all_special_tokens=[], eos_token_id=0)

    def apply_chat_template(self, messages, **_):
        blocks = messages[-1]["content"]
        if self.pictures_first:
            blocks = sorted(blocks, key=lambda block: block["type"] != "image")
        return "".join("[P]" if block["type"] == "image" else block["text"] for block in blocks)


@pytest.mark.parametrize(
    ("pictures_first", "question", "text"),
    [
        (True, "First <image 1>, then <image 2>.", "[P][P]First (picture 1), then (picture 2)."),
        (False, "First <image 1>, then <image 2>.", "First [P], then [P]."),
        (True, "Compare the two.", "[P][P]Compare the two."),
        (True, "Is <image 2> like <image 2>?", "[P][P]Is (picture 2) like (picture 2)?"),
    ],
)
def test_a_picture_that_is_moved_leaves_its_number(pictures_first, question, text):
    nothing = SimpleNamespace(eos_token_id=0)
    chat = Chat(Processor(pictures_first=pictures_first), config=nothing, generation=nothing)
    words = Prompts(system="", reasoner="{question} \\boxed{}")
    said = chat.text(benchmark_prompt([GREY, GREY], question, words=words))
    assert said == f"{text} \\boxed{{}}"
