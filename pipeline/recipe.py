"""What chunks are made with. Chunks of one recipe are comparable; a new recipe makes every document's chunks anew."""

from __future__ import annotations

from kernel.ids import derived_id

PARSER = 1
SPLITTER = 1
EXTRACTOR = 3


def recipe_of(model: str, chunk_tokens: int) -> str:
    """The name of the way that this program, with this model and chunk size, makes chunks."""
    return derived_id(
        "rcp", f"parser {PARSER}", f"splitter {SPLITTER}", f"extractor {EXTRACTOR}", model, str(chunk_tokens)
    )
