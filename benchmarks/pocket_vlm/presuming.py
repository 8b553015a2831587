"""Questions that presume something which a scene has or has not: what a judge is taught to settle."""

import numpy as np

from visplay.pocket.oracle import (
    FORMS,
    Kind,
    answer_query,
    draw_fields,
    draw_further,
    gives_itself_away,
    parse_query,
)
from visplay.pocket.scenes import Scene

# A question of these kinds asks for something that the picture may not have, or have more than once.
PRESUMING: tuple[Kind, ...] = (
    "color", "shape", "where", "color-at", "shape-at", "difference", "difference-of-sums",
)  # fmt: skip
LONE_SHARE = 0.09  # of scenes, that have one thing, where as many are drawn plain as crowded


def draw_presuming(rng: np.random.Generator, scene: Scene, *, kind: Kind) -> str | None:
    """Draw a question of one of the PRESUMING kinds that this scene settles or not, with equal odds.

    The wording does not tell which: it is drawn first, without its colours, shapes and places. None is
    returned if a few tries do not find both. A wording without free places is settled only by scenes of one
    thing, so other scenes are seldom asked it.
    """
    form = FORMS[kind][rng.integers(len(FORMS[kind]))]
    masks = tuple(int(rng.choice(3, p=[0.4, 0.35, 0.25])) for _ in range(2))
    found: dict[bool, str] = {}
    for _ in range(48):
        place = int(rng.integers(9))
        fields = draw_fields(rng, scene, masks=masks, place=place) | draw_further(rng, scene, form)
        question = form.format(**fields)
        query = parse_query(question)
        if query is None or gives_itself_away(query) or len(set(query.patterns)) < len(query.patterns):
            continue
        found[answer_query(scene, query) is not None] = question[0].upper() + question[1:] + "?"
        if len(found) == 2:
            return found[bool(rng.integers(2))]
        if "{" not in form:
            return found.get(True) or (found[False] if rng.random() < LONE_SHARE else None)
    return None
