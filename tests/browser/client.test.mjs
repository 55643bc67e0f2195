// ringback.js in Node: against servers that misbehave, and against the real one.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { openAsBlob } from "node:fs";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";

import { Ringback, RingbackError } from "./support/client.mjs";
import { breaksOff, drops, fake, forgetful, says } from "./support/fake.mjs";
import { SAID, SPEECH, Server, words } from "./support/server.mjs";

const job = (state, more = {}) => ({ id: "1", task: "t", state, ...more });
const problem = (status, code, headers) => says(status, { code, detail: `It is ${code}.` }, headers);
const file = (text = "something") => new File([text], "a.wav", { type: "audio/wav" });
const refused = (expected) => (error) => {
  assert(error instanceof RingbackError, String(error));
  assert.equal(error.message, error.detail);
  for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value, name);
  return true;
};

describe("against a server that does as it is told", { concurrency: true }, () => {
  test("one submit has one key, however often it is tried", async (t) => {
    const full = problem(503, "queue_full", { "Retry-After": "2" });
    const server = await fake(t, drops, breaksOff, full, says(202, job("queued")));
    const retries = [];
    const onRetry = ({ code }, seconds) => retries.push({ code, seconds });
    const made = await new Ringback({ url: server.url }).submit(file(), { language: "en" }, { onRetry });
    assert.equal(made.id, "1");
    assert.deepEqual(server.asked.map(({ method, path }) => `${method} ${path}`), Array(4).fill("POST /jobs"));
    const keys = new Set(server.asked.map(({ headers }) => headers["idempotency-key"]));
    assert.equal(keys.size, 1);
    assert.match([...keys][0], /^"[0-9a-f]{32}"$/);
    assert.deepEqual(retries.map(({ code }) => code), ["unreachable", "unreachable", "queue_full"]);
    assert(retries[2].seconds >= 2 && server.asked[3].at - server.asked[2].at >= 2000, "as Retry-After said");
  });

  test("parameters go as fields, and lists as several", async (t) => {
    const server = await fake(t, says(202, job("queued")));
    const rb = new Ringback({ url: `${server.url}/`, key: "k".repeat(16) });
    await rb.submit(file(), { a: 1, b: ["x", "y"], c: undefined });
    const [{ headers, body }] = server.asked;
    assert.equal(headers.authorization, `Bearer ${"k".repeat(16)}`);
    const form = await new Response(body, { headers }).formData();
    assert.deepEqual(form.getAll("a"), ["1"]);
    assert.deepEqual(form.getAll("b"), ["x", "y"]);
    assert.equal(form.has("c"), false);
    assert.equal(form.get("file").name, "a.wav");
  });

  test("what will not pass is not tried again", async (t) => {
    for (const [answer, expected] of [
      [problem(413, "body_too_large"), { code: "body_too_large", status: 413, detail: "It is body_too_large." }],
      [problem(401, "unauthorized"), { code: "unauthorized", status: 401 }],
      [says(200, "<p>Welcome to the hotel's network"), { code: "not_ringback", status: 200 }],
      [says(200, { hello: "world" }), { code: "not_ringback", status: 200 }],
      [says(200, { id: "1", state: "constructor" }), { code: "not_ringback", status: 200 }],
      [says(200, "null"), { code: "not_ringback", status: 200 }],
      [says(404, { code: {}, detail: [] }), { code: "not_ringback", status: 404 }],
    ]) {
      const server = await fake(t, answer);
      const rb = new Ringback({ url: server.url });
      await assert.rejects(rb.submit(file()), refused(expected));
      await assert.rejects(rb.result("1"), refused(expected));
      await assert.rejects(rb.list(), refused(expected));
      assert.equal(server.asked.length, 3);
    }
  });

  test("a server that stays full is given up, with what it said", async (t) => {
    const full = problem(503, "queue_full", { "Retry-After": "0" });
    const server = await fake(t, full);
    const submitted = new Ringback({ url: server.url }).submit(file());
    await assert.rejects(submitted, refused({ code: "queue_full", status: 503 }));
    assert.equal(server.asked.length, 5);
  });

  test("a result is waited for through everything that passes", async (t) => {
    const tagged = { ETag: 'W/"7"' };
    const server = await fake(
      t,
      says(200, job("queued", { position: 2 }), tagged),
      says(304, "", tagged),
      drops,
      problem(500, "internal"),
      says(200, job("queued", { position: 2 }), tagged),
      says(502, "<h1>Bad gateway</h1>"),
      breaksOff,
      problem(503, "draining", { "Retry-After": "3" }),
      says(200, job("running", { progress: 0.5 }), { ETag: 'W/"8"' }),
      says(200, job("succeeded", { data: "said" })),
    );
    const seen = [];
    const done = await new Ringback({ url: server.url }).result("1", {
      onUpdate: ({ state }) => seen.push(state),
      onRetry: ({ code }) => seen.push(code),
    });
    assert.equal(done.data, "said");
    assert.deepEqual(seen, [
      "queued", "unreachable", "internal", "queued", "not_ringback", "unreachable", "draining", "running", "succeeded",
    ], "told of what is new, and after a failure of the job as it is");
    const none = undefined;
    assert.deepEqual(
      server.asked.map(({ headers }) => headers["if-none-match"]),
      [none, 'W/"7"', 'W/"7"', none, none, 'W/"7"', none, none, none, 'W/"8"'],
    );
    assert(server.asked[8].at - server.asked[7].at >= 3000, "as Retry-After said");
  });

  test("an answer that comes late is still one", async (t) => {
    let answerLate;
    const late = new Promise((resolve) => { answerLate = resolve; });
    const server = await fake(t, (response) => late.then(() => says(200, job("succeeded"))(response)));
    const result = new Ringback({ url: server.url }).result({ id: "a/b" });
    while (server.asked.length === 0) await new Promise(setImmediate);
    answerLate();
    assert.equal((await result).state, "succeeded");
    assert.equal(server.asked[0].path, "/jobs/a%2Fb?wait=25");
  });

  test("a job that did not succeed is an error that says why", async (t) => {
    const error = { code: "undecodable", message: "That is no sound." };
    for (const [state, more, expected] of [
      ["failed", { error }, { code: "undecodable", detail: "That is no sound." }],
      ["failed", {}, { code: "failed" }],
      ["canceled", {}, { code: "canceled" }],
    ]) {
      const server = await fake(t, says(200, job(state, more)));
      const result = new Ringback({ url: server.url }).result("1");
      await assert.rejects(result, (error) => refused(expected)(error) && error.job.state === state);
      assert.equal(server.asked.length, 1);
    }
  });

  test("a signal ends all of it, and says why", async (t) => {
    const server = await fake(t, () => {});
    const rb = new Ringback({ url: server.url });
    for (const begin of [
      (options) => rb.submit(file(), {}, options),
      (options) => rb.result("1", options),
      (options) => rb.job("1", options),
    ]) {
      const stop = new AbortController();
      const waiting = begin({ signal: stop.signal });
      const asked = server.asked.length;
      while (server.asked.length === asked) await new Promise(setImmediate);
      stop.abort(new Error("enough"));
      await assert.rejects(waiting, /enough/);
      await assert.rejects(begin({ signal: stop.signal }), /enough/);
    }
    // In the rest between two tries as well.
    const down = await fake(t, problem(503, "busy", { "Retry-After": "1000" }));
    const stop = new AbortController();
    const onRetry = (_, seconds) => {
      assert(seconds < 1000, "no server can ask for a rest without end");
      stop.abort(new Error("enough"));
    };
    const submitted = new Ringback({ url: down.url }).submit(file(), {}, { signal: stop.signal, onRetry });
    await assert.rejects(submitted, /enough/);
  });
});

