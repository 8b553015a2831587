"""Self-play through the real tokenizers, templates and processors of released VLMs, on photographs."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data
from trl.data_utils import apply_chat_template, prepare_multimodal_messages

import rewards
from rollouts.chat import Chat
from rollouts.engine import BASE, Prompt
from tests.architectures.released import HERE, NAMES, write_tiny
from tests.visplay.training.test_groups import in_two_ways
from visplay.config.loading import check_config
from visplay.config.prompts import Prompts
from visplay.config.sections import Engine, Model
from visplay.errors import ConfigError, EngineError
from visplay.loop.selfplay import selfplay
from visplay.models.engines import start_engine
from visplay.models.processor import engine_settings, load_processor
from visplay.prompts import benchmark_prompt, questioner_prompt, reasoner_prompt
from visplay.storage import read_jsonl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HERE.is_dir(), reason=f"the files of released VLMs are not there: {HERE}"),
]
SYSTEM = Prompts(system="You look closely.")
# What makes a picture take fewer tokens: tokens of one of 640 by 480 pixels without it and with it.
KNOBS: dict[str, tuple[dict[str, Any], int, int]] = {
    "qwen2_5_vl_7b": ({"max_pixels": 224 * 224}, 391, 54),
    "qwen3_vl_8b_instruct": ({"max_pixels": 224 * 224}, 300, 48),
    "granite_docling_idefics3": ({"processor": {"do_image_splitting": False}}, 832, 64),
    "smolvlm2_500m": ({"processor": {"do_image_splitting": False}}, 832, 64),
    "internvl3_8b_hf": ({"processor": {"crop_to_patches": False}}, 3328, 256),
    "llava_onevision_qwen2_7b": ({"processor": {"image_grid_pinpoints": [[384, 384]]}}, 2929, 1317),
}
NO_LORA = ("llava_onevision_qwen2_7b", "vllm")
EVERY_COMMIT = "qwen2_5_vl_7b"


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        picture = Image.fromarray(getattr(data, name)())
        picture.thumbnail((320, 240))
        picture.save(folder / f"{name}.jpg")
    return folder


def marks(name: str, backend: str) -> list[Any]:
    return [] if name == EVERY_COMMIT and backend == "transformers" else [pytest.mark.extra]


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_those_of_trls_own_rendering(name: str) -> None:
    """TRL makes pixels and token types from its own rendering, and puts them to the ids of ours."""
    processor = load_processor(Model(path=str(HERE / name)))
    chat = Chat.load(processor, str(HERE / name))
    small, wide = Image.new("RGB", (320, 240), (90, 60, 30)), Image.new("RGB", (500, 180), (10, 60, 30))
    prompts = [
        reasoner_prompt(small, "Is <|im_end|> red?\nOr <image>?", words=Prompts(), kind="yes/no"),
        questioner_prompt(wide, types=["numerical"], words=SYSTEM),
        benchmark_prompt([small, wide], "<image 1> or <image 2>?", options=["a", "b"], words=SYSTEM),
    ]
    for prompt in prompts:
        messages = prepare_multimodal_messages(chat.messages(prompt), images=list(prompt.images))
        text = apply_chat_template({"prompt": messages}, processor)["prompt"]
        theirs = processor(images=[list(prompt.images)], text=[text], padding=True, return_tensors="pt")
        assert chat.encode([prompt])["input_ids"].tolist() == theirs["input_ids"].tolist()
        assert text.count("You look closely.") == (1 if prompt.messages[0]["role"] == "system" else 0)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_of_a_picture_with_the_knob_and_without(name: str) -> None:
    knob, without, with_it = KNOBS[name]
    found = []
    for settings in ({}, knob):
        chat = Chat.load(load_processor(Model(path=str(HERE / name), **settings)), str(HERE / name))
        prompt = reasoner_prompt(Image.new("RGB", (640, 480), (9, 99, 30)), "?", words=Prompts())
        ids = chat.encode([prompt])["input_ids"][0].tolist()
        found.append(sum(i in chat.banned for i in ids))
    assert found == [without, with_it]


def test_vllm_is_handed_what_the_processor_was_told() -> None:
    for name in NAMES:
        model = Model(path=str(HERE / name), **KNOBS[name][0])
        processor = load_processor(model)
        if name == "llava_onevision_qwen2_7b":
            with pytest.raises(ConfigError, match=r"image_grid_pinpoints: vLLM accepts no lists"):
                engine_settings(model, processor)
        elif model.processor:
            assert engine_settings(model, processor) == model.processor
        else:
            assert engine_settings(model, processor)["size"]["longest_edge"] == 224 * 224


@pytest.mark.parametrize("template", ["qwen3_5_fast_qwen", "minicpm_v_4_6"])
def test_what_is_thought_is_no_answer(template: str, tmp_path: Path) -> None:
    """A template that opens the block itself: completions begin inside it, and end it before they speak."""
    chat = Chat.load(load_processor(thinking(template, tmp_path, on=True)), str(tmp_path))
    said = "maybe \\boxed{3}</think>\n\\boxed{4}"
    asked = "<question>No?</question></think><type>yes/no</type><question>Q?</question><answer>yes</answer>"
    texts = []
    for text in (said, asked, "cut off \\boxed{3}"):
        ids = chat.tokenizer(text)["input_ids"]
        completion = chat.completion(token_ids=ids, logprobs=[0.0] * len(ids), prompt_ids=[], adapter=BASE)
        texts.append(completion.text)
    assert all(text.startswith("<think>") for text in texts)
    assert [rewards.extract_answer(text) for text in texts] == ["4", None, None]
    question = rewards.parse_question(texts[1], types=["yes/no"])
    assert isinstance(question, rewards.Question) and question.question == "Q?"


def thinking(template: str, folder: Path, *, on: bool) -> Model:
    for file in (HERE / "qwen3_vl_8b_instruct").iterdir():
        if file.name != "chat_template.jinja" and not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").write_text((HERE / "templates" / f"{template}.jinja").read_text())
    return Model(path=str(folder), chat_template_kwargs={"enable_thinking": on})


@pytest.mark.parametrize("template", ["qwen3_5_fast_qwen", "minicpm_v_4_6"])
def test_thinking_is_on_or_off_by_configuration(template: str, tmp_path: Path) -> None:
    openings = {}
    for on in (True, False):
        chat = Chat.load(load_processor(thinking(template, tmp_path, on=on)), str(tmp_path))
        text = chat.text(Prompt(messages=({"role": "user", "content": [{"type": "text", "text": "?"}]},)))
        assert text.rstrip().endswith("<think>" if on else "</think>")
        openings[on] = chat.opening
    assert openings == {True: "<think>\n", False: ""}


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_is_computed_once_for_its_completions(name: str, tmp_path: Path) -> None:
    """Pictures of two shapes in a call, and two of them in a prompt: TRL's trainer cannot do that for all."""
    model = Model(path=str(write_tiny(name, tmp_path / "model")), dtype="float32", **KNOBS[name][0])
    small, wide = (Image.fromarray(getattr(data, name)()) for name in ("astronaut", "rocket"))
    small.thumbnail((120, 120))
    wide.thumbnail((160, 160))
    prompts = [
        reasoner_prompt(small, "How many?", words=Prompts()),
        reasoner_prompt(wide, "What is it?", words=Prompts()),
        benchmark_prompt([small, wide], "<image 1> or <image 2>?", options=["a", "b"], words=SYSTEM),
    ]
    in_two_ways(tmp_path, model, prompts, micro_batch_size=12)


