"""What names, texts and tags have to look like, and what a publication weighs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cardume.errors import Invalid
from cardume.wire import json
from cardume.wire.messages.values import Publication

_CHANNEL = re.compile(r"[A-Za-z0-9_.\-]{1,64}(:[A-Za-z0-9_.@=,~\-]{1,190})?", re.ASCII)

RESERVED_TYPES = frozenset(
    ("connected", "snapshot", "pong", "subscribed", "unsubscribed", "result", "refreshed", "error")
)
"""What the hub itself says; a publication of such a type would be taken for its word."""

MAX_TEXT = 255
"""Characters of a publication's type, key, source and tags, and of an idempotency key."""

MAX_TAGS = 32
"""Tags of one publication."""

ENVELOPE = 256
"""About what a dialect puts around a publication's data, texts and tags, in bytes."""


def check_channel(name: str) -> str:
    """The name itself, if it is one: ``name`` or ``namespace:name``, ASCII, without wildcards.

    Raises:
        Invalid: it is not.
    """
    if _CHANNEL.fullmatch(name) is None:
        raise Invalid("a channel is `name` or `namespace:name` of A-Z a-z 0-9 _ . - (and @ = , ~)")
    return name


def check_texts(**texts: str | None) -> None:
    """Let through texts that have a form in UTF-8 and at most `MAX_TEXT` characters, and None.

    Raises:
        Invalid: one is something else; the message says which.
    """
    for name, text in texts.items():
        if text is not None and not _is_text(text):
            raise Invalid(f"{name} is text of at most {MAX_TEXT} characters")


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """A copy of `tags`, in the order of their names.

    Raises:
        Invalid: one of them is no text, or there are more than `MAX_TAGS`.
    """
    if len(tags) > MAX_TAGS:
        raise Invalid(f"a publication has at most {MAX_TAGS} tags")
    if not all(_is_text(name) and _is_text(value) for name, value in tags.items()):
        raise Invalid(f"tags are texts of at most {MAX_TEXT} characters by name")
    return dict(sorted(tags.items()))


def weight(publication: Publication) -> int:
    """What a publication takes on its way, in bytes, whatever the dialect; by about `ENVELOPE`.

    Texts count as they are written in JSON: a control character takes six bytes there. The type
    counts twice, for `centrifuge` says it in the data and again among the tags.
    """
    type = publication.type
    texts = (type, type, publication.source, publication.key, publication.tags)
    return len(publication.data) + len(json.encode(texts)) + ENVELOPE


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return False
    # A lone surrogate: it would blow up in every encoder behind us.
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def namespace_of(channel: str) -> str:
    """The part before the colon; a name without a colon is its own namespace."""
    return channel.partition(":")[0]
