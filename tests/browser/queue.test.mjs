// The teaching view, in Chromium: how a queue fills, refuses and drains.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { controls, open } from "./support/browser.mjs";
import { Ringback } from "./support/client.mjs";
import { Server } from "./support/server.mjs";

const cell = (page, id) => page.locator(`#${id}`).innerText();
const until = (page, id, expected) =>
  page.locator(`#${id}`).filter({ hasText: new RegExp(`^${expected}$`) }).waitFor();

describe("the teaching view", { concurrency: 2 }, () => {
  test("a burst fills the queue to its bound, is refused, and drains", async (t) => {
    const server = await Server.start(t, "--demo", "--workers", "2", "--max-queued", "10");
    const page = await open(t, server, "/queue");
    await until(page, "queued", 0);
    await until(page, "bound", 10);
    await page.getByLabel("Seconds each").fill("60");
    const said = page.locator("#burst-said");
    const burst = async (jobs) => {
      await page.getByLabel("Jobs", { exact: true }).fill(String(jobs));
      await page.getByRole("button", { name: "Send a burst" }).click();
      await said.filter({ hasText: `of ${jobs}.` }).waitFor();
    };
    // As many as there are workers; then more than there is room.
    await burst(2);
    await until(page, "running", 2);
    await burst(38);
    await said.filter({ hasText: "10 accepted, 28 refused (503 queue_full), of 38." }).waitFor();
    await until(page, "queued", 10);
    await page.locator("#drawing.full").waitFor();
    await until(page, "accepted-total", 12);
    await until(page, "refused-total", 28);
    assert.equal(await page.locator("#workers tr").filter({ hasText: "demo" }).count(), 2);
    assert(Number(await cell(page, "accepted-rate")) > 0, "the rates move");

    const rb = new Ringback({ url: server.url });
    for (const state of ["queued", "running"]) {
      for (const job of await rb.list({ state, limit: 100 })) await rb.cancel(job);
    }
    await until(page, "queued", 0);
    await until(page, "running", 0);
    assert.equal(await page.locator("#drawing.full").count(), 0);

    const all = await controls(page);
    assert.deepEqual(all.filter(({ name }) => !name.trim()), [], "every control has a name");
  });

  test("without JavaScript it is a table", async (t) => {
    const server = await Server.start(t, "--demo", "--workers", "1", "--max-queued", "7");
    const rb = new Ringback({ url: server.url });
    const busy = await rb.submit(new Blob(["busy"]), { task: "demo", seconds: 60 });
    while ((await rb.job(busy)).state !== "running");
    const page = await open(t, server, "/queue", { javaScriptEnabled: false, viewport: { width: 360, height: 800 } });
    assert.equal(await cell(page, "bound"), "7");
    assert.equal(await cell(page, "running"), "1");
    assert.match(await page.locator("#workers").innerText(), new RegExp(busy.id));
    assert.equal(await page.getByRole("button", { name: "Send a burst" }).isVisible(), false);
  });

  test("a server that asks for a key is shown the one that the browser keeps", async (t) => {
    const key = "sesame-sesame-sesame";
    const server = await Server.start(t, "--demo", "--api-key", key);
    const page = await open(t, server, "/queue");
    await page.locator("#notice").filter({ hasText: "The server asks for a key." }).waitFor();
    await page.goto(server.url);
    await page.getByText("API key").click();
    await page.getByLabel("The server’s key").fill(key);
    await page.getByLabel("The server’s key").press("Enter");
    await page.getByRole("link", { name: "The queue at work" }).click();
    await until(page, "phase", "ready");
  });
});
