"""The fenced blocks of every page, by language."""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "results").glob("*.md")),
]
_FENCE = re.compile(
    r"^(?: *<!-- not run: (?P<why>[^>]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Its page, its language ("" for commands, text for what is printed or drawn), its text, and why it cannot
    be run, from the comment `<!-- not run: WHY -->` before it.
    """

    page: str
    language: str
    text: str
    not_run: str = ""

    def __str__(self) -> str:
        return f"{self.page}: {self.text.strip().splitlines()[0][:50]}" if self.text.strip() else self.page


BLOCKS = [
    Block(page=page.name, language=found["language"], not_run=found["why"] or "", text=dedent(found["text"]))
    for page in PAGES
    for found in _FENCE.finditer(page.read_text())
]
