"""Compute log-probs of G completions of a prompt in one forward pass that computes the prompt once.

The completions of a prompt are laid out as one sequence, [prompt, c1, ..., cG]. A mask hides them from each
other, and a completion's token has the position that it has in [prompt, c]. The model's own code computes the
embeddings and the positions. A hook before its decoder replaces positions and mask, and a hook after it keeps
the hidden states that predict a completion's token. This does not depend on the architecture.

The first batch of a phase is compared with ordinary rows of one completion each. If both differ, or if the
attention does not support such a mask, ordinary rows are used from then on, with a warning.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad

from visplay.training.pictures import Pictures

LONGEST = 6_000  # tokens of a sequence; its mask is quadratic, so a larger group is split
TOGETHER = 700  # tokens of a forward pass up to which shorter sequences are padded and batched
COMPARED = 16  # largest number of rows that are computed in both ways at the start of a phase
_BY_TOKEN = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")
_APART = {torch.float32: 1e-4}  # largest mean distance from ordinary rows, in nats per token
_APART_HALF = 5e-2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The model's inputs for a prompt.

    Attributes:
        inputs: the processor's output as a batch of one, on the CPU.
        picture: an id of its pictures, equal for equal pictures; None without a picture.
    """

    inputs: Mapping[str, Any]
    picture: int | None

    @property
    def ids(self) -> torch.Tensor:
        """[tokens]."""
        ids: torch.Tensor = self.inputs["input_ids"][0]
        return ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Completions that share a sequence: the index of their prompt, and their rows in the batch."""

    prompt: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of the completions' tokens, [rows, tokens]; 0 for padding.

    Attributes:
        logps: log-probs, with gradient.
        entropies: entropies in nats; None if they were not requested.
        aux_loss: the router's auxiliary loss; None without a router.
    """

    logps: torch.Tensor
    entropies: torch.Tensor | None
    aux_loss: torch.Tensor | None


