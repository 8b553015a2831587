"""Completions of like length side by side, and the columns that are padding in all of them left out.

TRL pads a batch to its longest completion and computes the padding too. What a row's log-probs are does not
depend on the rows beside it, nor on columns to its right, so both change rounding and nothing else.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

from visplay.loop.pictures import Pictures

CHUNK = 16  # rows of one length at most; of fewer, a forward pass costs more than it leaves out
_BY_TOKEN = ("input_ids", "attention_mask", "labels", "token_type_ids", "mm_token_type_ids")
_OF_TOKENS = ("log_probs", "entropy")


def longest_first(mask: torch.Tensor) -> list[int]:
    """[rows] which comes first, by tokens of `mask` [rows, tokens]; equal ones stay in their order."""
    lengths = mask.sum(dim=1).tolist()
    return sorted(range(len(lengths)), key=lambda row: -lengths[row])


def reordered(batch: dict[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """TRL's batch, or what it gives a model, with its rows, and the pictures of each, in another order."""
    if list(order) == list(range(len(order))):
        return batch
    by_row = split_pixel_values_by_grid({name: value for name, value in batch.items() if value is not None})

    def rows(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value[torch.tensor(order, device=value.device)] if value.ndim else value
        return [value[row] for row in order]

    moved: dict[str, Any] = unsplit_pixel_values_by_grid({name: rows(v) for name, v in by_row.items()})
    return moved


def indifferent(arguments: GRPOConfig) -> bool:
    """Whether it is all the same to the gradient which rows share a micro-batch.

    It is not where means or quantiles over the tokens of a micro-batch are taken.
    """
    return (
        arguments.loss_type in ("grpo", "dr_grpo", "dapo", "cispo", "sapo")
        and arguments.top_entropy_quantile == 1
        and not arguments.entropy_coef
        and not arguments.use_adaptive_entropy
    )


class Shown:
    """A model as TRL calls it, chunk after chunk of a batch, which is shown no more than there is to see.

    Not the last columns, where all rows of a chunk are padding, and no picture that it knows.

    Args:
        model: that is shown them.
        pictures: stands before its vision tower.
        keys: [rows] whose pictures a row has; none where that is not known.
        batch: what TRL takes the chunks of, by name.
    """

    def __init__(self, model: Any, *, pictures: Pictures, keys: Sequence[int], batch: dict[str, Any]) -> None:
        self._model, self._pictures, self._keys = model, pictures, keys
        self._by_row = split_pixel_values_by_grid(batch)
        self._next = 0

    def __call__(self, **inputs: Any) -> Any:
        """What the model gives; log-probs and entropy [rows, tokens - 1] are 0 where it was shown nothing."""
        mask = inputs["attention_mask"]
        start, self._next = self._next, self._next + len(mask)
        self._pictures.expect(self._keys[start : self._next], lambda row: self._row(start + row))
        used = int(mask.any(dim=0).nonzero().max()) + 1
        left_out = mask.shape[1] - used
        shown = {name: value[:, :used] if name in _BY_TOKEN else value for name, value in inputs.items()}
        outputs = self._model(**shown)
        for name in _OF_TOKENS:
            if left_out and outputs[name] is not None:
                setattr(outputs, name, pad(outputs[name], (0, left_out)))
        return outputs

    def _row(self, row: int) -> dict[str, torch.Tensor]:
        """What there is of one row, as a batch of it alone."""
        return {
            name: value[row] if isinstance(value, list) else value[row : row + 1]
            for name, value in self._by_row.items()
            if isinstance(value, torch.Tensor) or (value and isinstance(value[0], torch.Tensor))
        }
