"""What mkdocs cannot do by itself: pages written from the code, and links to files that are no pages."""

import re
from pathlib import Path
from typing import Any

from typer.cli import get_docs_for_click
from typer.main import get_command

ROOT = Path(__file__).parents[2]
_EXAMPLES = re.compile(r"\x08?\n?Examples:\n((?:.+\n?)+)")
_LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)\s]*)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Fill in the pages of commands and changes; a link to a file of the repository becomes its path."""
    name = page.file.src_uri
    if name.startswith("decisions/"):  # not in the menu, so not in the search either
        page.meta["search"] = {"exclude": True}
    if name == "commands.md":
        markdown += commands()
    elif name == "changes.md":
        markdown = (ROOT / "CHANGELOG.md").read_text().replace("](docs/", "](")
    return _LINK.sub(lambda found: _path(found, name), markdown)


def commands() -> str:
    """The help of every command, by group, as Markdown."""
    from visplay.cli.main import GROUPS, app

    root: Any = get_command(app)
    parts = []
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        for name in names:
            command = root
            for word in name.split():
                command = command.commands[word]
            context = command.make_context(f"visplay {name}", [], resilient_parsing=True)
            parts.append(get_docs_for_click(obj=command, ctx=context, indent=2, name=f"visplay {name}"))
    # The examples keep their lines.
    return _EXAMPLES.sub(r"**Examples**\n\n```\n\1\n```\n", "\n".join(parts))


def _path(found: re.Match[str], page: str) -> str:
    path = (ROOT / "docs" / page).parent / found[2].partition("#")[0]
    assert path.exists(), f"{page}: {found[2]} is not there"
    return f"{found[1]} (`{path.resolve().relative_to(ROOT)}`)" if "`" not in found[1] else found[1]
