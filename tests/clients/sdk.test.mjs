// The official JavaScript SDK against a place of ours, under node's own runner. The same tests
// over a WebSocket and over an event stream.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Centrifuge, UnauthorizedError } from 'centrifuge';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

const control = process.env.PLACE_CONTROL;
const wire = process.env.PLACE_WIRE; // host:port
let users = 0;

const call = async (path, method = 'POST', body) => {
  const answer = await fetch(`${control}/${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.text();
};
const token = (claims) => call(`token?${new URLSearchParams(claims)}`, 'GET');
const publish = (channel, ...messages) => call('publish', 'POST', { channel, messages });
const once = (who, event) => new Promise((resolve) => who.once(event, resolve));
const until = async (condition, what) => {
  for (let i = 0; i < 1000; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`in vain: ${what}`);
};

const WAYS = {
  websocket: [{ transport: 'websocket', endpoint: `ws://${wire}/connection/websocket` }],
  sse: [{ transport: 'sse', endpoint: `http://${wire}/connection/sse` }],
};

for (const [way, transports] of Object.entries(WAYS)) {
  const made = (options = {}) => {
    const user = `user${++users}`;
    const client = new Centrifuge(transports, {
      websocket: WebSocket,
      eventsource: EventSource,
      fetch,
      emulationEndpoint: `http://${wire}/emulation`,
      minReconnectDelay: 20,
      maxReconnectDelay: 100,
      getToken: () => token({ sub: user }),
      ...options,
    });
    client.user = user;
    client.trail = [];
    for (const event of ['connecting', 'connected', 'disconnected']) {
      client.on(event, (ctx) => client.trail.push([event, ctx.code]));
    }
    return client;
  };
  const subscribed = (client, channel, options) => {
    const sub = client.newSubscription(channel, options);
    sub.heard = [];
    sub.on('publication', (ctx) => sub.heard.push(ctx));
    sub.subscribe();
    return sub;
  };
  const scene = (name, body) => test(`${way}: ${name}`, { timeout: 20000 }, body);

  scene('connect, subscribe, hear, ask and say', async () => {
    const client = made();
    const sub = subscribed(client, `room:${way}1`);
    const greeted = once(sub, 'subscribed');
    client.connect();
    const ctx = await greeted;
    assert.deepEqual(ctx.data, { snapshot: { room: `${way}1` } });
    assert.equal(ctx.recoverable && ctx.positioned && !ctx.wasRecovering, true);

    await publish(sub.channel, { type: 'said', data: { n: 1 }, tags: { lang: 'pt' } });
    await sub.publish({ n: 2 });
    await until(() => sub.heard.length === 2, 'two publications');
    const [typed, bare] = sub.heard;
    assert.equal(typed.data.type, 'said');
    assert.deepEqual(typed.data.data, { n: 1 });
    assert.deepEqual(typed.tags, { lang: 'pt', type: 'said' });
    assert.deepEqual(bare.data, { n: 2 });
    assert.equal(bare.info.user, client.user);

    const { clients } = await sub.presence();
    assert.deepEqual(Object.values(clients).map((one) => one.user), [client.user]);
    assert.deepEqual(await sub.presenceStats(), { numClients: 1, numUsers: 1 });
    const history = await sub.history({ limit: 1, reverse: true });
    assert.deepEqual([history.offset, history.publications[0].data], [2, { n: 2 }]);
    const later = await sub.history({ limit: 9, since: { epoch: history.epoch, offset: 1 } });
    assert.deepEqual(later.publications.map((pub) => pub.offset), [2]);

    const answer = await client.rpc('echo', { a: 1 });
    assert.deepEqual(answer.data, { by: client.user, a: 1 });
    await assert.rejects(client.rpc('fly'), { code: 104 });
    await client.send({ from: client.user });
    await until(async () => (await call('heard', 'GET')).includes(client.user), 'a message');

    const gone = once(sub, 'unsubscribed');
    sub.unsubscribe();
    await gone;
    await publish(sub.channel, { data: 3 });
    assert.equal((await client.presenceStats(sub.channel).catch((error) => error)).code, 103);
    client.disconnect();
    assert.equal(sub.heard.length, 2);
  });

  scene('a cut wire: what was missed comes once and in order', async () => {
    const client = made();
    const sub = subscribed(client, `room:${way}2`);
    client.connect();
    await sub.ready();
    await publish(sub.channel, { data: 1 });
    await until(() => sub.heard.length === 1, 'the first');
    const lost = once(sub, 'subscribing');
    await call('cut');
    await lost;
    await publish(sub.channel, { data: 2 }, { type: 'said', data: 3 }, { data: 4 });
    const back = once(sub, 'subscribed');
    await call('mend');
    const ctx = await back;
    assert.deepEqual([ctx.wasRecovering, ctx.recovered, ctx.data], [true, true, undefined]);
    await publish(sub.channel, { data: 5 });
    await until(() => sub.heard.length === 5, 'the rest');
    assert.deepEqual(sub.heard.map((pub) => pub.offset), [1, 2, 3, 4, 5]);
    client.disconnect();
  });

  scene('a place that is not known any more: start over from the snapshot', async () => {
    const client = made();
    const since = { epoch: 'before', offset: 3 };
    const sub = subscribed(client, `room:${way}3`, { since });
    const greeted = once(sub, 'subscribed');
    client.connect();
    const ctx = await greeted;
    assert.deepEqual([ctx.wasRecovering, ctx.recovered], [true, false]);
    assert.deepEqual(ctx.data, { snapshot: { room: `${way}3` } });
    client.disconnect();
  });

  scene('a token is refreshed before it ends, and nobody notices', async () => {
    let asked = 0;
    const client = made({
      getToken: () => ((asked += 1), token({ sub: `refreshed-${way}`, ttl: 3 })),
    });
    const sub = subscribed(client, `vault:${way}4`, {
      getToken: ({ channel }) => token({ sub: `refreshed-${way}`, channel, ttl: 3 }),
    });
    const lost = [];
    sub.on('subscribing', (ctx) => lost.push(ctx));
    client.connect();
    await sub.ready();
    lost.length = 0;
    await until(() => asked >= 3, 'two refreshes');
    assert.deepEqual(client.trail.map(([event]) => event), ['connecting', 'connected']);
    assert.deepEqual(lost, []);
    client.disconnect();
  });

  scene('a token that has ended is asked for again', async () => {
    const ended = await token({ sub: 'late', ttl: 0.001 });
    const client = made({ token: ended, getToken: () => token({ sub: 'late' }) });
    const errors = [];
    client.on('error', (ctx) => errors.push(ctx.error.code));
    const connected = once(client, 'connected');
    client.connect();
    await connected;
    assert.deepEqual(errors, [109]);
    client.disconnect();
  });

  scene('who may not come does not come again', async () => {
    const client = made({ token: 'nonsense', getToken: null });
    const gone = once(client, 'disconnected');
    client.connect();
    assert.equal((await gone).code, 3500);
    const given_up = made({ getToken: () => Promise.reject(new UnauthorizedError('no')) });
    const unauthorised = once(given_up, 'disconnected');
    given_up.connect();
    assert.equal((await unauthorised).code, 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual(client.trail, [['connecting', 0], ['disconnected', 3500]]);
  });

  scene('a channel that is closed to it', async () => {
    const client = made();
    const sub = subscribed(client, 'room:closed');
    const gone = once(sub, 'unsubscribed');
    client.connect();
    assert.equal((await gone).code, 103);
    const odd = subscribed(client, 'nobody:1');
    assert.equal((await once(odd, 'unsubscribed')).code, 102);
    assert.equal(client.state, 'connected');
    client.disconnect();
  });

  scene('a terminal code ends it, another one brings it back', async () => {
    const client = made();
    client.connect();
    await client.ready();
    const back = once(client, 'connected');
    await call(`close?sub=${client.user}&code=3011`);
    await back;
    const gone = once(client, 'disconnected');
    await call(`close?sub=${client.user}&code=3503`);
    assert.equal((await gone).code, 3503);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(client.state, 'disconnected');
    assert.equal(await call(`connections?sub=${client.user}`, 'GET'), '0');
  });

  scene('only the tags that it wants', async () => {
    const client = made();
    const tagsFilter = { key: 'type', cmp: 'in', vals: ['said', 'sung'] };
    const sub = subscribed(client, `room:${way}9`, { tagsFilter });
    client.connect();
    await sub.ready();
    await publish(
      sub.channel, { type: 'said', data: 1 }, { type: 'done', data: 2 }, { type: 'sung', data: 3 },
    );
    await until(() => sub.heard.length === 2, 'two publications');
    assert.deepEqual(sub.heard.map((pub) => pub.data.data), [1, 3]);
    client.disconnect();
  });

  scene('who comes and goes', async () => {
    const [client, other] = [made(), made()];
    const sub = subscribed(client, `room:${way}10`, { joinLeave: true });
    const told = [];
    sub.on('join', (ctx) => told.push(['join', ctx.info.user]));
    sub.on('leave', (ctx) => told.push(['leave', ctx.info.user]));
    client.connect();
    await sub.ready();
    const beside = subscribed(other, `room:${way}10`);
    other.connect();
    await beside.ready();
    other.disconnect();
    await until(() => told.length === 3, 'a join and a leave');
    assert.deepEqual(told.slice(1), [['join', other.user], ['leave', other.user]]);
    client.disconnect();
  });

  scene('channels that the server put it on are resumed as well', async () => {
    const channel = `vault:${way}11`;
    const client = made({ getToken: () => token({ sub: 'moved', subs: channel }) });
    const heard = [];
    const greetings = [];
    client.on('publication', (ctx) => heard.push([ctx.channel, ctx.data]));
    client.on('subscribed', (ctx) => greetings.push(ctx.recovered));
    client.connect();
    await client.ready();
    await publish(channel, { data: 1 });
    await until(() => heard.length === 1, 'the first');
    const lost = once(client, 'connecting');
    await call('cut');
    await lost;
    await publish(channel, { data: 2 });
    await call('mend');
    await until(() => heard.length === 2, 'the second');
    assert.deepEqual(heard, [[channel, 1], [channel, 2]]);
    assert.deepEqual(greetings, [false, true]);
    client.disconnect();
  });

  scene('a hundred channels at once', async () => {
    const client = made();
    const subs = [...Array(100).keys()].map((n) => subscribed(client, `room:${way}-${n}`));
    client.connect();
    await Promise.all(subs.map((sub) => sub.ready()));
    client.disconnect();
  });
}
