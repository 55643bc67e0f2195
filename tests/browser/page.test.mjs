// The page for people, in Chromium, on the real server.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";

import { card, controls, open, says } from "./support/browser.mjs";
import { Ringback } from "./support/client.mjs";
import { SAID, SPEECH, Server, words } from "./support/server.mjs";

const speech = { name: "jfk.wav", mimeType: "audio/wav", buffer: await readFile(SPEECH) };
/** A file like no other of its length: equal ones would be the same job. */
const noise = (name, bytes = 8) => ({ name, mimeType: "audio/wav", buffer: Buffer.alloc(bytes, "x") });
const choose = (page, ...files) => page.setInputFiles("#file", files);
const press = (where, name) => where.getByRole("button", { name }).click();

/** Something that keeps the only worker busy until it is called off. */
async function occupied(t, ...args) {
  const server = await Server.start(t, "--demo", "--workers", "1", ...args);
  const rb = new Ringback({ url: server.url });
  const work = (text) => rb.submit(new Blob([text]), { task: "demo", seconds: 60 });
  const busy = await work("first");
  while ((await rb.job(busy)).state !== "running");
  return { server, rb, busy, work };
}

describe("the page", { concurrency: 3 }, () => {
  test("speech becomes a transcript to listen to, to copy and to keep", async (t) => {
    const page = await open(t, await Server.start(t));
    await choose(page, speech);
    const job = card(page, "jfk.wav");
    await says(job, "Done: 0:11 of sound");
    const result = job.getByRole("region", { name: "Result: jfk.wav" });
    const lines = await result.locator("p > span").allInnerTexts();
    assert(lines.length >= 2, "more than one segment");
    assert.equal(words(lines.join(" ")), SAID);

    const times = result.getByRole("button", { name: /play from here/ });
    assert.equal(await times.first().innerText(), "0:00");
    const [minutes, seconds] = (await times.last().innerText()).split(":").map(Number);
    await times.last().click();
    const at = await job.locator("audio").evaluate((audio) => audio.currentTime);
    assert(at >= minutes * 60 + seconds, `it plays from there, not from ${at}`);
    await times.first().click();
    await result.locator("p.now").filter({ hasText: "And so" }).waitFor();

    await press(job, "Copy: jfk.wav");
    await page.getByRole("status").filter({ hasText: "Copied" }).waitFor();
    assert.equal(words(await page.evaluate(() => navigator.clipboard.readText())), SAID);
    const beginnings = { txt: /^And so/, srt: /^1\n00:00:00,000 --> /, vtt: /^WEBVTT\n/ };
    for (const [extension, start] of Object.entries(beginnings)) {
      const coming = page.waitForEvent("download");
      await press(job, `Save as ${extension}: jfk.wav`);
      const download = await coming;
      assert.equal(download.suggestedFilename(), `jfk.${extension}`);
      assert.match(await readFile(await download.path(), "utf8"), start);
    }

    await page.reload();
    await says(job, "Done");
    assert.equal(words((await result.locator("p > span:last-child").allInnerTexts()).join(" ")), SAID);
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), press(job, /^Listen along/)]);
    await chooser.setFiles(SPEECH);
    await times.first().waitFor();

    await press(job, "Remove: jfk.wav");
    await page.getByText("None yet.").waitFor();
    await page.reload();
    await page.getByText("None yet.").waitFor();
  });

  test("several files at once, dropped, and one of them no sound", async (t) => {
    const page = await open(t, await Server.start(t));
    const dropped = await page.evaluateHandle(() => {
      const transfer = new DataTransfer();
      for (const name of ["one.wav", "two.wav"]) transfer.items.add(new File([name], name, { type: "audio/wav" }));
      return transfer;
    });
    await page.dispatchEvent("#drop", "dragover", { dataTransfer: dropped });
    await page.locator("#drop.over").waitFor();
    await page.dispatchEvent("#drop", "drop", { dataTransfer: dropped });
    assert.equal(await page.locator("#drop.over").count(), 0);
    await choose(page, speech);
    for (const name of ["one.wav", "two.wav"]) {
      await says(card(page, name), "The file cannot be decoded");
      await press(card(page, name), `Send again: ${name}`);
      await says(card(page, name), "The file cannot be decoded");
    }
    await says(card(page, "jfk.wav"), "Done");
    assert.equal(await page.locator("#jobs > li").count(), 3);
  });

  test("the microphone is heard", async (t) => {
    const page = await open(t, await Server.start(t));
    await press(page, "Record");
    await page.getByRole("button", { name: /^Stop and send \(0:(0[4-9]|[1-5])/, pressed: true }).click();
    const job = page.locator("#jobs > li");
    await says(job, "Done");
    assert.match(await job.getByRole("heading").innerText(), /^recording .*\.webm$/);
    assert.match(words(await job.locator(".output").innerText()), /my fellow american/);
    await page.getByRole("button", { name: "Record", exact: true, pressed: false }).waitFor();
  });

  test("a job that waits says its place, outlives a reload, and can be called off", async (t) => {
    const { server, rb, busy } = await occupied(t);
    const page = await open(t, server);
    assert.deepEqual(await page.locator("#task option").allInnerTexts(), ["transcribe", "demo"]);
    await page.getByLabel("Task").selectOption("transcribe");
    await choose(page, speech, noise("noise.wav"));
    const [first, second] = [card(page, "jfk.wav"), card(page, "noise.wav")];
    await says(first, /Waiting: place \d in the queue/);
    await says(second, /Waiting: place \d in the queue/);
    await page.reload();
    await says(first, /Waiting: place \d in the queue/);
    await press(second, "Cancel: noise.wav");
    await says(second, "Canceled.");
    await says(first, "Waiting: place 1 in the queue");
    await rb.cancel(busy);
    await says(first, "Done");
    assert.equal(words((await first.locator("p > span:last-child").allInnerTexts()).join(" ")), SAID);
  });

  test("a server that dies and comes back owes the job still", async (t) => {
    const { server, rb, busy } = await occupied(t);
    const page = await open(t, server);
    await page.getByLabel("Task").selectOption("transcribe");
    await choose(page, speech);
    const job = card(page, "jfk.wav");
    await says(job, "Waiting");
    await server.kill();
    await says(job, "The server cannot be reached.");
    await says(job, "Trying again in");
    await server.again();
    await says(job, "Waiting");
    await rb.cancel(busy);
    await says(job, "Done");
    assert.equal(words((await job.locator("p > span:last-child").allInnerTexts()).join(" ")), SAID);
  });

  test("a full queue is called full, and the file is sent when there is room", async (t) => {
    const { server, rb, work } = await occupied(t, "--max-queued", "1");
    const waiting = await work("second");
    const page = await open(t, server);
    await page.getByLabel("Task").selectOption("demo");
    await choose(page, noise("early.wav"));
    const early = card(page, "early.wav");
    await says(early, /The queue is full: .* Trying again in \d+ s\./);
    await says(early, /The queue is full: .* Try again in a while\./);
    await choose(page, noise("late.wav", 9));
    await says(card(page, "late.wav"), /The queue is full: .* Trying again in \d+ s\./);
    await press(early, "Remove: early.wav");
    const mayLeave = () => page.evaluate(() => dispatchEvent(new Event("beforeunload", { cancelable: true })));
    assert.equal(await mayLeave(), false, "the file would not be sent");
    await rb.cancel(waiting);
    await says(card(page, "late.wav"), "Waiting: place 1");
    assert.equal(await mayLeave(), true);
    assert.equal(await page.locator("#jobs > li").count(), 1);
  });

  test("a file that is too large is told the limit", async (t) => {
    const page = await open(t, await Server.start(t, "--demo", "--max-body", "1MiB"));
    await choose(page, noise("long.wav", 30_000_000));
    await says(card(page, "long.wav"), "The file is too large: this server takes 1.0 MB at most.");
  });

  test("a key is asked for, and the job goes on when it is right", async (t) => {
    const key = "sesame-sesame-sesame";
    const page = await open(t, await Server.start(t, "--demo", "--api-key", key));
    await page.getByLabel("Task").selectOption("demo");
    await choose(page, noise("secret.wav"));
    const job = card(page, "secret.wav");
    await says(job, "The server asks for a key");
    const field = page.getByLabel("The server’s key");
    await field.evaluate((field) => field === document.activeElement || Promise.reject("the key is asked for"));
    await page.keyboard.type("wrong-wrong-wrong-wrong\n");
    await says(job, "The server asks for a key");
    await field.fill("schlüssel");
    await field.press("Enter");
    await page.getByRole("alert").filter({ hasText: "That is not a key" }).waitFor();
    await field.fill(key);
    await field.press("Enter");
    await says(job, "Done");
    await page.reload();
    await says(job, "Done");
  });

  test("a job that is no longer there is called that", async (t) => {
    const { server, rb } = await occupied(t);
    const page = await open(t, server);
    await page.getByLabel("Task").selectOption("demo");
    await choose(page, noise("gone.wav"));
    const job = card(page, "gone.wav");
    await says(job, "Waiting");
    await page.context().setOffline(true);
    await says(job, "The server cannot be reached.");
    const [{ id }] = await rb.list({ state: "queued" });
    await rb.cancel(id);
    await rb.cancel(id);
    await page.context().setOffline(false);
    await says(job, "The server does not have this job any more");
    await job.getByRole("button", { name: "Send again: gone.wav" }).waitFor();
    await page.reload();
    await page.getByText("None yet.").waitFor();
  });

  test("garbage for an answer is called that, and asked for again", async (t) => {
    const page = await open(t, await Server.start(t, "--demo"));
    await page.getByLabel("Task").selectOption("demo");
    await page.route(/\/jobs/, (route) => route.fulfill({ status: 200, body: "<h1>Welcome to the hotel" }));
    await choose(page, noise("lost.wav"));
    const job = card(page, "lost.wav");
    await says(job, "Something that is not ringback answered, with status 200.");
    await page.unroute(/\/jobs/);
    await press(job, "Try again: lost.wav");
    await says(job, "Done");
  });

  test("hostile names and results are text", async (t) => {
    const page = await open(t, await Server.start(t, "--demo"), "/", { viewport: { width: 360, height: 800 } });
    const evil = `<img src=x onerror="alert(1)"><script>alert(1)</script>'"&amp;</h3>`;
    const names = [`${evil}.wav`, "\u202egpj.exe\u2066\u200f.wav", `${"n".repeat(10_000)}.wav`, " \u0000\n.wav"];
    await page.getByLabel("Task").selectOption("demo");
    const { href } = new URL(page.url());
    await page.route(/\/jobs\/[^/]+\?/, async (route) => {
      const { "if-none-match": _, ...headers } = route.request().headers();
      const answer = await route.fetch({ headers });
      const job = await answer.json();
      const data = job.data && `${evil}\u202e${"w".repeat(5000)}`;
      const warnings = data && [{ code: "lost", message: evil, at_s: 61 }, { code: "x", message: "w".repeat(500) }];
      await route.fulfill({ response: answer, json: { ...job, task: "transcribe", data, warnings } });
    });
    const segments = [{ start: 0, end: 1, text: evil }, { start: 1, end: 2, text: `\u202e${"w".repeat(5000)}` }];
    await page.route(/format=verbose_json/, (route) => route.fulfill({ json: { segments } }));
    const all = () => document.querySelectorAll(".succeeded").length === 4;
    await choose(page, ...names.map((name, n) => noise(name, n + 1)));
    await page.waitForFunction(all);
    assert.equal(await page.locator("main img, main script, #jobs h3 h3").count(), 0);
    const warned = page.getByRole("list", { name: /^Warnings: / }).first();
    assert.deepEqual(await warned.locator("li").allInnerTexts(), [`1:01 ${evil}`, "w".repeat(500)]);
    assert.equal(await page.locator("h3").last().innerText(), names[0]);
    assert.equal(await page.locator("#jobs > li").last().locator("p > span").first().innerText(), evil);
    const titles = await page.locator("h3").allTextContents();
    assert(titles.every((title) => title.length < 200), "long names are cut");
    assert.deepEqual([titles[0], titles[2]], [".wav", "gpj.exe.wav"], "what cannot be seen is left out");
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, "nothing runs over");
    assert.equal(page.url(), href);
    await page.reload();
    await page.waitForFunction(all);
    assert.equal(await page.locator("main img, main script, #jobs h3 h3").count(), 0);
    // What this browser remembers may be anybody's as well.
    for (const garbage of ["{", "{}", "[null, 1, {\"id\": 7}]", `[{"id": "../../${evil}", "name": null}]`]) {
      await page.evaluate((garbage) => localStorage.setItem("ringback-jobs", garbage), garbage);
      await page.reload();
      await page.getByRole("heading", { name: "Your jobs" }).waitFor();
      assert.equal(await page.locator("main img, main script").count(), 0);
    }
  });

  test("every control has a name, the keyboard is enough, and the focus is not lost", async (t) => {
    const page = await open(t, await Server.start(t, "--demo"));
    const named = async () => {
      const all = await controls(page);
      assert.deepEqual(all.filter(({ name }) => !name.trim()), [], "every control has a name");
      return all.map(({ role, name }) => `${role}: ${name}`);
    };
    const focused = () => page.evaluate(() => document.activeElement.innerText || document.activeElement.id);
    const empty = await named();
    for (const expected of ["button: Choose files", "button: Record", "link: The queue at work"]) {
      assert(empty.some((control) => control.startsWith(expected)), `${expected} in ${empty}`);
    }
    await page.getByLabel("Task").selectOption("transcribe");
    await choose(page, speech, noise("broken.wav"));
    await named();
    await card(page, "jfk.wav").getByRole("button", { name: "Cancel: jfk.wav" }).focus();
    await says(card(page, "jfk.wav"), "Done");
    assert.equal(await focused(), "jfk.wav", "the button is gone, and its place is kept");
    await says(card(page, "broken.wav"), "The file cannot be decoded");
    const done = await named();
    for (const expected of ["button: 0:00: play from here", "button: Copy: jfk.wav", "button: Send again: broken.wav"]) {
      assert(done.includes(expected), `${expected} in ${done}`);
    }
    await page.getByRole("status").filter({ hasText: /done|decoded/ }).waitFor();

    // By the keyboard alone: to the first time, then to the first card's removal, then to the other's.
    const reach = async (name) => {
      for (let tabs = 0; tabs < 60; tabs += 1) {
        if (await page.evaluate(() => document.activeElement.getAttribute("aria-label")) === name) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`${name} cannot be reached`);
    };
    await page.locator("#file").focus();
    await reach("Remove: broken.wav");
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "jfk.wav");
    await reach("0:00: play from here");
    await page.keyboard.press("Space");
    await page.waitForFunction(() => !document.querySelector("audio").paused);
    await reach("Remove: jfk.wav");
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "file");
  });

  test("it fits a phone, and is light or dark", async (t) => {
    const server = await Server.start(t, "--demo");
    const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, colorScheme: "dark" };
    const page = await open(t, server, "/", phone);
    await page.getByLabel("Task").selectOption("transcribe");
    await page.getByText("API key").click();
    await choose(page, speech);
    await says(card(page, "jfk.wav"), "Done");
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    const small = await page.evaluate(() => [...document.querySelectorAll("button, select, input, summary, nav a")]
      .filter((one) => one.offsetParent && one.getBoundingClientRect().height < 40)
      .map((one) => one.outerHTML));
    assert.deepEqual(small, [], "big enough for a finger");
    const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const dark = await ground();
    await page.emulateMedia({ colorScheme: "light" });
    assert.notEqual(await ground(), dark);
  });

  test("all of it is one small answer", async (t) => {
    const server = await Server.start(t, "--demo");
    const page = await open(t, server);
    const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
    assert.deepEqual(loaded.filter((name) => !name.startsWith("data:")), []);
    const html = await fetch(server.url, { headers: { Accept: "text/html" } });
    assert.match(html.headers.get("content-security-policy"), /default-src 'none'; script-src 'sha256-/);
    const client = await fetch(`${server.url}/ringback.js`);
    const bytes = (await html.arrayBuffer()).byteLength + (await client.arrayBuffer()).byteLength;
    assert(bytes < 60_000, `${bytes} bytes`);
  });
});
