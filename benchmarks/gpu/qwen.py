"""Qwen2.5-VL with random weights, of the true size of its 3B or tiny; its tokenizer is made of our prompts.

The configuration holds the architecture's public values. Embedding and LM head keep all 151,936 rows, and the
tokenizer knows the first few hundred of them: what is sampled beyond decodes to nothing and costs the same.
"""

from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from visplay.config.prompts import Prompts

PARAMETERS = 3_754_622_976  # of the 3B, the tied LM head once
TEXT_3B: dict[str, Any] = {
    "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
    "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 128000, "rms_norm_eps": 1e-6,
    "initializer_range": 0.02, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}  # fmt: skip
VISION_3B: dict[str, Any] = {
    "depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420, "out_hidden_size": 2048,
    "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}  # fmt: skip
TEXT_TINY = TEXT_3B | {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 2048, "max_position_embeddings": 4096,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
}  # fmt: skip
VISION_TINY = VISION_3B | {
    "depth": 2, "hidden_size": 64, "num_heads": 2, "intermediate_size": 96, "out_hidden_size": 64,
    "fullatt_block_indexes": [1],
}  # fmt: skip

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
           "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for b in m['content'] %}"
    "{% if b['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ b['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_processor() -> Any:
    """The family's own processor classes, with a byte-level tokenizer that was trained on our prompts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    words = Prompts()
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator([words.questioner, words.reasoner], trainer)
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=SPECIAL[0], eos_token=SPECIAL[2],
        additional_special_tokens=SPECIAL[1:], model_max_length=32768,
    )  # fmt: skip
    pixels = tf.Qwen2VLImageProcessor(min_pixels=4 * 28 * 28, max_pixels=16384 * 28 * 28)
    return tf.Qwen2_5_VLProcessor(pixels, tokenizer, tf.Qwen2VLVideoProcessor(), chat_template=TEMPLATE)


def make_config(tokenizer: Any, *, text: dict[str, Any], vision: dict[str, Any]) -> Any:
    """The configuration of a Qwen2.5-VL whose special tokens are this tokenizer's."""
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    special = {
        key: tokenizer.convert_tokens_to_ids(token)
        for key, token in (
            ("image_token_id", "<|image_pad|>"), ("video_token_id", "<|video_pad|>"),
            ("vision_start_token_id", "<|vision_start|>"), ("vision_end_token_id", "<|vision_end|>"),
        )
    }  # fmt: skip
    return tf.Qwen2_5_VLConfig(
        text_config=text | {"eos_token_id": end, "pad_token_id": pad, "bos_token_id": None},
        vision_config=vision, tie_word_embeddings=text["tie_word_embeddings"], **special,
    )  # fmt: skip


def make_model(config: Any, *, device: str, dtype: torch.dtype, seed: int) -> Any:
    """The model with seeded random weights, made where it stays and in the type that it keeps."""
    torch.manual_seed(seed)
    with torch.device(device):
        model: Any = tf.AutoModelForImageTextToText.from_config(config, dtype=dtype)
    text = config.get_text_config()
    model.generation_config.update(eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id)
    return model.eval()
