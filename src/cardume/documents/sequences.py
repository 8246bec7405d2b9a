"""Numbers that are given once and never again, also after what had them was deleted."""

from __future__ import annotations

from sqlalchemy import insert, update

from cardume.storage.database import Write
from cardume.storage.tables import sequences


async def next_number(tx: Write, name: str) -> int:
    """1, 2, 3… for each `name`; given back if the transaction is not kept."""
    query = (
        update(sequences)
        .where(sequences.c.name == name)
        .values(value=sequences.c.value + 1)
        .returning(sequences.c.value)
    )
    number: int | None = (await tx.execute(query)).scalar()
    if number is not None:
        return number
    await tx.execute(insert(sequences).values(name=name, value=1))
    return 1
