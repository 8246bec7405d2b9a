"""Who may do what: any user reads, admins and services write, an agent speaks for itself."""

from __future__ import annotations

from cardume.auth.identity import Identity, IdentityKind
from cardume.errors import Refused
from cardume.wire import codes


def is_agent(identity: Identity, agent_id: str | None) -> bool:
    """Whether a token was given to this very agent: its `kind` is agent and its `sub` the id."""
    return identity.kind is IdentityKind.AGENT and identity.sub == agent_id


def check_writer(identity: Identity, agent_id: str | None = None) -> None:
    """Let admins and services pass, and the agent itself where it is about `agent_id`.

    Raises:
        Refused: 403.
    """
    if not (identity.is_admin or identity.is_service or is_agent(identity, agent_id)):
        whose = "" if agent_id is None else f", or {agent_id} itself"
        raise Refused(codes.PERMISSION_DENIED, f"an admin or a service does this{whose}")


def check_speaks_for(identity: Identity, agent_id: str, created_by: str) -> None:
    """Let the agent itself, its creator and admins pass: heartbeats and votes are nobody else's.

    Raises:
        Refused: 403.
    """
    is_creator = identity.sub == created_by and identity.kind is not IdentityKind.AGENT
    if not (identity.is_admin or is_creator or is_agent(identity, agent_id)):
        raise Refused(
            codes.PERMISSION_DENIED, f"only {agent_id}, its creator or an admin speaks for it"
        )
