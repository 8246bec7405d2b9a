"""One execution at the server: what the runner tells it, and what the answers mean."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from cardume.errors import CardumeError, ConfigurationError, Unavailable
from cardume.runner.client import Answer, Client, Untrusted, is_credential, printable
from cardume.wire import json

MAX_NAME = 200
MAX_COMMAND = 4_000


class Ended(Exception):  # noqa: N818 - a state, and no malfunction
    """The execution is over at the server, whoever ended it."""

    def __init__(self, status: str, reason: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.reason = reason


class Execution:
    """Calls raise `Unavailable` while the server is away, and `CardumeError` when it will not."""

    def __init__(self, client: Client, id: str, url: str, key: str) -> None:
        self._client = client
        self._path = f"/executions/{quote(id, safe='')}"
        self.id = id
        self.url = url
        """Where to watch it."""
        self.key = key
        """Reports about it in place of the token. Neither print it nor hand it on."""

    @classmethod
    def create(cls, client: Client, name: str, command: str, card_id: str | None) -> Execution:
        """Announce it.

        Raises:
            ConfigurationError: no server, or one that does not let us; the message says what to do.
        """
        asked = {"name": _name(name), "command": _text(command)[:MAX_COMMAND]}
        if card_id is not None:
            asked["card_id"] = _text(card_id)
        try:
            answer = client.post("/executions", json.encode(asked))
        except Untrusted as error:
            raise ConfigurationError(f"{client.url}: {error}; the command was not run") from None
        except Unavailable as error:
            raise ConfigurationError(
                f"no server at {client.url} ({error}); the command was not run: start "
                "`cardume serve`, or name it with --url or CARDUME_URL"
            ) from None
        if not answer.ok:
            raise ConfigurationError(f"{_refusal_at_the_start(answer)}; the command was not run")
        id, url, key = (answer.body.get(name) for name in ("execution_id", "url", "runner_key"))
        if not (isinstance(id, str) and isinstance(url, str) and isinstance(key, str)):
            raise ConfigurationError(f"what answers at {client.url} is not Cardume")
        if not is_credential(key):
            raise ConfigurationError(f"what answers at {client.url} is not Cardume")
        return cls(client, id, client.resolve(url), key)

    def log(self, body: bytes) -> int | None:
        """Send lines, or none to renew the lease. Answers the `seq` wanted instead, if any.

        Raises:
            Ended: it takes no more lines.
        """
        answer = self._client.post(f"{self._path}/log", body)
        expected = answer.body.get("expected")
        if answer.status == 409 and isinstance(expected, int) and expected > 0:
            return expected
        self._judge(answer)
        return None

    def end(self, exit_code: int, message: str | None) -> None:
        """Report how the command ended: ``completed`` for 0, ``failed`` for the rest.

        Raises:
            Ended: it had ended already.
        """
        verb = "complete" if exit_code == 0 else "fail"
        said: dict[str, Any] = {"exit_code": exit_code}
        if message is not None:
            said["message"] = message[:MAX_NAME]
        try:
            self._judge(self._client.post(f"{self._path}/{verb}", json.encode(said)))
        except Ended as ended:
            # Our own report, whose answer was lost.
            if ended.status != ("completed" if exit_code == 0 else "failed"):
                raise
            if ended.reason == "lost":
                raise

    def _judge(self, answer: Answer) -> None:
        if answer.ok:
            if answer.body.get("status") == "cancelled":
                raise Ended("cancelled")
            return
        if answer.status == 409:
            self._raise_if_ended(answer.body)
        raise CardumeError(refusal(answer))

    def _raise_if_ended(self, conflict: dict[str, Any]) -> None:
        status, reason = conflict.get("state"), conflict.get("reason")
        if not isinstance(status, str):
            now = self._client.get(self._path)
            status, reason = now.body.get("status"), now.body.get("reason")
        if isinstance(status, str) and status != "running":
            raise Ended(printable(status), reason if isinstance(reason, str) else None)


def lacks_card(client: Client, card_id: str) -> bool:
    """Whether the server has a board and not this card on it; asked with the token."""
    path = f"/cards/{quote(_text(card_id), safe='')}"
    try:
        # 404 is also what a server without the cards app says; that one has no board either.
        return client.get(path).status == 404 and client.get("/board").ok
    except Unavailable:
        return False


def refusal(answer: Answer) -> str:
    """Why the server takes no more."""
    match answer.status:
        case 401:
            return "the server no longer knows this execution and its key"
        case 404:
            return f"not found at the server: {answer.detail}"
        case 300 | 301 | 302 | 303 | 307 | 308:
            return "the server lives at another address: name that with --url"
    return f"the server refused: {answer.detail}"


def _refusal_at_the_start(answer: Answer) -> str:
    """Why the server will not, and what to do."""
    match answer.status:
        case 401 if _is_expired(answer):
            return "your token has expired: make a new one with `cardume token --user NAME`"
        case 401:
            return "the server does not know this token: set CARDUME_TOKEN (see `cardume token`)"
        case 403:
            return f"this token may not do that: {answer.detail}"
        case 404 | 405:
            return (
                "this server runs no executions; start it with --apps …,executions, "
                "or name another with --url"
            )
    return refusal(answer)


def _is_expired(answer: Answer) -> bool:
    return answer.body.get("code") == "token_expired" or answer.detail.endswith("expired")


def _text(text: str) -> str:
    """What JSON can carry of an argument, which may be any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _name(text: str) -> str:
    return printable(_text(text))[:MAX_NAME].strip() or "command"
