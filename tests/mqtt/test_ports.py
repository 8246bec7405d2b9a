from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from cardume.mqtt.ports import Login, session_name

_names = st.text(st.sampled_from("a/%2F5"), max_size=6)


@given(_names, _names)
def test_no_two_pairs_share_a_session(user: str, client_id: str) -> None:
    """Both can be told from the name, so the name is injective."""
    escaped, _, rest = session_name(user, client_id).partition("/")
    assert (unquote(escaped), rest) == (user, client_id)


def test_a_password_is_not_shown() -> None:
    assert "hidden" not in repr(Login("c", "u", b"hidden", "127.0.0.1:1"))
