"""What commands have in common: settings with their options on top, and errors in one line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import wraps
from http.client import HTTPException
from typing import Annotated, Any, ParamSpec, TypeVar
from urllib.error import HTTPError

import typer
from pydantic import ValidationError

from cardume.client.answers import detail_of
from cardume.errors import CardumeError, ConfigurationError
from cardume.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

Database = Annotated[
    str | None,
    typer.Option(help="Database URL.", show_default="sqlite+aiosqlite:///cardume.db"),
]


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Say what is wrong in one line, and exit with 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except CardumeError as error:
            typer.echo(f"cardume: {error}", err=True)
        except ValidationError as error:
            for fault in error.errors(include_input=False, include_url=False):
                name = "_".join(str(part) for part in fault["loc"]).upper()
                typer.echo(f"cardume: CARDUME_{name}: {fault['msg']}", err=True)
        except KeyboardInterrupt:
            typer.echo("cardume: stopped", err=True)
        raise typer.Exit(1)

    return run


def settings_with(**given: Any) -> Settings:
    """Settings with a command's own options on top."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cardume.toml or .env cannot be read: {error}") from None


def said_with(error: HTTPError) -> str:
    """Why a server refused, in its own words; those of the status where it has no others."""
    try:
        detail = detail_of(error.read())
    except (OSError, HTTPException):  # it hung up in the middle
        detail = ""
    return detail or str(error.reason)
