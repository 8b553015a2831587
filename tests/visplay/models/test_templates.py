"""Templates with variables and dates, and the words of both roles, from a configuration to the prompt."""

import datetime
from pathlib import Path

import pytest
from PIL import Image

from rollouts.chat import Chat
from tests.architectures.tiny import ALL
from visplay.config.loading import check_config
from visplay.config.prompts import Prompts
from visplay.config.sections import Model
from visplay.errors import ConfigError
from visplay.evaluation.reasoner import model_digest
from visplay.models.processor import load_processor, settled_template
from visplay.prompts import benchmark_prompt, questioner_prompt, reasoner_prompt
from visplay.runs.run import begun

GREY = Image.new("RGB", (64, 64), (128, 128, 128))
DAY = datetime.date(2026, 2, 3)
DATED = "{% set day = strftime_now('%d %B %Y') %}Today is {{ day }}.{{ messages[0]['content'] }}"
THINKING = (
    "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"
    "{% if enable_thinking %}<think>{% else %}plain{% endif %}{{ effort }}"
)


def rendered(template: str) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    return str(render_jinja_template([[{"role": "user", "content": "?"}]], chat_template=template)[0][0])


def test_a_date_is_the_runs_own_and_not_todays() -> None:
    settled = settled_template(DATED, variables={}, date=DAY)
    assert rendered(settled) == "Today is 03 February 2026.?"
    today = datetime.date.today().strftime("%d %B %Y")
    assert rendered(settled_template(DATED, variables={}, date=None)) == f"Today is {today}.?"


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, "<think>"),
        ({"enable_thinking": False}, "plain"),
        ({"effort": "low \"quoted\" {{ messages }}"}, '<think>low "quoted" {{ messages }}'),
        ({"effort": [1, None, {"a": True}]}, "<think>[1, None, {'a': True}]"),
    ],
)  # fmt: skip
def test_variables_are_set_in_the_template_itself(variables: dict[str, object], text: str) -> None:
    assert rendered(settled_template(THINKING, variables=variables, date=None)) == text


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"enable_thinkin": False}, "did you mean 'enable_thinking'"),
        ({"zzz": 1}, "see the model's chat_template.jinja"),
        ({"messages": []}, "the renderer sets it"),
    ],
)
def test_a_variable_that_is_not_the_templates_is_an_error(variables: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.chat_template_kwargs\.") as error:
        settled_template(THINKING, variables=variables, date=None)
    assert said in str(error.value)


def test_the_processor_shows_less_where_it_is_told_to(tmp_path: Path) -> None:
    """Each family by its own knob; a setting that it lacks is an error, and so is one that it cannot use."""
    by_name = {tiny.name: tiny for tiny in ALL}
    knobs = {"Idefics3": "do_image_splitting", "SmolVLM": "do_image_splitting", "InternVL": "crop_to_patches"}
    for name, knob in knobs.items():
        folder = by_name[name].write(tmp_path / name)
        lengths = []
        for settings in ({}, {knob: False}):
            model = Model(path=str(folder), processor=settings)
            lengths.append(_tokens(model))
        assert lengths[1] < lengths[0], (name, lengths)
        with pytest.raises(ConfigError, match=f"model.max_pixels: .*{knob}: false"):
            load_processor(Model(path=str(folder), max_pixels=4096))
        with pytest.raises(ConfigError, match=r"model.processor.do_image_splittin: .* has no such setting"):
            load_processor(Model(path=str(folder), processor={"do_image_splittin": False}))
    with pytest.raises(ConfigError, match=r"model\.processor .* refused by"):
        load_processor(Model(path=str(tmp_path / "InternVL"), processor={"size": {"longest_edge": 64}}))


def _tokens(model: Model) -> int:
    chat = Chat.load(load_processor(model), model.source)
    picture = Image.radial_gradient("L").resize((200, 120)).convert("RGB")
    return int(chat.encode([reasoner_prompt(picture, "?", words=Prompts())])["input_ids"].shape[1])


def test_other_pixels_or_another_template_are_another_model_to_stored_samples() -> None:
    plain = Model(path="pocket")
    others = [
        plain.model_copy(update=change)
        for change in ({"processor": {"size": {"longest_edge": 96}}}, {"date": DAY}, {"max_pixels": 9})
    ]
    assert len({model_digest(model) for model in (plain, *others)}) == 4
    assert model_digest(plain.model_copy(update={"device": "cpu"})) == model_digest(plain)


def test_the_words_of_both_roles_are_the_configurations() -> None:
    words = Prompts(
        system="You see well.",
        questioner="Ask about {types}: <type>t</type><question>q</question><answer>a</answer> {other}",
        reasoner="Q: {question}{form}\n<answer>here</answer>",
        forms={"numerical": "digits"},
    )
    asked = questioner_prompt(GREY, types=["numerical", "colour"], words=words)
    assert [message["role"] for message in asked.messages] == ["system", "user"]
    assert asked.messages[0]["content"] == [{"type": "text", "text": "You see well."}]
    assert asked.messages[1]["content"][1]["text"].startswith(
        "Ask about numerical (answered by digits), colour:"
    )
    assert asked.messages[1]["content"][1]["text"].endswith(" {other}")
    answered = reasoner_prompt(GREY, "What is {form} of {types}?", words=words, kind="numerical")
    assert answered.messages[1]["content"][1]["text"] == (
        "Q: What is {form} of {types}?, digits,\n<answer>here</answer>"
    )
    assert words.answer_form == "tagged" and Prompts().answer_form == "boxed"
    several = benchmark_prompt([GREY, GREY], "<image 1> or <image 2>?", words=words)
    assert [m["role"] for m in several.messages] == ["system", "user"] and len(several.images) == 2


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({"reasoner": "{question} Just say it."}, "in \\boxed{} or in <answer></answer>"),
        ({"reasoner": "Say \\boxed{}."}, "must hold {question}"),
        ({"questioner": "Ask {types}: <type></type><question></question>"}, "must hold <answer>...</answer>"),
        ({"questioner": "<type></type><question></question><answer></answer>"}, "must hold {types}"),
        ({"sistem": "x"}, "did you mean 'system'"),
    ],
)  # fmt: skip
def test_words_that_could_not_be_read_back_are_an_error(prompts: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_config({"images": {"source": "."}, "prompts": prompts})
    assert said in str(error.value) and "prompts" in str(error.value)


def test_a_run_without_a_start_has_no_day(tmp_path: Path) -> None:
    assert begun(tmp_path) is None
    (tmp_path / "versions.json").write_text(
        '{"format": 2, "starts": [{"date": "2026-02-03"}, {"date": "2027-01-01"}]}'
    )
    assert begun(tmp_path) == DAY
