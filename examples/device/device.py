"""A device that behaves: the firmware contract of docs/devices.md, in Python with paho-mqtt.

CARDUME_DEVICE_KEY=<key> python device.py tank-1 [host] [port]
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from datetime import UTC, datetime
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

INTERVAL = 10.0
"""Seconds between readings, as promised in `state`."""


def main(device_id: str, host: str = "127.0.0.1", port: str = "1883") -> None:
    topic = f"aquabook/{device_id}"
    # A number that grows with every start: a late will of an older session is then ignored.
    session = int(time.time())

    def word(state: str) -> str:
        return json.dumps({"state": state, "session": session})

    done: dict[str, str] = {}

    def on_connect(client: Client, *_: Any) -> None:
        # Before we say that we are there: commands that wait for us come then.
        client.subscribe(f"{topic}/command", 1)
        # After each connect, for the broker has published the will of the connection before.
        client.publish(f"{topic}/availability", word("online"), qos=1, retain=True)
        client.publish(f"{topic}/state", json.dumps({"interval": INTERVAL}), qos=1, retain=True)

    def on_message(client: Client, _data: Any, message: MQTTMessage) -> None:
        command = json.loads(message.payload)
        # It may come twice: it is done once, and answered each time.
        if command["id"] not in done:
            done[command["id"]] = carry_out(command["command"], command["params"])
        said = {"id": command["id"], "result": done[command["id"]]}
        client.publish(f"{topic}/command/result", json.dumps(said), qos=1)

    client = Client(CallbackAPIVersion.VERSION2, client_id=device_id, protocol=MQTTv311)
    client.username_pw_set(device_id, os.environ["CARDUME_DEVICE_KEY"])
    client.will_set(f"{topic}/availability", word("offline"), qos=1, retain=True)
    client.reconnect_delay_set(min_delay=1, max_delay=30)
    client.on_connect = on_connect
    client.on_message = on_message
    client.connect(host, int(port), keepalive=30)
    client.loop_start()
    try:
        while True:
            reading = {
                "metric": "temperature",
                "value": round(random.gauss(25.4, 0.1), 2),
                "unit": "C",
                "ts": datetime.now(UTC).isoformat(),
            }
            client.publish(f"{topic}/reading", json.dumps(reading), qos=1)
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        client.publish(f"{topic}/availability", word("offline"), qos=1, retain=True)
        client.disconnect()


def carry_out(command: str, params: dict[str, Any]) -> str:
    """Do it, and say how that went: ok or failed."""
    return "ok"


if __name__ == "__main__":
    main(*sys.argv[1:])