def by_group(prompts: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """The order of rows in which those of a prompt are adjacent, prompts with most tokens first."""
    tokens: dict[int, int] = {}
    for prompt, length in zip(prompts, lengths, strict=True):
        tokens[prompt] = tokens.get(prompt, 0) + length
    return sorted(range(len(prompts)), key=lambda row: (-tokens[prompts[row]], prompts[row], -lengths[row]))


class Groups:
    """Scores the completions of a step's prompts.

    Args:
        model: the base with an adapter.
        pictures: caches the features of its vision tower.
        autocast: returns the context in which the model is called.
        equal_calls: whether each batch is one call of the model, because ranks of a sharded model must call
            it equally often.
    """

    def __init__(
        self, model: Any, pictures: Pictures, *, autocast: Callable[[], AbstractContextManager[Any]],
        equal_calls: bool,
    ) -> None:  # fmt: skip
        self._decoder, self._pictures, self._autocast = model.get_decoder(), pictures, autocast
        self._equal_calls = equal_calls
        self._prompts: Sequence[Encoded] = ()
        self._why_not = _why_not(self._decoder.config)
        self._compared = False
        if self._why_not:
            self._fall_back(self._why_not)

    @property
    def once(self) -> bool:
        """Whether a prompt is computed once for all of its completions."""
        return not self._why_not

    def begin(self, prompts: Sequence[Encoded]) -> None:
        """Start a new step with these prompts."""
        self._prompts = prompts

    def scores(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, prompts: Sequence[int], *,
        most: int | None = None, entropy: bool = False, aux_loss: bool = False,
    ) -> Scores:  # fmt: skip
        """Compute the log-probs of completions.

        Args:
            model: the trained model with its wrappers.
            ids: [rows, tokens] of completions, padded on the right.
            mask: [rows, tokens] 1 for their tokens.
            prompts: [rows] the index of each completion's prompt.
            most: largest number of rows in a call of the model; None for all.
            entropy: whether entropies are returned.
            aux_loss: whether a router's loss is returned, which needs ordinary rows and the whole batch.
        """
        lengths = mask.sum(dim=1).tolist()
        order, most = by_group(prompts, lengths), most or len(prompts)
        blocks = [order[start : start + most] for start in range(0, len(order), most)]
        if self.once and not self._compared and not aux_loss:
            self._compare(model, blocks[0][:COMPARED], ids, lengths, prompts)
        calls: list[list[Group]] = []
        for block in blocks:
            groups = self._groups(block, lengths, prompts, once=self.once and not aux_loss)
            calls += [groups] if self._equal_calls or aux_loss else self._together(groups, lengths)
        found = [self._call(model, groups, ids, lengths, aux_loss=aux_loss) for groups in calls]
        rows, columns = (torch.cat([one[i] for one in found]) for i in (0, 1))

        def placed(values: list[torch.Tensor]) -> torch.Tensor:
            flat = torch.cat(values)
            return flat.new_zeros(ids.shape).index_put((rows, columns), flat)

        return Scores(
            logps=placed([out.log_probs[0] for *_, out in found]),
            entropies=placed([out.entropy[0] for *_, out in found]) if entropy else None,
            aux_loss=torch.stack([out.aux_loss for *_, out in found]).mean() if aux_loss else None,
        )

    def _groups(
        self, block: Sequence[int], lengths: Sequence[int], prompts: Sequence[int], *, once: bool
    ) -> list[Group]:
        """The sequences of some rows; a group that is too long for one sequence is split."""
        found: list[tuple[int, list[int]]] = []
        tokens = 0
        for row in block:
            if not once or not found or found[-1][0] != prompts[row] or tokens + lengths[row] > LONGEST:
                found.append((prompts[row], []))
                tokens = len(self._prompts[prompts[row]].ids)
            found[-1][1].append(row)
            tokens += lengths[row]
        return [Group(prompt=prompt, rows=tuple(rows)) for prompt, rows in found]

    def _together(self, groups: Sequence[Group], lengths: Sequence[int]) -> list[list[Group]]:
        """Batch sequences of similar length into calls of the model."""
        tokens = {
            group: len(self._prompts[group.prompt].ids) + sum(lengths[row] for row in group.rows)
            for group in groups
        }
        calls: list[list[Group]] = []
        for group in sorted(groups, key=lambda one: -tokens[one]):
            if not calls or (len(calls[-1]) + 1) * tokens[calls[-1][0]] > TOGETHER:
                calls.append([])
            calls[-1].append(group)
        return calls

    def _call(
        self, model: Any, groups: Sequence[Group], ids: torch.Tensor, lengths: Sequence[int], *,
        aux_loss: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, Any]:  # fmt: skip
        """One forward pass: rows and columns of the scored tokens, [scored], and TRL's output for them."""
        encoded = [self._prompts[group.prompt] for group in groups]
        layout = Layout.of(
            [one.ids.to(ids.device) for one in encoded],
            [[ids[row, : lengths[row]] for row in group.rows] for group in groups],
        )
        inputs = [
            {n: v.to(ids.device) if isinstance(v, torch.Tensor) else v for n, v in one.inputs.items()}
            for one in encoded
        ]
        seen = [i for i, one in enumerate(encoded) if one.picture is not None]
        self._pictures.expect([encoded[i].picture or 0 for i in seen], [inputs[i] for i in seen])
        more = {"output_router_logits": True} if aux_loss else {}
        with self._autocast(), self._hooked(layout):
            outputs = model(
                **_stacked(inputs, layout), **more, shift_labels=layout.targets[None], fused_lm_head=True
            )
        rows = torch.tensor([row for group in groups for row in group.rows], device=ids.device)
        return rows[layout.completions], layout.columns, outputs

    @contextmanager
    def _hooked(self, layout: "Layout") -> Iterator[None]:
        """Give the decoder the layout, and the LM head the states that predict completions' tokens."""

        def before(_: Any, args: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            own = inputs.get("attention_mask")
            if _windowed(self._decoder.config) and not isinstance(own, dict):
                raise NotImplementedError("sliding windows whose mask the decoder computes itself")
            changed = {"position_ids": layout.positions(inputs.get("position_ids"))}
            changed["attention_mask"] = layout.mask(
                own, additive=_attention(self._decoder.config) == "eager", like=inputs["inputs_embeds"]
            )
            return args, inputs | changed

        def behind(_: Any, __: Any, outputs: Any) -> Any:
            outputs.last_hidden_state = layout.scored(outputs.last_hidden_state)[None]
            return outputs

        hooks = [self._decoder.register_forward_hook(behind)]
        if layout.shared:
            hooks.append(self._decoder.register_forward_pre_hook(before, with_kwargs=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _compare(
        self, model: Any, block: Sequence[int], ids: torch.Tensor, lengths: Sequence[int],
        prompts: Sequence[int],
    ) -> None:  # fmt: skip
        """Check that a group's log-probs equal those of ordinary rows, without dropout, which is random."""
        self._compared, training = True, model.training
        model.eval()
        try:
            with torch.no_grad():
                once, plain = (
                    self._call(model, self._groups(block, lengths, prompts, once=shared), ids, lengths)[2]
                    for shared in (True, False)
                )
            apart = float((once.log_probs - plain.log_probs).abs().mean()) if sum(lengths) else 0.0
            if not apart <= _APART.get(next(self._decoder.parameters()).dtype, _APART_HALF):
                self._fall_back(f"log-probs differ by {apart:.1e} nats")
        except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self._fall_back(str(error).splitlines()[0] if str(error) else type(error).__name__)
        finally:
            model.train(training)

    def _fall_back(self, why: str) -> None:
        self._why_not = why
        _log.warning("Each completion recomputes its prompt, because this model cannot share it: %s", why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """n sequences of at most N tokens, and their positions that predict the M tokens of completions.

    Attributes:
        ids: [n, N] token ids, padded on the right.
        places: [n, N] 1 for tokens, 0 for padding.
        donors: [n, N] the position of a token of c in [prompt, c].
        owners: [n, N] the completion of a token, from 0; -1 for the prompt, -2 for padding.
        firsts: [n] the last position of each prompt, and its number of completions.
        before: [M - sum of these] the position, in n * N, whose hidden state predicts a later token.
        targets: [M] the tokens of completions, the first one of each before all others.
        completions: [M] the completion of a token, counted over all sequences.
        columns: [M] the token's position in the completion.
        shared: whether any prompt has more than one completion.
    """

    ids: torch.Tensor
    places: torch.Tensor
    donors: torch.Tensor
    owners: torch.Tensor
    firsts: list[tuple[int, int]]
    before: torch.Tensor
    targets: torch.Tensor
    completions: torch.Tensor
    columns: torch.Tensor
    shared: bool

    @classmethod
    def of(cls, prompts: Sequence[torch.Tensor], completions: Sequence[Sequence[torch.Tensor]]) -> "Layout":
        """Lay out each prompt [tokens] with its completions [G][tokens]."""
        sequences = [torch.cat([prompt, *group]) for prompt, group in zip(prompts, completions, strict=True)]
        longest = max(map(len, sequences))
        device = sequences[0].device
        line = torch.arange(longest, device=device)
        donors, owners, places, numbers, columns, firsts = [], [], [], [], [], []
        count = 0
        for n, (prompt, group) in enumerate(zip(prompts, completions, strict=True)):
            size, rest = len(prompt), longest - len(sequences[n])
            sizes = torch.tensor([len(one) for one in group], device=device)
            own = torch.repeat_interleave(torch.arange(len(group), device=device), sizes)
            column = torch.cat([line[: len(one)] for one in group])
            donors.append(torch.cat([line[:size], size + column, line[longest - rest :]]))
            owners.append(torch.cat([pad(own, (size, 0), value=-1), own.new_full((rest,), -2)]))
            places.append(n * longest + size + line[: len(own)] - 1)
            firsts.append((size - 1, sum(len(one) > 0 for one in group)))
            numbers.append(count + own)
            columns.append(column)
            count += len(group)
        ids, tokens = (
            torch.stack([pad(one, (0, longest - len(one))) for one in rows])
            for rows in (sequences, [torch.ones_like(one) for one in sequences])
        )
        column = torch.cat(columns)
        order = torch.cat([(column == 0).nonzero()[:, 0], later := column.nonzero()[:, 0]])
        return cls(
            ids=ids, places=tokens, donors=torch.stack(donors), owners=torch.stack(owners), firsts=firsts,
            before=torch.cat(places)[later],
            targets=torch.cat([one for group in completions for one in group])[order],
            completions=torch.cat(numbers)[order], columns=column[order],
            shared=any(len(group) > 1 for group in completions),
        )  # fmt: skip

    def scored(self, hidden: torch.Tensor) -> torch.Tensor:
        """Select the hidden states that predict the targets, [M, width], from all positions [n, N, width].

        No position is indexed twice, because the sum of its gradients would have no fixed order.
        """
        first = [hidden[n, place].expand(many, -1) for n, (place, many) in enumerate(self.firsts)]
        return torch.cat([*first, hidden.flatten(0, 1).index_select(0, self.before)])

    def positions(self, own: torch.Tensor | None) -> torch.Tensor:
        """Rearrange the model's position ids of ordinary rows by donor, [..., n, N]."""
        if own is None:
            return self.donors
        own = own.expand(*own.shape[:-2], *self.donors.shape)
        return own.gather(-1, self.donors.expand_as(own))

    def mask(self, own: Any, *, additive: bool, like: torch.Tensor) -> Any:
        """The attention mask: a token sees what its donor sees, within the prompt and its own completion.

        Args:
            own: the model's mask, [n, N] or [n, heads, N, N]; a dict has one by kind of layer.
            additive: whether attention adds the decoder's mask, instead of reading a boolean one.
            like: a tensor of the type of an additive mask.
        """
        if isinstance(own, dict):
            return {name: self.mask(one, additive=additive, like=like) for name, one in own.items()}
        line = torch.arange(self.ids.shape[1], device=self.ids.device)
        seen, sees = self.owners[:, None, :], self.owners[:, :, None]
        visible = ((line[None, :] <= line[:, None]) & ((seen == -1) | (seen == sees)))[:, None]
        if own is not None and own.dim() == 4:
            own = own.expand(len(self.ids), -1, -1, -1)
            rows = self.donors[:, None, :, None].expand_as(own)
            own = own.gather(2, rows).gather(3, self.donors[:, None, None, :].expand_as(own))
            if own.dtype == torch.bool:
                return own & visible
            return own.masked_fill(~visible, torch.finfo(own.dtype).min)
        if not additive:
            return visible
        return like.new_zeros(visible.shape).masked_fill(~visible, torch.finfo(like.dtype).min)


def _stacked(inputs: Sequence[Mapping[str, Any]], layout: Layout) -> dict[str, Any]:
    """The inputs of several prompts as one batch; inputs by token are 0 for the completions."""
    batch: dict[str, Any] = {}
    width = layout.ids.shape[1]
    for name in dict.fromkeys(name for one in inputs for name in one):
        values = [one[name] for one in inputs if name in one]
        if name in _BY_TOKEN:
            values = [pad(value, (0, width - value.shape[1])) for value in values]
        if not isinstance(values[0], torch.Tensor):
            batch[name] = [one for value in values for one in value]
            continue
        # Pad as processors do if pictures have different numbers of tiles.
        sizes = [max(value.shape[i] for value in values) for i in range(1, values[0].dim())]
        batch[name] = torch.cat([_padded(value, sizes) for value in values])
    return batch | {"input_ids": layout.ids, "attention_mask": layout.places}


def _padded(value: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    missing = [size - own for size, own in zip(sizes, value.shape[1:], strict=True)]
    return pad(value, [n for size in reversed(missing) for n in (0, size)]) if any(missing) else value


def _attention(config: Any) -> str:
    return str(getattr(config, "_attn_implementation", None) or "eager")


def _windowed(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return bool(getattr(config, "sliding_window", None))
    return "sliding_attention" in kinds


def _why_not(config: Any) -> str:
    """Why completions cannot share a sequence in this decoder; empty if they can."""
    if _attention(config) not in ("sdpa", "eager"):
        return f"attn_implementation {_attention(config)} does not support four-dimensional masks"
    others = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    return f"it has layers of {', '.join(sorted(others))}" if others else ""
