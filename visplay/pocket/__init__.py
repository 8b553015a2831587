"""The pocket world: a synthetic laboratory for self-play, with scenes, an oracle and a tiny VLM."""

from pathlib import Path

MODEL = Path(__file__).parent / "model"  # the VLM that the package ships
