"""Tiny VLMs with random weights: real configuration, model and processor classes, a tokenizer of a few lines.

Their chat templates keep the shape of the released ones (where the picture stands, who writes the start
token), and each comes with a generation configuration full of things that an engine must not take over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LINES = [
    "How many shapes are there? Look at the image, think step by step.",
    "put your final answer in \\boxed{}",
]
TEXT = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 2048, "initializer_range": 0.1,
    "tie_word_embeddings": False,
}  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def template(*, image: str, start: str = "") -> str:
    return (
        start + "{% for m in messages %}<|{{ m['role'] }}|>{% if m['content'] is string %}{{ m['content'] }}"
        "{% else %}{% for b in m['content'] %}{% if b['type'] == 'image' %}" + image
        + "{% else %}{{ b['text'] }}{% endif %}{% endfor %}{% endif %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )  # fmt: skip


def tokenizer(special: list[str], *, names: dict[str, str] | None = None, start: str | None = None) -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>", *([start] if start else []), *special]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        LINES, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    if start:
        pair = (start, bpe.token_to_id(start))
        bpe.post_processor = processors.TemplateProcessing(single=f"{start} $A", special_tokens=[pair])
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", eos_token="<|end|>", bos_token=start,
        additional_special_tokens=special[2:], extra_special_tokens=names or {}, model_max_length=2048,
    )  # fmt: skip


def text(tok: Any, **more: Any) -> dict[str, Any]:
    ids = {
        "pad_token_id": tok.pad_token_id,
        "eos_token_id": tok.eos_token_id,
        "bos_token_id": tok.bos_token_id,
    }
    return TEXT | {"vocab_size": len(tok)} | ids | more


def qwen2_5_vl() -> tuple[Any, Any]:
    special = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
    tok = tokenizer(special)
    vision = {
        "depth": 2, "hidden_size": 64, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 96,
        "patch_size": 14, "spatial_merge_size": 2, "fullatt_block_indexes": [1], "window_size": 56,
    }  # fmt: skip
    rope = ROPE | {"mrope_section": [4, 6, 6]}
    config = tf.Qwen2_5_VLConfig(
        text_config=text(tok, rope_parameters=rope), vision_config=vision, **qwen_ids(tok)
    )
    pixels = tf.Qwen2VLImageProcessor(min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 64)
    chat = template(image="<|vision_start|><|image_pad|><|vision_end|>")
    processor = tf.Qwen2_5_VLProcessor(pixels, tok, tf.Qwen2VLVideoProcessor(), chat_template=chat)
    return tf.Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl() -> tuple[Any, Any]:
    tok = tokenizer(["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"])
    vision = {
        "depth": 2, "hidden_size": 64, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 96,
        "patch_size": 16, "spatial_merge_size": 2, "deepstack_visual_indexes": [0],
        "num_position_embeddings": 64,
    }  # fmt: skip
    rope = ROPE | {"mrope_section": [6, 5, 5], "mrope_interleaved": True}
    config = tf.Qwen3VLConfig(
        text_config=text(tok, rope_parameters=rope), vision_config=vision, **qwen_ids(tok)
    )
    pixels = tf.Qwen2VLImageProcessor(
        patch_size=16, merge_size=2, min_pixels=32 * 32 * 4, max_pixels=32 * 32 * 64
    )
    chat = template(image="<|vision_start|><|image_pad|><|vision_end|>")
    processor = tf.Qwen3VLProcessor(pixels, tok, tf.Qwen3VLVideoProcessor(), chat_template=chat)
    return tf.Qwen3VLForConditionalGeneration(config), processor


def qwen_ids(tok: Any) -> dict[str, Any]:
    names = {
        "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
    }  # fmt: skip
    return {key: tok.convert_tokens_to_ids(token) for key, token in names.items()} | {
        "tie_word_embeddings": False
    }


def siglip(side: int, **more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": side, "patch_size": 14, "initializer_range": 0.1,
    } | more  # fmt: skip


def idefics3() -> tuple[Any, Any]:
    """With tiling, unlike the pocket VLM."""
    special = ["<image>", "<fake_token_around_image>", "<global-img>"]
    special += [f"<row_{i}_col_{j}>" for i in range(1, 5) for j in range(1, 5)]
    tok = tokenizer(special)
    config = tf.Idefics3Config(
        image_token_id=tok.convert_tokens_to_ids("<image>"), pad_token_id=tok.pad_token_id, scale_factor=2,
        tie_word_embeddings=False, vision_config=siglip(56),
        text_config=text(tok, model_type="llama", rope_parameters=ROPE),
    )  # fmt: skip
    pixels = tf.Idefics3ImageProcessor(size={"longest_edge": 112}, max_image_size={"longest_edge": 56})
    processor = tf.Idefics3Processor(pixels, tok, image_seq_len=4, chat_template=template(image="<image>"))
    return tf.Idefics3ForConditionalGeneration(config), processor


def smolvlm() -> tuple[Any, Any]:
    special = ["<image>", "<fake_token_around_image>", "<global-img>"]
    special += [f"<row_{i}_col_{j}>" for i in range(1, 5) for j in range(1, 5)]
    tok = tokenizer(special)
    config = tf.SmolVLMConfig(
        image_token_id=tok.convert_tokens_to_ids("<image>"), pad_token_id=tok.pad_token_id, scale_factor=2,
        tie_word_embeddings=False, vision_config=siglip(56),
        text_config=text(tok, model_type="llama", rope_parameters=ROPE),
    )  # fmt: skip
    pixels = tf.SmolVLMImageProcessor(size={"longest_edge": 112}, max_image_size={"longest_edge": 56})
    processor = tf.SmolVLMProcessor(
        pixels, tok, tf.SmolVLMVideoProcessor(), image_seq_len=4, chat_template=template(image="<image>")
    )
    return tf.SmolVLMForConditionalGeneration(config), processor


def llava() -> tuple[Any, Any]:
    """The tokenizer adds the start token, the template does not."""
    tok = tokenizer(["<image>"], start="<s>")
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**siglip(56, projection_dim=64)),
        text_config=tf.LlamaConfig(**text(tok, rope_parameters=ROPE)),
        image_token_index=tok.convert_tokens_to_ids("<image>"), image_seq_length=16,
        tie_word_embeddings=False,
    )  # fmt: skip
    pixels = tf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    processor = tf.LlavaProcessor(
        pixels, tok, patch_size=14, vision_feature_select_strategy="default", image_token="<image>",
        num_additional_image_tokens=1, chat_template=template(image="<image>\n"),
    )  # fmt: skip
    return tf.LlavaForConditionalGeneration(config), processor


def gemma3() -> tuple[Any, Any]:
    """Tokenizer and template both write the start token; pictures see each other both ways."""
    names = {
        "image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"
    }  # fmt: skip
    newlines = ["\n" * count for count in range(1, 5)]  # each is one token to Gemma, as vLLM knows
    tok = tokenizer([*names.values(), *newlines], names=names, start="<bos>")
    config = tf.Gemma3Config(
        text_config=text(tok, sliding_window=64, layer_types=["sliding_attention", "full_attention"],
                         query_pre_attn_scalar=32),
        vision_config=siglip(56), mm_tokens_per_image=4, tie_word_embeddings=True,
        boi_token_index=tok.boi_token_id, eoi_token_index=tok.eoi_token_id,
        image_token_index=tok.image_token_id,
    )  # fmt: skip
    pixels = tf.Gemma3ImageProcessor(size={"height": 56, "width": 56})
    chat = template(image="<start_of_image>", start="{{ bos_token }}")
    processor = tf.Gemma3Processor(pixels, tok, chat_template=chat, image_seq_length=4)
    return tf.Gemma3ForConditionalGeneration(config), processor


def internvl() -> tuple[Any, Any]:
    names = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    tok = tokenizer(list(names.values()), names=names)
    config = tf.InternVLConfig(
        vision_config=siglip(56) | {"image_size": [56, 56], "patch_size": [14, 14]},
        text_config=tf.Qwen2Config(**text(tok, rope_parameters=ROPE)),
        image_token_id=tok.convert_tokens_to_ids("<IMG_CONTEXT>"), image_seq_length=4, downsample_ratio=0.5,
        tie_word_embeddings=False,
    )  # fmt: skip
    pixels = tf.GotOcr2ImageProcessor(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    processor = tf.InternVLProcessor(
        pixels, tok, tf.InternVLVideoProcessor(), image_seq_length=4,
        chat_template=template(image="<IMG_CONTEXT>\n"),
    )  # fmt: skip
    return tf.InternVLForConditionalGeneration(config), processor


def as_released(file: Path) -> None:
    """Name the vision tower's weights as in the released checkpoints, which is what vLLM wants."""
    nested = ("vision_tower.", "vision_tower.vision_model.")
    weights = {name.replace(*nested): weight for name, weight in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


@dataclass(frozen=True)
class Tiny:
    """One architecture.

    `pixels`: its processor has pixel limits. `nested`: released checkpoints have one more level in the vision
    tower's names than transformers 5 writes for a new model, and vLLM reads only those.
    """

    name: str
    build: Callable[[], tuple[Any, Any]]
    pixels: bool = False
    nested: bool = False

    def write(self, folder: Path) -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model, processor = self.build()
        # Such as released VLMs have; rollouts are sampled by what the run says, not by these.
        model.generation_config.update(
            eos_token_id=processor.tokenizer.eos_token_id, pad_token_id=processor.tokenizer.pad_token_id,
            do_sample=True, temperature=0.3, top_k=5, top_p=0.5, repetition_penalty=1.3,
        )  # fmt: skip
        model.float().save_pretrained(folder)
        processor.save_pretrained(folder)
        if self.nested:
            as_released(folder / "model.safetensors")
        return folder


ALL = [
    Tiny("Qwen2.5-VL", qwen2_5_vl, pixels=True),
    Tiny("Qwen3-VL", qwen3_vl, pixels=True),
    Tiny("Idefics3", idefics3),
    Tiny("SmolVLM", smolvlm),
    Tiny("LLaVA", llava, nested=True),
    Tiny("Gemma 3", gemma3, nested=True),
    Tiny("InternVL", internvl),
]
