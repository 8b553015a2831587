"""Pages and sources are written in plain standard English: none of these words and inversions."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

SOURCES = sorted(
    path
    for folder in ("visplay", "rollouts", "rewards")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".html", ".jinja", ".js"} or path.parent.name == "cards"
)
LEAST = 30  # characters of a string that may be a sentence

PATTERNS = {
    "mend (say fix)": r"\bmend(?:s|ed|ing)?\b",
    "by lot (say random)": r"\bby lot\b",
    "of which, of whom": r"\bof (?:which|whom)\b",
    "the like": r"\bthe like\b",
    "so many, so large a": r"\bso (?:many|large a|long a)\b",
    "goes on (say continues)": r"\b(?:goes|go|went|going|gone) on\b",
    "lies (say is)": r"\b(?:lies|lie|lay)\b",
    "stands in (say is in)": r"\bst(?:ands?|ood) (?:in|on|where|there|beside|below)\b",
    "anew (say again)": r"\banew\b",
    "with theirs": r"\bwith theirs\b",
    "of one's own (say custom)": r"\bof one's own\b|\bone's own\b",
    "a sentence that begins with Of": r"(?:^|[.!?] |\| )Of (?!course)",
    "for as because": r", for (?:it|they|that|there|whoever|transformers|vLLM|a|the \w+ (?:is|are|has))\b",
    "what is told": r"\bis told\b|\bare told\b",
    "wherein, thereof": r"\b(?:wherein|thereof|therein|whereof|hereby)\b",
    "but for (say except)": r"\bbut for\b",
    "is there (say exists)": r"\b(?:that|which|what) (?:is|are) there\b",
    "no more than one word of ours": r"\bat a card\b|\bhang on\b",
    "it is that": r"\bso that who\b|\bwho does not\b",
}  # fmt: skip


def prose(text: str) -> str:
    """The text without code, in one line."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.DOTALL | re.MULTILINE)
    return " ".join(re.sub(r"`[^`\n]*`", "", text).split())


@pytest.mark.parametrize("name", PATTERNS)
def test_no_page_has(name: str) -> None:
    found = [
        f"{page.name}: ...{text[max(0, hit.start() - 40) : hit.end() + 40]}..."
        for page in PAGES
        for text in [prose(page.read_text(encoding="utf-8"))]
        for hit in re.finditer(PATTERNS[name], text)
    ]
    assert found == []


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """What people read in a source, by line: docstrings, comments and sentences, but no prompts of models."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), start=1)
        return
    tree = ast.parse(source)
    prompts = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any("PROMPT" in ast.unparse(target) for target in node.targets)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(p.value if isinstance(p, ast.Constant) else "`x`" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (
                [(node.lineno, node.value)] if len(node.value) > LEAST and id(node) not in prompts else []
            )
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


@cache
def sentences() -> list[tuple[Path, int, str]]:
    return [(path, line, prose(text)) for path in SOURCES for line, text in texts(path)]


@pytest.mark.parametrize("name", PATTERNS)
def test_no_source_has(name: str) -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: ...{text[max(0, hit.start() - 40) : hit.end() + 40]}..."
        for path, line, text in sentences()
        for hit in re.finditer(PATTERNS[name], text)
    ]
    assert found == []


def test_what_is_read_in_a_source(tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    a, b, c = ("a" * 31, "b" * 31, "c" * 31)
    source.write_text(f'"""{a}"""\nPROMPT = "{b}"\nx = f"{c}{{1}}"  # so\n')
    assert sorted(texts(source)) == [(1, a), (3, c), (3, c + "`x`"), (3, "so")]
    assert len(SOURCES) > 100


def test_the_patterns_find_what_they_are_for() -> None:
    """Sentences that pages have had."""
    old = prose(
        "What was mended goes on. Rewards drawn by lot, of which the like lies in so many runs. Of parquet "
        "the row group is read, for it is anew with theirs; a reward of one's own stands in it, but for what "
        "is told."
    )
    missed = [name for name in list(PATTERNS)[:14] if not re.search(PATTERNS[name], old)]
    assert missed == [] and "x" not in prose("a `x` b\n```\nx\n```\n")
