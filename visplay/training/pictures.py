"""Compute the features of each picture of a step once.

A picture is part of several prompts, and both the reference and the policy see it. Every VLM of
transformers calls its `get_image_features`. `Pictures` replaces this method during training and returns
stored features of known pictures.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers.utils.generic import ModelOutput

_LOOKED_AT = ("pooler_output", "deepstack_features")  # outputs that the language model uses
_APART = {torch.float32: 1e-3}  # largest relative difference of features computed in different batches
_APART_HALF = 2e-2


class Pictures:
    """Replaces a model's `get_image_features` inside a `with` block.

    It does nothing if the tower or the projector has an adapter layer, active or not. The first batch of
    stored features is compared with the model's output for the same batch. If they differ (dropout, another
    shape, a gradient), the model is called every time from then on.

    Args:
        model: the base with an adapter.
        whole: whether this process has all weights; a model sharded by FSDP cannot be called separately.
    """

    def __init__(self, model: Any, *, whole: bool = True) -> None:
        owner = _owner(model)
        self._owner = owner if whole and not _learns_to_see(owner) else None
        self._known: dict[int, Any] = {}
        self._keys: Sequence[int] = ()  # of the prompts in the next call of the model
        self._inputs: Sequence[dict[str, torch.Tensor]] = ()
        self._compared = False
        self.computed = 0  # number of computed pictures, or sets of them

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
        """Start a new step with other pictures."""
        self._known, self._keys, self._inputs = {}, (), ()

    def expect(self, keys: Sequence[int], inputs: Sequence[dict[str, torch.Tensor]]) -> None:
        """Set the pictures of the next call of the model.

        Args:
            keys: [prompts] ids of the pictures, equal for equal pictures.
            inputs: [prompts] the processor's outputs by name, on the model's device.
        """
        self._keys, self._inputs = keys, inputs

    def _features(self, *args: Any, **kwargs: Any) -> Any:
        keys, self._keys = self._keys, ()
        asked = _by_name(self._ask, args, kwargs)
        tensors = {name for name, value in asked.items() if isinstance(value, torch.Tensor)}
        if not keys or not tensors <= self._inputs[0].keys():
            return self._ask(*args, **kwargs)
        for key, inputs in zip(keys, self._inputs, strict=True):
            if key not in self._known:
                own = {name: value for name, value in inputs.items() if name in tensors}
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


def _owner(model: Any) -> Any:
    """The innermost module with `get_image_features`, to which the outer modules delegate."""
    found = [module for module in model.modules() if hasattr(type(module), "get_image_features")]
    return found[-1] if found else None


def _learns_to_see(owner: Any) -> bool:
    """Whether an adapter layer is outside the decoder, that is, in the tower or the projector."""
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
    """Combine the features of several rows as one call returns them; None if that is not possible."""
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(outputs)) if len({output.shape[1:] for output in outputs}) == 1 else None
    if isinstance(first, list | tuple):  # one per picture
        return type(first)(one for output in outputs for one in output)
    if not isinstance(first, ModelOutput):
        return None
    fields: dict[str, Any] = {}
    for name in first:
        values = [output[name] for output in outputs]
        if isinstance(values[0], torch.Tensor) or name == "pooler_output":
            fields[name] = _together(values)
        elif name == "deepstack_features":  # one per layer
            fields[name] = type(values[0])(_together(layer) for layer in zip(*values, strict=True))
    return type(first)(**fields)


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether two outputs are equal enough to replace each other."""
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
    """The tensors that the language model uses, in order."""
    if isinstance(features, torch.Tensor):
        return [features]
    if isinstance(features, list | tuple):
        return [tensor for one in features for tensor in _seen(one)]
    if isinstance(features, ModelOutput):
        return [tensor for name in _LOOKED_AT for tensor in _seen(features.get(name))]
    return []
