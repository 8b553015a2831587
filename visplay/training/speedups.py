"""A forward pass that computes nothing twice: no padding, and each picture of a step once.

TRL pads a batch to its longest completion and computes the padding too. The log-probs of a row depend neither
on the rows beside it nor on the columns to its right, so sorting and cropping change rounding only.

A picture is part of G prompts, and TRL shows each of them to the reference and to the policy: 2 G passes of
the vision tower for one picture. Every VLM of transformers calls its own `get_image_features`; `Pictures`
replaces it during training and returns the features of known pictures again.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.nn.functional import pad
from transformers.utils.generic import ModelOutput
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

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


_LOOKED_AT = ("pooler_output", "deepstack_features")  # by the language model
_APART = {torch.float32: 1e-3}  # of their norm, at most, where features were computed in other company
_APART_HALF = 2e-2


class Pictures:
    """Replaces a model's `get_image_features` inside a `with` block.

    It does nothing where an adapter layer lies in the tower or the projector, whichever adapter is active.
    The first batch of stored features is compared with what the model returns for the same batch. Where they
    differ (dropout, another shape, a gradient), the model is called every time from then on.

    Args:
        model: the bare base with an adapter in it.
        whole: whether this process has all of its weights; pieces of FSDP can't be asked for out of turn.
    """

    def __init__(self, model: Any, *, whole: bool = True) -> None:
        owner = _owner(model)
        self._owner = owner if whole and not _learns_to_see(owner) else None
        self._known: dict[int, Any] = {}
        self._keys: Sequence[int] = ()  # of the rows that the model is about to see
        self._inputs: Callable[[int], dict[str, torch.Tensor]] = lambda _: {}
        self._compared = False
        self.computed = 0  # pictures, or sets of them, since the beginning

    def __enter__(self) -> "Pictures":
        if self._owner is not None:
            self._ask = self._owner.get_image_features
            vars(self._owner)["get_image_features"] = self._features
        return self

    def __exit__(self, *_: Any) -> None:
        self.forget()
        if self._owner is not None:
            vars(self._owner).pop("get_image_features", None)

    def forget(self) -> None:
        """A new step begins, with other pictures."""
        self._known, self._keys = {}, ()

    def expect(self, keys: Sequence[int], inputs: Callable[[int], dict[str, torch.Tensor]]) -> None:
        """Say whose pictures the model is about to see.

        Args:
            keys: [rows] which pictures, the same number for the same ones; none where that is not known.
            inputs: gives what the processor made of those of one row, by name.
        """
        self._keys, self._inputs = keys, inputs

    def _features(self, *args: Any, **kwargs: Any) -> Any:
        keys, self._keys = self._keys, ()
        asked = _by_name(self._ask, args, kwargs)
        tensors = {name for name, value in asked.items() if isinstance(value, torch.Tensor)}
        if not keys or not tensors <= self._inputs(0).keys():
            return self._ask(*args, **kwargs)
        for row, key in enumerate(keys):
            if key not in self._known:
                own = {name: value for name, value in self._inputs(row).items() if name in tensors}
                with torch.no_grad():
                    self._known[key] = self._ask(**asked | own)
                self.computed += 1
        together = _together([self._known[key] for key in keys])
        if not self._compared:
            self._compared = True
            with torch.enable_grad():
                asked_anew = self._ask(*args, **kwargs)
            if not _alike(together, asked_anew):
                self.__exit__()
                self._owner = None
                return asked_anew
        return together


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


def _owner(model: Any) -> Any:
    """The innermost module that has `get_image_features`: what others of that name hand on to."""
    found = [module for module in model.modules() if hasattr(type(module), "get_image_features")]
    return found[-1] if found else None


def _learns_to_see(owner: Any) -> bool:
    """Whether an adapter layer stands outside the decoder, that is in the tower or the projector."""
    if owner is None:
        return False
    decoder = {id(module) for module in owner.get_decoder().modules()}
    return any(isinstance(m, BaseTunerLayer) and id(m) not in decoder for m in owner.modules())


def _by_name(ask: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(ask)
    named = dict(signature.bind(*args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(name, {})
    return named


def _together(outputs: Sequence[Any]) -> Any:
    """The features of several rows as one call gives them; None where that can't be said."""
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(outputs)) if len({output.shape[1:] for output in outputs}) == 1 else None
    if isinstance(first, list | tuple):  # one for each picture
        return type(first)(one for output in outputs for one in output)
    if not isinstance(first, ModelOutput):
        return None
    fields: dict[str, Any] = {}
    for name in first:
        values = [output[name] for output in outputs]
        if isinstance(values[0], torch.Tensor) or name == "pooler_output":
            fields[name] = _together(values)
        elif name == "deepstack_features":  # of each layer
            fields[name] = type(values[0])(_together(layer) for layer in zip(*values, strict=True))
    return type(first)(**fields)


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether the language model may be shown one for the other."""
    mine, other = _seen(ours), _seen(theirs)
    if not other or any(tensor.requires_grad for tensor in other):
        return False
    if [one.shape for one in mine] != [one.shape for one in other]:
        return False
    return all(
        float((a.float() - b.float()).norm()) <= _APART.get(b.dtype, _APART_HALF) * float(b.float().norm())
        for a, b in zip(mine, other, strict=True)
    )


def _seen(features: Any) -> list[torch.Tensor]:
    """The tensors that the language model looks at, in order."""
    if isinstance(features, torch.Tensor):
        return [features]
    if isinstance(features, list | tuple):
        return [tensor for one in features for tensor in _seen(one)]
    if isinstance(features, ModelOutput):
        return [tensor for name in _LOOKED_AT for tensor in _seen(features.get(name))]
    return []