test("where the module did not come from a server, a url is needed", () => {
  assert.throws(() => new Ringback(), TypeError);
  assert.throws(() => new Ringback({ url: "ftp://127.0.0.1" }), /http or https url/);
});

test("speech becomes text, and the job can be looked at, listed, saved and forgotten", async (t) => {
  const server = await Server.start(t);
  const rb = new Ringback({ url: server.url });
  const uploaded = [], seen = [];
  const onUpload = (part) => uploaded.push(part);
  const submitted = await rb.submit(await openAsBlob(SPEECH), { language: "en" }, { onUpload });
  assert.deepEqual(uploaded, [1]);
  const done = await rb.result(submitted, { onUpdate: ({ state }) => seen.push(state) });
  assert.equal(words(done.data), SAID);
  assert.equal(seen.at(-1), "succeeded");
  assert.equal((await rb.job(submitted)).data, done.data);
  assert.deepEqual((await rb.list({ state: "succeeded", limit: 5 })).map(({ id }) => id), [submitted.id]);
  assert.match(await (await rb.output(submitted, "srt")).text(), /^1\n00:00:00,000 --> /);
  await assert.rejects(rb.output(submitted, "doc"), refused({ code: "unknown_format", status: 422 }));
  await rb.cancel(submitted);
  await assert.rejects(rb.result(submitted), refused({ code: "unknown_job", status: 404 }));
});

test("an answer that was lost does not make a second job", async (t) => {
  const server = await Server.start(t);
  const between = await forgetful(t, server.url, 1);
  const rb = new Ringback({ url: between.url });
  const submitted = await rb.submit(await openAsBlob(SPEECH), { coalesce: false });
  assert.deepEqual(between.kept.map(({ statusCode }) => statusCode), [202, 202]);
  assert.equal(between.kept[1].headers["idempotent-replayed"], "true");
  const jobs = await new Ringback({ url: server.url }).list();
  assert.deepEqual(jobs.map(({ id }) => id), [submitted.id]);
});

test("a server that is killed and started again owes the result still", async (t) => {
  const server = await Server.start(t, "--workers", "1");
  const rb = new Ringback({ url: server.url });
  const submitted = await rb.submit(await openAsBlob(SPEECH));
  const result = rb.result(submitted.id);
  await server.kill();
  // Sent while nobody is there.
  const other = rb.submit(file("not sound"));
  await server.again();
  assert.equal(words((await result).data), SAID);
  await assert.rejects(rb.result(await other), refused({ code: "undecodable" }));
});

test("the README's recipe works in Node", async (t) => {
  const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
  const [, recipe] = readme.match(/```js\n(import [^]*?)```/);
  const server = await Server.start(t);
  const folder = await mkdtemp(join(tmpdir(), "ringback-recipe-"));
  t.after(() => rm(folder, { recursive: true }));
  const client = await fetch(`${server.url}/ringback.js`);
  assert.match(client.headers.get("content-type"), /^text\/javascript/);
  await writeFile(join(folder, "ringback.js"), await client.text());
  await writeFile(join(folder, "package.json"), '{"type":"module"}');
  await writeFile(join(folder, "recipe.js"), recipe.replace("http://127.0.0.1:8080", server.url));
  await copyFile(SPEECH, join(folder, "talk.mp3"));
  const { stdout } = await promisify(execFile)(process.execPath, ["recipe.js"], { cwd: folder });
  assert.equal(words(stdout), SAID);
});
