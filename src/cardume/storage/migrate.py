"""Bringing the schema to the newest revision, from inside the process."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from cardume.errors import ConfigurationError

_SCRIPTS = str(Path(__file__).parent / "migrations")


def config(connection: Connection) -> Config:
    """Alembic's configuration for an open connection; there is no ini file to find."""
    settings = Config()
    settings.set_main_option("script_location", _SCRIPTS)
    settings.attributes["connection"] = connection
    return settings


def upgrade(connection: Connection) -> None:
    """Run what is missing, inside the caller's transaction.

    Raises:
        ConfigurationError: the database is of a Cardume that we do not know.
    """
    try:
        command.upgrade(config(connection), "head")
    except CommandError as error:
        raise ConfigurationError(
            "the database was made by a newer Cardume: upgrade this one, or name another with "
            "CARDUME_DATABASE_URL"
        ) from error


def revisions() -> list[str]:
    """Every revision that we know, the newest first."""
    settings = Config()
    settings.set_main_option("script_location", _SCRIPTS)
    return [script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()]
