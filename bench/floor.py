"""The floor: what one `send()` of a short frame costs on this machine at this moment."""

from __future__ import annotations

import multiprocessing
import socket
import time

FRAME = bytes(330)
"""As long as the frame of a reading."""
SOCKETS = 100


def send_floor(rounds: int = 300) -> float:
    """CPU microseconds of one `send()` in a Python loop over 100 loopback connections."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=SOCKETS)
    spawn = multiprocessing.get_context("spawn")
    reader = spawn.Process(target=_swallow, args=(listening.getsockname()[1],), daemon=True)
    reader.start()
    peers = [listening.accept()[0] for _ in range(SOCKETS)]
    began = time.process_time()
    for _ in range(rounds):
        for peer in peers:
            peer.send(FRAME)
    spent = time.process_time() - began
    for peer in peers:
        peer.close()
    reader.join()
    listening.close()
    return spent / (rounds * SOCKETS) * 1e6


def _swallow(port: int) -> None:
    import selectors

    selector = selectors.DefaultSelector()
    for _ in range(SOCKETS):
        selector.register(socket.create_connection(("127.0.0.1", port)), selectors.EVENT_READ)
    while selector.get_map():
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            if not key.fileobj.recv(65_536):
                selector.unregister(key.fileobj)
                key.fileobj.close()
