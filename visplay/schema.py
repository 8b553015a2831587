"""The columns of every parquet file of a run, equal in every iteration and every run; docs/run-folder.md."""

import pyarrow as pa

_TEXT, _NUMBER, _COUNT, _YES = pa.string(), pa.float64(), pa.int32(), pa.bool_()

MANIFEST = pa.schema([("key", _TEXT), ("source", _TEXT), ("width", _COUNT), ("height", _COUNT)])

# One completion of the Questioner; `visplay.loop.asking.Asked`.
ASKED = pa.schema(
    [
        ("image_key", _TEXT),
        ("completion", _TEXT),
        ("tokens", _COUNT),
        ("cut", _YES),
        ("valid", _YES),
        ("failure", _TEXT),
        ("type", _TEXT),
        ("question", _TEXT),
        ("options", pa.list_(_TEXT)),
        ("own_answer", _TEXT),
        ("answers", pa.list_(_TEXT)),
        ("shares", pa.list_(_NUMBER)),
        ("silver_answer", _TEXT),
        ("confidence", _NUMBER),
        ("parsed", _COUNT),
        ("samples", _COUNT),
        ("validity", _NUMBER),
        ("truth", _TEXT),
        ("reject_reason", _TEXT),
    ]
)

# Parts of the reward: built-in parts have columns, null if they are off; custom rewards are in `terms`.
_TERMS = ("reward_terms", pa.map_(_TEXT, _NUMBER))
_ASKING_PARTS = ("validity", "uncertainty", "redundancy")
_ANSWERING_PARTS = ("parsed", "accuracy", "format")

CANDIDATES = pa.schema([*ASKED, pa.field("kept", _YES)])

ROLLOUTS = pa.schema(
    [
        ("step", _COUNT),
        *ASKED,
        ("reward", _NUMBER),
        *((f"reward_{part}", _NUMBER) for part in _ASKING_PARTS),
        _TERMS,
    ]
)

ANSWERS = pa.schema(
    [
        ("step", _COUNT),
        ("image_key", _TEXT),
        ("question", _TEXT),
        ("options", pa.list_(_TEXT)),
        ("completion", _TEXT),
        ("tokens", _COUNT),
        ("cut", _YES),
        ("silver_answer", _TEXT),
        ("reward", _NUMBER),
        *((f"reward_{part}", _NUMBER) for part in _ANSWERING_PARTS),
        _TERMS,
    ]
)

# Stored samples as a table; on disk they are JSON lines, `visplay.evaluation.records`.
SAMPLES = pa.schema(
    [
        ("iteration", _COUNT),
        ("round", _TEXT),
        ("gold", pa.list_(_TEXT)),
        ("benchmark", _TEXT),
        ("item", _TEXT),
        ("sample", _COUNT),
        ("kind", _TEXT),
        ("cluster", _TEXT),
        ("question", _TEXT),
        ("output", _TEXT),
        ("answer", _TEXT),
        ("status", _TEXT),
        ("score", _NUMBER),
        ("correct", _YES),
        ("tokens", _COUNT),
        ("finish", _TEXT),
        ("error", _TEXT),
    ]
)


def paid(total: float, parts: dict[str, float]) -> dict[str, object]:
    """The columns of a reward: the built-in parts by their names, all others in `reward_terms`."""
    known = {name: value for name, value in parts.items() if name in (*_ASKING_PARTS, *_ANSWERING_PARTS)}
    terms = {name: value for name, value in parts.items() if name not in known}
    return {
        "reward": total,
        **{f"reward_{name}": value for name, value in known.items()},
        "reward_terms": terms,
    }
