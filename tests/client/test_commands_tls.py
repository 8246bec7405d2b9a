"""`cardume publish` and `cardume exec` at an https address, with a CA that nobody else knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cardume.runner.client import Client
from cardume.runner.execution import Execution
from cardume.server.cli import app
from cardume.settings import misspelt
from tests.client.authority import Authority
from tests.client.faulty import Faulty, Reply, faulty
from tests.support.backend import API_KEY

ANNOUNCED = {"execution_id": "x1", "url": "/executions/x1", "runner_key": "k"}


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARDUME_API_KEY", API_KEY)
    return Authority(tmp_path)


def cardume(server: Faulty, command: str, *more: str) -> tuple[int, str]:
    words = {"publish": ["room:1", "1"], "exec": ["--", "true"]}[command]
    result = CliRunner().invoke(app, [command, "--url", server.url, *more, *words])
    return result.exit_code, result.output


def test_publish_takes_the_ca_as_an_option_or_from_the_environment(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty(pem=authority.server()) as server:
        assert cardume(server, "publish", "--ca", str(authority.ca)) == (0, "e:1\n")
        monkeypatch.setenv("CARDUME_CA", str(authority.ca))
        assert cardume(server, "publish") == (0, "e:1\n")
    assert misspelt(["CARDUME_CA"]) == []


def test_a_ca_is_no_matter_where_no_certificate_is_shown(authority: Authority) -> None:
    with faulty() as server:
        assert cardume(server, "publish", "--ca", str(authority.ca))[0] == 0


def test_exec_trusts_whom_the_ca_signed_for(authority: Authority) -> None:
    body = json.dumps(ANNOUNCED).encode()
    with faulty(Reply(201, body), pem=authority.server()) as server:
        client = Client(server.url, "t", ca=str(authority.ca))
        assert Execution.create(client, "n", "c", None).id == "x1"
        client.close()
    assert server.paths == ["/api/v1/executions"]


@pytest.mark.parametrize("command", ["publish", "exec"])
def test_a_certificate_that_nobody_vouches_for_is_named_and_no_absent_server(
    authority: Authority, command: str
) -> None:
    with faulty(pem=authority.server()) as server:
        code, said = cardume(server, command)
        said = " ".join(said.split())
        assert code == 1
        assert server.url in said
        assert "is not to be trusted" in said
        assert "--ca ca.pem or CARDUME_CA" in said
        assert "no server" not in said
        code, said = cardume(server, command, "--ca", "nowhere.pem")
        assert (code, "no certificates of a CA" in said) == (1, True)
    assert server.asked == []


@pytest.mark.parametrize("command", ["publish", "exec"])
def test_a_server_without_tls_is_called_that(authority: Authority, command: str) -> None:
    with faulty() as server:
        server.scheme = "https"
        code, said = cardume(server, command)
        assert (code, "does not speak TLS" in " ".join(said.split())) == (1, True), said
