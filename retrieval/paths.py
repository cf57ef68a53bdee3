"""Why the graph reached a passage: the entities between the question and it, with the chunks that support each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kernel.records import PathStep
from retrieval.question import Asked
from retrieval.view import View


def path_to(
    view: View,
    asked: Asked,
    place: int,
    before: Sequence[int],
    ids: Mapping[int, str],
    held: Mapping[int, set[int]] | None = None,
) -> tuple[PathStep, ...]:
    """From an entity of the question to the passage at `place`: directly, or through one of the passages ranked before.

    Empty where neither holds: then words or meaning alone brought it up. `ids` are the chunk ids of the places,
    `held` their entities (looked up where it is not given).
    """
    held = held if held is not None else held_by(view, [place, *before])
    mine = held[place]
    wanted = set(asked.entities.nodes.tolist())
    direct = _rarest(view, mine & wanted)
    if direct is not None:
        return (PathStep(entity=view.index.name(direct)), PathStep(relation="named in", chunk_id=ids[place]))
    for other in before:
        theirs = held[other]
        start = _rarest(view, theirs & wanted)
        bridge = _rarest(view, theirs & mine)
        if start is not None and bridge is not None:
            return (
                PathStep(entity=view.index.name(start)),
                PathStep(relation="named with", chunk_id=ids[other]),
                PathStep(entity=view.index.name(bridge)),
                PathStep(relation="named in", chunk_id=ids[place]),
            )
    return ()


def held_by(view: View, places: Sequence[int]) -> dict[int, set[int]]:
    """The entities of each of some passages that may be used."""
    found: dict[int, set[int]] = {place: set() for place in places}
    owner, entity, _, _ = view.links.entities_in(np.array(places, np.int64))
    for row, node in zip(owner.tolist(), entity.tolist(), strict=True):
        found[places[row]].add(node)
    return found


def entities_of(view: View, place: int) -> set[int]:
    """The entities of a passage that may be used."""
    return set(view.links.entities_in(np.array([place]))[1].tolist())


def _rarest(view: View, entities: set[int]) -> int | None:
    """Of some entities the rarest; of equally rare ones the one whose key hashes lowest."""
    return max(
        entities,
        key=lambda entity: (float(view.links.weight[entity]), -int(view.links.entity_key[entity])),
        default=None,
    )
