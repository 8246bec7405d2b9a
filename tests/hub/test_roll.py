"""The roll of a channel, against a list of who is there and an account of what was announced."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cardume.hub.roll import Roll
from cardume.wire.messages import Member

USERS = st.sampled_from(["anna", "berta", ""])


class Rolls(RuleBasedStateMachine):
    """Connections that come, unsubscribe, are lost, and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.roll = Roll()
        self.made = 0
        self.users: dict[str, str] = {}
        """Connections that are open, on the channel or not."""
        self.here: dict[str, str] = {}
        """Connection on the channel, and its name there."""
        self.absent: dict[str, tuple[str, str | None]] = {}
        """Name, and its user and the connection that alone may come back to it, whatever name
        it came first with; None where that one was lost."""
        self.announced: set[str] = set()

    @rule(user=USERS)
    def connect(self, user: str) -> None:
        self.made += 1
        self.users[f"c{self.made}"] = user

    @precondition(lambda self: self.users.keys() - self.here.keys())
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.users.keys() - self.here.keys())))
        user = self.users[id]
        member, is_new = self.roll.arrive(Member(id, user))
        name = member.connection_id
        mine = [n for n, (_, only) in self.absent.items() if only == id]
        lost = [n for n, (u, only) in self.absent.items() if only is None and u == user and user]
        assert is_new is not bool(mine or lost)
        assert name in (mine or lost or [id])
        if is_new:
            assert name not in self.announced, "announced twice"
            self.announced.add(name)
        self.absent.pop(name, None)
        self.here[id] = name
        assert member.user == user

    @precondition(lambda self: self.here)
    @rule(data=st.data(), lost=st.booleans())
    def depart(self, data: st.DataObject, lost: bool) -> None:
        id = data.draw(st.sampled_from(sorted(self.here)))
        name, user = self.here.pop(id), self.users[id]
        assert self.roll.depart(name, lost=lost)
        self.absent[name] = (user, None if lost else id)
        if lost:
            del self.users[id]

    @precondition(lambda self: self.users.keys() - self.here.keys())
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.users.keys() - self.here.keys())))
        self.roll.lose(id)
        del self.users[id]
        for name, (user, only) in self.absent.items():
            if only == id:
                self.absent[name] = (user, None)

    @precondition(lambda self: self.absent)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.absent)))
        user, _ = self.absent.pop(name)
        member = self.roll.forget(name)
        assert member is not None
        assert (member.connection_id, member.user) == (name, user)
        self.announced.remove(name)

    @rule()
    def nobody_else_is_forgotten(self) -> None:
        for name in [*self.here.values(), "nobody"]:
            assert self.roll.forget(name) is None
        for id in [*self.here, "nobody"]:
            self.roll.lose(id)
        assert not self.roll.depart("nobody", lost=True)

    @invariant()
    def who_was_announced_is_on_the_roll(self) -> None:
        names = {*self.here.values(), *self.absent}
        assert len(names) == len(self.here) + len(self.absent), "two members of one name"
        assert self.announced == names == set(self.roll.members)
        assert len(self.roll) == len(names)
        users = {self.users[id] for id in self.here} | {user for user, _ in self.absent.values()}
        assert self.roll.users == len(users)
        assert all(self.roll.holder(name) == id for id, name in self.here.items())


TestRoll = Rolls.TestCase
TestRoll.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
