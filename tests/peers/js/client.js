// Exercises a router with the JavaScript client, and prints "ok" and the name of each thing that worked.
//
//     node --experimental-websocket client.js URL SERIALIZER MODULES
//
// MODULES is the folder with the installed packages. Ends with code 0 if all went well.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [url, name, modules] = process.argv.slice(2);
const autobahn = createRequire(`${modules}/`)("autobahn");
const serializers = {
  cbor: autobahn.serializer.CBORSerializer,
  msgpack: autobahn.serializer.MsgpackSerializer,
  json: autobahn.serializer.JSONSerializer,
};
const binary = name === "json" ? "AAH/" : new Uint8Array([0, 1, 255]);

function join(authentication = {}) {
  return new Promise((resolve, reject) => {
    const connection = new autobahn.Connection({
      url,
      realm: "realm1",
      serializers: [new serializers[name]()],
      max_retries: 0,
      ...authentication,
    });
    connection.onopen = (session, details) => resolve({ connection, session, details });
    connection.onclose = (_reason, details) => {
      reject(new Error(details.reason ?? "closed"));
      return true;
    };
    connection.open();
  });
}

const by_ticket = (ticket) => ({ authid: "seller", authmethods: ["ticket"], onchallenge: () => ticket });

const tests = {
  async "call with binary data"(callee, caller) {
    await callee.register("js.echo", (args, kwargs) => new autobahn.Result(args, kwargs));
    const result = await caller.call("js.echo", [binary, "ü", [1, null]], { key: -7 });
    assert.deepEqual([...result.args[0]], [...binary]);
    assert.deepEqual(result.args.slice(1), ["ü", [1, null]]);
    assert.equal(result.kwargs.key, -7);
  },

  async "an error of the callee"(callee, caller) {
    await callee.register("js.fail", () => {
      throw new autobahn.Error("js.error.own", ["because"]);
    });
    const error = await caller.call("js.fail").then(assert.fail, (error) => error);
    assert.equal(error.error, "js.error.own");
    assert.deepEqual(error.args, ["because"]);
    const unknown = await caller.call("js.unknown").then(assert.fail, (error) => error);
    assert.equal(unknown.error, "wamp.error.no_such_procedure");
  },

  async "results in parts"(callee, caller) {
    await callee.register("js.count", (_args, _kwargs, details) => {
      for (const number of [1, 2, 3]) details.progress([number]);
      return "done";
    });
    const parts = [];
    const result = await caller
      .call("js.count", [], {}, { receive_progress: true })
      .then((result) => result, assert.fail, (part) => parts.push(part));
    assert.equal(result, "done");
    assert.deepEqual(parts.flat(), [1, 2, 3]);
  },

  async "the caller is disclosed"(callee, caller) {
    await callee.register("js.who", (_args, _kwargs, details) => [details.caller, details.caller_authrole]);
    assert.deepEqual(await caller.call("js.who"), [caller.id, "anonymous"]);
  },

  async "events"(subscriber, publisher) {
    const heard = [];
    let full;
    const all = new Promise((resolve) => (full = resolve));
    const hear = (args, _kwargs, details) => heard.push([args, details.topic]) === 2 && full();
    await subscriber.subscribe("js.topic", hear);
    const pattern = await subscriber.subscribe("js.", hear, { match: "prefix" });
    const publication = await publisher.publish("js.topic", [binary], {}, { acknowledge: true });
    assert.ok(publication.id > 0);
    await all;
    for (const [args] of heard) assert.deepEqual([...args[0]], [...binary]);
    assert.deepEqual(new Set(heard.map(([, topic]) => topic)), new Set(["js.topic"]));
    await subscriber.unsubscribe(pattern);
  },

  async "a registration that is taken back"(callee, caller) {
    const registration = await callee.register("js.gone", () => 1);
    assert.equal(await caller.call("js.gone"), 1);
    await callee.unregister(registration);
    const error = await caller.call("js.gone").then(assert.fail, (error) => error);
    assert.equal(error.error, "wamp.error.no_such_procedure");
  },

  async "a ticket"() {
    const { connection, details } = await join(by_ticket("seller-ticket"));
    assert.deepEqual([details.authid, details.authrole, details.authmethod], ["seller", "provider", "ticket"]);
    connection.close();
    await assert.rejects(join(by_ticket("wrong")), /authentication_failed/);
  },
};

const [one, other] = [await join(), await join()];
for (const [test, run] of Object.entries(tests)) {
  await run(one.session, other.session);
  console.log("ok", test);
}
one.connection.close();
other.connection.close();
