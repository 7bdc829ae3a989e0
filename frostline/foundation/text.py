"""The miniature's words: a word-level tokenizer and a small UMT5 encoder with fixed random weights.

A random encoder is enough: it keeps the captions of twenty words well apart, order included, and stands still. It has
the class, the files and the calling convention of Wan's text encoder, so that nothing downstream knows the difference.
"""

import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from frostline import digits, randomness

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
WIDTH = 64
LENGTH = 12  # tokens a transformer sees: the longest caption has seven, the end token included


def vocabulary() -> dict[str, int]:
    """Every word of the captions with its number; pad 0 and end 1 as in T5."""
    words = [*digits.caption(0).split()[:-1], *digits.WORDS, "moving", *digits.MOTIONS]
    return {word: number for number, word in enumerate([PAD, END, UNKNOWN, *words])}


def tokenizer() -> PreTrainedTokenizerFast:
    """Words and punctuation apart, lower case, end token last; words it does not know become one token."""
    words = vocabulary()
    backend = tokenizers.Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, words[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="right",
        model_max_length=LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )


def encoder(seed: int) -> UMT5EncoderModel:
    """A UMT5 encoder of two layers; matrices are normal with variance 1 / inputs, words and positions N(0, 1)."""
    config = UMT5Config(
        vocab_size=len(vocabulary()),
        d_model=WIDTH,
        d_kv=16,
        num_heads=4,
        num_layers=2,
        d_ff=2 * WIDTH,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=128,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        model = UMT5EncoderModel(config).eval()
    generator = randomness.generator(seed, "text encoder")
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim == 2:
                inputs = 1 if _is_table(name) else weight.shape[1]
                drawn = torch.randn(weight.shape, generator=generator) * inputs**-0.5
                weight.copy_(drawn.bfloat16())  # few bits, so that git keeps it in half the space
    return model.requires_grad_(requires_grad=False)


def _is_table(name: str) -> bool:
    return name.endswith(("shared.weight", "embed_tokens.weight", "relative_attention_bias.weight"))
