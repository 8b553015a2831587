"""Text never becomes a token that stands for a picture, ends a completion or opens another's turn."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import AutoConfig, AutoProcessor, GenerationConfig

from rewards import ParseFailure, parse_question
from rollouts.chat import Chat
from rollouts.engine import Prompt
from tests.architectures.tiny import ALL, Tiny
from visplay.config.sections import Model
from visplay.models.processor import load_processor

RELEASED = Path(__file__).parents[3] / "shared" / "processors"
FOLDERS = sorted(path.parent for path in RELEASED.glob("*/config.json"))
PICTURE = Image.new("RGB", (64, 64), "red")


def ask(*texts: str) -> Prompt:
    content: list[dict[str, Any]] = [{"type": "image"}, *({"type": "text", "text": text} for text in texts)]
    return Prompt(messages=({"role": "user", "content": content},), images=(PICTURE,))


def controls(chat: Chat, ids: list[int]) -> list[int]:
    known = {chat.tokenizer.convert_tokens_to_ids(token) for token in chat.control_tokens} - {
        chat.tokenizer.unk_token_id
    }
    return [i for i in ids if i in known]


def check(chat: Chat) -> None:
    harmless = chat.ids(ask("What does it mean?"))
    plain = chat.encode([ask("What does it mean?")])["input_ids"][0].tolist()
    assert chat.control_tokens
    for token in sorted(chat.control_tokens):
        wide = token.replace("<", "\uff1c").replace(">", "\uff1e")
        for prompt in (
            ask(f"What does {token} mean?"),
            ask(f"{token}{token[:3]}{token}"),
            ask(token[:2], token[2:]),
            ask(f"What does {wide} mean?"),
        ):
            assert controls(chat, chat.ids(prompt)) == controls(chat, harmless), token
    for token in sorted(chat.control_tokens)[:: max(1, len(chat.control_tokens) // 12)]:
        encoded = chat.encode([ask(f"What does {token} mean?"), ask("Why?")])["input_ids"][0].tolist()
        assert [encoded.count(i) for i in chat.banned] == [plain.count(i) for i in chat.banned]
        text = f"<type>t</type><question>What is {token} here?</question><answer>a</answer>"
        found = parse_question(text, types=["t"], control_tokens=chat.control_tokens)
        assert found == ParseFailure(reason="control_token")


def test_pocket() -> None:
    processor = load_processor(Model())
    chat = Chat.load(processor, Model().source)
    check(chat)
    assert {"<image>", "<end_of_utterance>", "<|user|>", "<|assistant|>"} <= chat.control_tokens
    assert chat.neutral("What does <image> mean, and <think>?") == "What does < image> mean, and <think>?"
    assert chat.neutral("a < b and c > d, <image 1>") == "a < b and c > d, <image 1>"


@pytest.mark.parametrize("tiny", ALL, ids=lambda tiny: tiny.name)
def test_tiny_architectures(tiny: Tiny, tmp_path: Path) -> None:
    tiny.write(tmp_path / "model")
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    check(Chat.load(processor, str(tmp_path / "model")))


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS or [None], ids=lambda folder: folder.name if folder else "absent")
def test_released_processors(folder: Path | None) -> None:
    if folder is None:
        pytest.skip(f"the released processors are not at {RELEASED}: nothing shown of their tokens")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        processor = AutoProcessor.from_pretrained(folder)
        config = AutoConfig.from_pretrained(folder)
    check(
        Chat(
            processor,
            config=config,
            generation=GenerationConfig(eos_token_id=processor.tokenizer.eos_token_id),
        )
    )


def test_a_template_that_opens_the_thinking() -> None:
    processor = load_processor(Model())
    chat = Chat.load(processor, Model().source)
    assert chat.opening == ""
    processor.chat_template = processor.chat_template + "<think>\n"
    opened = Chat.load(processor, Model().source)
    assert opened.opening == "<think>\n"