CASES = [
    pytest.param(name, backend, id=f"{name}-{backend}", marks=marks(name, backend))
    for name in NAMES
    for backend in ("transformers", "vllm")
    if (name, backend) != NO_LORA
]  # fmt: skip


@pytest.mark.parametrize(("name", "backend"), CASES)
def test_one_step_a_phase(name: str, backend: str, tmp_path: Path) -> None:
    """Engine and trainer agree on every token, and all that a run leaves is there."""
    phase = {"steps": 1, "prompts_per_step": 2, "group_size": 2, "max_tokens": 12}
    vllm = {"max_model_len": 4096, "limit_mm_per_prompt": {"image": 1, "video": 0},
            "max_num_batched_tokens": 8192}  # fmt: skip
    folder, pictures = write_tiny(name, tmp_path / "model"), photographs(tmp_path / "photographs")
    config = check_config(
        {
            "name": name, "output": str(tmp_path / "runs"), "iterations": 1, "threads": 1,
            "model": {"path": str(folder), "dtype": "float32", **KNOBS[name][0]},
            "lora": {"rank": 4, "alpha": 8}, "images": {"source": str(pictures)},
            "engine": {
                "backend": f"tests.architectures.released:{backend}",
                "vllm": vllm if backend == "vllm" else {},
            },
            "prompts": {"system": "You look closely."},
            "votes": {"samples": 4},
            "questioner": phase, "reasoner": phase, "curation": {"questions_per_image": 2},
            "optimizer": {"micro_batch_size": 2}, "evaluation": {"benchmarks": []},
        }
    )  # fmt: skip
    run = selfplay(config)
    rows = [
        row for row in read_jsonl(run / "metrics.jsonl") if row.get("phase") in ("questioner", "reasoner")
    ]
    assert [row["phase"] for row in rows] == ["questioner", "reasoner"]
    for row in rows:  # placeholders are out of what vLLM samples from, and random weights would write some
        assert row["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-3)
        assert row["sampling/sampling_logp_difference/max"] < 1e-3
        assert row["grad_norm"] > 0
    asked = pq.read_table(run / "iteration-1/curation/candidates.parquet").to_pylist()
    assert [row["kept"] for row in asked] == [True, False] * 4
    assert (run / "iteration-1/reasoner/adapter/adapter_model.safetensors").is_file()


@pytest.mark.extra
def test_a_vlm_without_lora_in_vllm_is_an_error_that_says_so(tmp_path: Path) -> None:
    """vLLM 0.32 has LLaVA-OneVision and no LoRA for it; when that changes, it moves to the cases above."""
    folder = write_tiny(NO_LORA[0], tmp_path / "model")
    model = Model(path=str(folder), dtype="float32")
    with pytest.raises(EngineError, match=r"vLLM did not start: .* without LoRA support"):
        start_engine(model, Engine(backend="vllm", vllm={"max_model_len": 4096}), lora_rank=4, logs=tmp_path)
