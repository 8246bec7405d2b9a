"""A proposal: how it is made and voted on, how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import Row
from typing_extensions import TypedDict

from cardume.apps.agents.values import JsonValue, Seconds
from cardume.documents.ids import NumberedIds
from cardume.transports.bodies import Body, Name, Number
from cardume.wire.messages import rfc3339, stamp

_IDS: Final = NumberedIds("proposal")
proposal_id: Final = _IDS.of
proposal_number: Final = _IDS.number


class NewProposal(Body):
    """Approved by *more* than `quorum` of the agents active now: 0.5 is a simple majority.

    More than all of them is nobody's to reach, so it is below 1; 0.999 asks for unanimity.
    """

    topic: Name
    value: JsonValue = None
    quorum: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    deadline_seconds: Seconds = 60.0


class NewVote(Body):
    agent_id: str = Field(min_length=1, max_length=100)
    approve: Annotated[bool, Field(strict=True)]


class VoteView(TypedDict):
    agent_id: str
    approve: bool


class ProposalView(TypedDict):
    """`decision` is null, ``approved`` or ``rejected``; `approval_rate` = approvals / voters."""

    proposal_id: str
    topic: str
    value: Any
    quorum: float
    voters: list[str]
    votes: list[VoteView]
    approvals: int
    rejections: int
    decision: str | None
    approval_rate: float
    proposed_by: str
    created_at: str
    deadline: str
    decided_at: str | None


def proposal_view(row: Row[Any], voters: Sequence[Row[Any]]) -> ProposalView:
    """`voters` are the proposal's rows of `votes`: those that have voted come in that order."""
    votes = [voter for voter in voters if voter.approve is not None]
    approvals = sum(vote.approve for vote in votes)
    return {
        "proposal_id": proposal_id(row.number),
        "topic": row.topic,
        "value": row.value,
        "quorum": row.quorum,
        "voters": sorted(voter.agent_id for voter in voters),
        "votes": [{"agent_id": vote.agent_id, "approve": vote.approve} for vote in votes],
        "approvals": approvals,
        "rejections": len(votes) - approvals,
        "decision": row.decision,
        "approval_rate": rate(approvals, len(voters)),
        "proposed_by": row.proposed_by,
        "created_at": rfc3339(row.created_at),
        "deadline": rfc3339(row.deadline),
        "decided_at": stamp(row.decided_at),
    }


def rate(approvals: int, voters: int) -> float:
    """The share of all voters that approved; of nobody, nobody."""
    return approvals / voters if voters else 0.0
