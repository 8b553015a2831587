"""What `visplay doctor CONFIG` says of a chat template, template by template."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.architectures.tiny import ALL
from visplay.cli.doctor import Finding, probe_template
from visplay.config.prompts import Prompts
from visplay.config.sections import Model

PICTURE = Image.new("RGB", (120, 80), (10, 200, 30))
BLOCKS = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% for b in m['content'] %}"
    "{% if b['type'] == 'image' %}<|image_pad|>{% else %}{{ b['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
PAD = "<|image_pad|>"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ALL[0].write(tmp_path_factory.mktemp("tiny"))


def found(tiny: Path, template: str, *, system: str = "") -> list[Finding]:
    (tiny / "chat_template.jinja").write_text(template)
    return list(probe_template(Model(path=str(tiny)), PICTURE, Prompts(system=system)))


def test_a_sound_template_is_good_and_its_tokens_are_counted(tiny: Path) -> None:
    findings = found(tiny, BLOCKS, system="Look closely.")
    assert {finding.verdict for finding in findings} == {"good"}
    said = [finding.what for finding in findings]
    assert said[0] == "prompts.system occurs 1 times in a prompt"
    assert "12 of them for a picture of 120 x 80" in said[1]  # 112 x 84 pixels, 28 x 28 a token


@pytest.mark.parametrize(
    ("template", "system", "verdict", "what"),
    [
        (BLOCKS.replace(PAD, PAD + PAD), "", "bad", "4 placeholders for two pictures"),
        (BLOCKS.replace("messages", "messages[-1:]"), "Look.", "bad", "occurs 0 times"),
        (BLOCKS + "{% if add_generation_prompt %}<think>{% endif %}", "", "note", "opens <think> itself"),
        ("{{ messages[0]['content'] + 'text' }}", "", "bad", "fails on messages with two pictures"),
    ],
)  # fmt: skip
def test_each_oddity_is_a_sentence(tiny: Path, template: str, system: str, verdict: str, what: str) -> None:
    findings = found(tiny, template, system=system)
    (odd,) = [finding for finding in findings if what in finding.what]
    assert odd.verdict == verdict and (odd.verdict == "good" or odd.fix)
    assert sum(finding.verdict != "good" for finding in findings) == (verdict != "good")


def test_no_template_at_all(tiny: Path) -> None:
    (tiny / "chat_template.jinja").unlink()
    config = json.loads((tiny / "processor_config.json").read_text())
    assert "chat_template" not in config
    (finding,) = probe_template(Model(path=str(tiny)), PICTURE, Prompts())
    assert finding.verdict == "bad" and "no chat template" in finding.what
