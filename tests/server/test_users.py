"""Users by HTTP: what `cardume user add` asks for beside a running server."""

from __future__ import annotations

from tests.support.server import Server


def test_users_are_added_by_an_admin_alone(live: Server) -> None:
    body = {"password": "correct horse"}
    assert live.call("PUT", "/users/rui", body).status_code == 403
    assert live.call("PUT", "/users/rui", {"password": "short"}, role="admin").status_code == 422
    assert live.call("PUT", "/users/b%0Aa", body, role="admin").status_code == 422
    made = live.ok("PUT", "/users/rui", {**body, "admin": True}, role="admin")
    assert made == {"name": "rui", "role": "admin"}
    form = {"username": "rui", "password": "correct horse"}
    assert live.client.post("/api/v1/auth/token", data=form).status_code == 200
