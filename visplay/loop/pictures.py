"""What a frozen vision tower makes of a step's pictures, computed once each.

A picture stands in G completions, and TRL shows each to the reference and to the policy: 2 G times the
tower's work for one picture. Every VLM of transformers asks its own `get_image_features`; while a trainer
is at work another stands before it, which gives the features of known pictures again.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers.utils.generic import ModelOutput

_LOOKED_AT = ("pooler_output", "deepstack_features")  # by the language model
_APART = {torch.float32: 1e-3}  # of their norm, at most, where features were computed in other company
_APART_HALF = 2e-2


class Pictures:
    """Stands before a model's `get_image_features`, from `with` to its end.

    The first features that are put together are compared with what the model gives for the same batch. Where
    that is something else, as with dropout, or another shape, or something that gradients go through, as
    with an adapter on the tower, the model is asked each time from then on as if this were not here.

    Args:
        model: the bare base with an adapter in it.
        whole: whether this process has all of its weights; pieces of FSDP can't be asked for out of turn.
    """

    def __init__(self, model: Any, *, whole: bool = True) -> None:
        self._owner = _owner(model) if whole else None
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


def _owner(model: Any) -> Any:
    """The innermost module that has `get_image_features`: what others of that name hand on to."""
    found = [module for module in model.modules() if hasattr(type(module), "get_image_features")]
    return found[-1] if found else None


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
