"""What may happen to a world, step by step, and how it ends: everything healed, nothing left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cardume.errors import Refused, Unavailable
from cardume.hub.watch import EVERY, PATIENCE
from cardume.testing.clock import settle
from cardume.wire.messages import Position
from tests.simulation.clients import Client
from tests.simulation.dialects import CentrifugeClient, PlainClient, RoomsClient
from tests.simulation.engine import FaultyEngine
from tests.simulation.history import History, Wants
from tests.simulation.world import SHADES, TYPES, World, overheard

STEPS = 40

LAGS = (0, 0, 0, 1, 3)
"""Publications that the replica which is read may be behind."""

Action = Callable[[World], Awaitable[None] | None]


async def simulate(
    seed: int, steps: int = STEPS, engine: type[FaultyEngine] = FaultyEngine
) -> History:
    """Run one seed to its end; the same one always gives the same history."""
    world = World(seed, engine)
    with overheard(world):
        await world.begin()
        world.people()
        for client in world.clients:
            _come_back(world, client)
        actions, weights = zip(*_ACTIONS, strict=True)
        for _ in range(steps):
            for action in world.random.choices(actions, weights, k=world.random.randint(1, 3)):
                waiting = action(world)
                if waiting is not None:
                    await waiting
            await settle(4)
        await _end(world)
    return world.history


# -- publishers -----------------------------------------------------------------------------------


def _publish(world: World) -> None:
    draw = world.random
    for _ in range(draw.choice((1, 1, 2, 3, 6))):
        key = f"i{draw.randint(1, 1000)}" if draw.random() < 0.2 else None
        if key is None or all(a.idempotency_key != key for a in world.history.attempts):
            world.publish(world.message(), key)


def _burst(world: World) -> None:
    channel = world.random.choice(tuple(world.history.rules))
    for _ in range(world.random.randint(5, 15)):
        world.publish(world.message(channel))


# -- clients --------------------------------------------------------------------------------------


def _client(world: World) -> None:
    """One client does what a client may do now."""
    client = world.random.choice(world.clients)
    if not client.connected:
        _come_back(world, client)
    elif client.busy or client.link.frozen:
        if world.random.random() < 0.2:
            client.vanish()
    elif isinstance(client, PlainClient):
        _plain(world, client)
    elif isinstance(client, RoomsClient):
        _rooms(world, client)
    elif isinstance(client, CentrifugeClient):
        _centrifuge(world, client)


def _come_back(world: World, client: Client) -> None:
    if isinstance(client, PlainClient):
        client.since = _since(world, client, client.channel)
    client.connect(world.hub)


def _since(world: World, client: Client, channel: str) -> Position | None:
    """Mostly where it was; now and then a place that is too old, from nowhere, or none."""
    place = client.places.get(channel)
    chance = world.random.random()
    if place is None or chance < 0.05:
        return None
    if chance < 0.12:
        return Position(place.epoch, max(0, place.offset - world.random.randint(1, 12)))
    if chance < 0.15:
        return Position(place.epoch, place.offset + 1000)
    if chance < 0.18:
        return Position("gone", place.offset)
    return place


def _plain(world: World, client: PlainClient) -> None:
    draw = world.random
    if draw.random() < 0.5:
        client.ask("ping")
    elif draw.random() < 0.5:
        client.ask("subscribe", types=draw.sample(TYPES, draw.randint(1, 2)))
    else:
        client.ask("unsubscribe")


def _rooms(world: World, client: RoomsClient) -> None:
    draw = world.random
    room = draw.choice(tuple(world.history.rules))
    chance = draw.random()
    if chance < 0.6:
        client.ask("join", room, _since(world, client, room))
    elif chance < 0.7 and room in client.sessions:
        client.ask("leave", room)
    elif chance < 0.85:
        client.ask("subscribe", event_types=draw.sample(TYPES, draw.randint(0, 2)))
    else:
        client.ask("unsubscribe", event_types=draw.sample(TYPES, draw.randint(0, 1)))


def _centrifuge(world: World, client: CentrifugeClient) -> None:
    draw = world.random
    channel = draw.choice(tuple(world.history.rules))
    if channel not in client.sessions:
        tag = ("shade", draw.choice(("eq", "neq")), draw.choice(SHADES))
        wants = Wants(tag=tag if draw.random() < 0.3 else None)
        client.ask("subscribe", channel, _since(world, client, channel), wants)
    elif draw.random() < 0.3:
        client.ask("unsubscribe", channel)


def _read_slowly(world: World) -> None:
    link = world.random.choice(world.clients).link
    link.slow = not link.slow
    link.wake()


def _freeze(world: World) -> None:
    link = world.random.choice(world.clients).link
    link.frozen = not link.frozen
    link.wake()


def _receive(world: World) -> None:
    for client in world.clients:
        client.link.receive(world.random.randint(1, 5))


def _vanish(world: World) -> None:
    world.random.choice(world.clients).vanish()


# -- the world ------------------------------------------------------------------------------------


async def _pass(world: World) -> None:
    """Time: a moment, enough for the position check, for history to age, for keys to expire."""
    seconds = world.random.choice((0.5, 0.5, 1.0, 1.0, 6.0, 25.0, 41.0, 400.0))
    if seconds > 1.0:
        # A publish that waits across the window of its key has no defined outcome.
        world.engine.hold()
        await settle(4)
    await world.time.advance(seconds)


def _hold(world: World) -> None:
    draw = world.random
    before, after, reads, joins = draw.choices((True, False), (1, 3), k=4)
    world.engine.hold(before=before, after=after, reads=reads, joins=joins)
    world.engine.stale = draw.random() < 0.5
    world.engine.behind = draw.choice(LAGS)


def _delay(world: World) -> None:
    world.engine.late = not world.engine.late


def _arrive(world: World) -> None:
    for channel in list(world.engine.travelling):
        world.engine.arrive(channel, world.random.randint(0, 4))


def _mistreat(world: World) -> None:
    channels = list(world.engine.travelling)
    if channels:
        how = world.random.choice(("lose", "double", "swap"))
        world.engine.mistreat(world.random.choice(channels), how, world.random)


def _away(world: World) -> None:
    world.engine.away = True


def _restore(world: World) -> None:
    """An outage ends, and what waited goes on."""
    world.engine.away = False
    if world.random.random() < 0.5:
        world.engine.hold()


async def _forget(world: World) -> None:
    """The engine's memory is gone, and the hub's clients are not."""
    world.give_up()
    await settle(2)
    world.engine.hold()
    await settle(4)
    await world.engine.forget()


_ACTIONS: tuple[tuple[Action, float], ...] = (
    (_publish, 22),
    (_burst, 5),
    (World.repeat, 5),
    (_client, 40),
    (World.read_page, 3),
    (_read_slowly, 3),
    (_freeze, 3),
    (_receive, 8),
    (_vanish, 4),
    (_pass, 4),
    (_hold, 5),
    (World.give_up, 1),
    (_delay, 3),
    (_arrive, 8),
    (_mistreat, 3),
    (_away, 1.5),
    (_restore, 6),
    (World.remove, 0.5),
    (_forget, 0.5),
    (World.restart, 0.5),
)


# -- the end --------------------------------------------------------------------------------------


async def _end(world: World) -> None:
    """Everything heals, everybody comes back; then it is noted who stands where."""
    world.engine.heal()
    for client in world.clients:
        client.link.frozen = client.link.slow = False
        client.link.wake()
        client.link.receive()
    await settle()
    for _ in range(2):
        _all_back(world)
        await settle()
        await world.time.advance(1.1 * EVERY + PATIENCE + 1)
    _all_back(world)
    await settle()
    for client in world.clients:
        if not client.connected or client.busy:
            world.fault(f"{client.name} could not come back")
        for session in client.sessions.values():
            session.live = True
    for name, rule in world.history.rules.items():
        if rule.history:
            try:
                world.history.tops[name] = (await world.hub.history(name)).position
            except (Refused, Unavailable) as error:
                world.fault(f"no history of {name} when all is well: {error!r}")
    world.count()
    await _leave(world)


def _all_back(world: World) -> None:
    for client in world.clients:
        if not client.connected:
            if isinstance(client, PlainClient):
                client.since = client.places.get(client.channel)
            client.connect(world.hub)
        elif isinstance(client, CentrifugeClient) and not client.busy:
            lost = [name for name in client.places if name not in client.sessions]
            if lost:
                client.ask("subscribe", lost[0], client.places[lost[0]])


async def _leave(world: World) -> None:
    """Whoever is gone has left nothing behind."""
    for client in world.clients:
        client.vanish()
    await settle()
    hub, engine = world.hub, world.engine
    left = {
        "connections": hub.stats.active_connections,
        "channels": hub.channels(),
        "subscribed": sorted(engine.subscribed),
        "clients": len(world.centrifuge),
        "publishing": sum(not task.done() for task in world.publishing),
    }
    world.history.faults += [f"left behind: {name} {what}" for name, what in left.items() if what]
    world.give_up()
    await hub.__aexit__(None, None, None)
