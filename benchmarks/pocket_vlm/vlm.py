"""The pocket VLM: an Idefics3 of under three million parameters with its own tokenizer and processor."""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)

from visplay.pocket.scenes import SIDE

PATCH = 16  # pixels
SCALE = 2  # 2 x 2 patches become one image token, so a picture is 3 x 3 tokens
IMAGE_TOKENS = (SIDE // PATCH // SCALE) ** 2
VOCABULARY = 1024
# About 1 / sqrt(width). With the usual 0.02 a model this narrow learns colours, but no shapes, for 900 steps.
INITIAL_SPREAD = 0.08
PAD, END, IMAGE = "<pad>", "<end_of_utterance>", "<image>"
SPECIAL = (PAD, END, IMAGE, "<fake_token_around_image>", "<global-img>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for block in message['content'] %}"
    "{% if block['type'] == 'image' %}<image>{% else %}{{ block['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<end_of_utterance>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on `texts`; any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(SPECIAL[2:]),
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """The real Idefics3 processor, sized for 96-pixel pictures without tiling."""
    image_processor = Idefics3ImageProcessor(
        size={"longest_edge": SIDE}, max_image_size={"longest_edge": SIDE}, do_image_splitting=False
    )
    return Idefics3Processor(
        image_processor, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE
    )


def build_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Idefics3ForConditionalGeneration:
    """The untrained pocket VLM in float32, its weights drawn from `seed`."""
    pad, end, image = (tokenizer.vocab[token] for token in (PAD, END, IMAGE))
    config = Idefics3Config(
        image_token_id=image,
        pad_token_id=pad,
        tie_word_embeddings=True,
        scale_factor=SCALE,
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": PATCH,
            "initializer_range": INITIAL_SPREAD,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "head_dim": 32,
            "max_position_embeddings": 512,
            "rms_norm_eps": 1e-5,
            "initializer_range": INITIAL_SPREAD,
            "pad_token_id": pad,
            "bos_token_id": None,
            "eos_token_id": end,
            "tie_word_embeddings": True,
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Idefics3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = pad
    return model.float()
