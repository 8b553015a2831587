"""A folder that leaves a run: there whole or not at all, and known again by what it was made of."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visplay.errors import RunError
from visplay.storage import PARTIAL, write_text

NOTE = "visplay.json"  # what the export was made of


def write_export(
    out: Path, made_of: dict[str, Any], write: Callable[[Path], None], *, again: bool = False
) -> Path:
    """Have `write` fill a scratch folder, and rename it to `out` with a note of what it was made of.

    Args:
        out: must not exist, or be empty.
        made_of: what tells this export from any other, as JSON.
        write: is given the scratch folder, new and empty.
        again: leave `out` as it is where it holds this very export.

    Raises:
        RunError: `out` holds something else.
    """
    if out.is_dir() and any(out.iterdir()):
        noted = json.loads((out / NOTE).read_text()) if (out / NOTE).is_file() else None
        if again and noted == made_of:
            return out
        holds = f"holds {_said(noted)}, not {_said(made_of)}" if again and noted else "is not empty"
        raise RunError(f"{out} {holds}; export into a new folder")
    scratch = out.with_name(out.name + PARTIAL)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        write(scratch)
        write_text(scratch / NOTE, json.dumps(made_of, indent=2))
    except BaseException:  # Ctrl-C, too: what is half written is of no use to the next export
        shutil.rmtree(scratch)
        raise
    if out.exists():
        out.rmdir()
    scratch.rename(out)
    return out


def digest(files: Sequence[Path]) -> str:
    """SHA-256 over the contents of files, in their order."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _said(made_of: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in made_of.items() if name != "sha256")
