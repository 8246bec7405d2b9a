// MQTT.js as pages and simulators use it: over a WebSocket, with a will, QoS 1 and a large payload.
import { test } from "node:test";
import assert from "node:assert/strict";
import { once } from "node:events";
import mqtt from "mqtt";

const device = { username: "sim", password: process.env.MQTT_KEY, clientId: "sim" };

async function connected(options) {
  const client = mqtt.connect(process.env.MQTT_URL, { reconnectPeriod: 100, ...options });
  await once(client, "connect", { signal: AbortSignal.timeout(10_000) });
  return client;
}

for (const protocolVersion of [4, 5]) {
  test(`a simulator publishes and a service hears it, version ${protocolVersion}`, async () => {
    const service = await connected({ protocolVersion, username: "page", password: process.env.MQTT_API_KEY });
    await service.subscribeAsync("aquabook/#", { qos: 1 });
    const heard = [];
    service.on("message", (topic, payload) => heard.push([topic, payload.toString()]));

    const sim = await connected({
      ...device,
      protocolVersion,
      will: { topic: "aquabook/sim/availability", payload: "offline", qos: 1 },
    });
    const padding = "x".repeat(50_000); // a packet of several reads
    const readings = Array.from({ length: 20 }, (_, n) =>
      JSON.stringify({ metric: "temperature", value: n, id: `r-${protocolVersion}-${n}`, padding }),
    );
    const topic = "aquabook/sim/reading";
    await Promise.all(readings.map((reading) => sim.publishAsync(topic, reading, { qos: 1 })));
    while (heard.length < readings.length) await once(service, "message");
    assert.deepEqual(heard, readings.map((reading) => [topic, reading]));

    const back = once(sim, "connect", { signal: AbortSignal.timeout(10_000) });
    const will = once(service, "message", { signal: AbortSignal.timeout(10_000) });
    sim.stream.destroy(); // as a page that is closed
    await will;
    assert.deepEqual(heard.at(-1), ["aquabook/sim/availability", "offline"]);
    await back; // by itself
    await sim.endAsync();
    await service.endAsync();
  });
}

test("a wrong key is refused in words", async () => {
  const client = mqtt.connect(process.env.MQTT_URL, { ...device, password: "no" });
  const [error] = await once(client, "error", { signal: AbortSignal.timeout(10_000) });
  assert.match(error.message, /Bad username or password/i);
  await client.endAsync();
});
