"""`cardume db`: the schema of the database, which `serve` brings up to date by itself."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cardume.errors import ConfigurationError
from cardume.server.console import Database, one_line_errors, settings_with

app = typer.Typer(
    help="The database's schema. `serve` upgrades it by itself.", no_args_is_help=True
)


@app.command()
@one_line_errors
def current(database: Database = None) -> None:
    """Print the revision of the schema, and whether it is the newest."""
    from cardume.storage import migrate
    from cardume.storage.urls import backend_for

    backend = backend_for(settings_with(database_url=database).database_url)
    held, empty = asyncio.run(migrate.state(backend))
    newest = migrate.revisions()[0]
    if held is None:
        said = "nothing yet" if empty else "none; it is the database of something else"
        typer.echo(f"{said} (the newest is {newest})")
    elif held == newest:
        typer.echo(f"{held} (the newest)")
    else:
        typer.echo(f"{held} (the newest is {newest})")


@app.command()
@one_line_errors
def upgrade(database: Database = None) -> None:
    """Bring the schema to the newest revision, with what is in it."""
    from cardume.storage import migrate
    from cardume.storage.urls import backend_for

    backend = backend_for(settings_with(database_url=database).database_url)

    async def work() -> str | None:
        async with migrate.alone(backend) as connection:
            await connection.run_sync(migrate.upgrade)
            return await connection.run_sync(migrate.current)

    typer.echo(f"the schema is at {asyncio.run(work())}")


@app.command()
@one_line_errors
def downgrade(
    to: Annotated[
        str,
        typer.Argument(
            metavar="REVISION", help="The revision to go back to; base is before the first."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do it, and lose what is lost by it.")] = False,
    database: Database = None,
) -> None:
    """Go back to an older schema, for an older Cardume. Without --yes: only say what is lost."""
    from cardume.storage import migrate
    from cardume.storage.urls import backend_for

    backend = backend_for(settings_with(database_url=database).database_url)

    async def work() -> list[str]:
        async with migrate.alone(backend) as connection:
            lost = await connection.run_sync(migrate.downgrade, to)
            if not yes:
                await connection.rollback()
            return lost

    lost = asyncio.run(work())
    verb = "lost" if yes else "would lose"
    for line in lost or ["nothing"]:
        typer.echo(f"{verb}: {line}")
    if not yes:
        raise ConfigurationError("nothing was changed; to do it, back up and add --yes")
    typer.echo(f"the schema is at {to}; this Cardume would upgrade it again: start the older one")
