// ringback.js as it is served, in Chromium: on the server's own pages and on another site's.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { open } from "./support/browser.mjs";
import { fake } from "./support/fake.mjs";
import { SAID, SPEECH, Server, words } from "./support/server.mjs";

const sound = (await readFile(SPEECH)).toString("base64");

test("on a page of the server's own it needs to be told nothing", async (t) => {
  const server = await Server.start(t);
  // A page without a policy of its own.
  const page = await open(t, server, "/livez");
  const { uploads, states, text } = await page.evaluate(async (sound) => {
    const { Ringback } = await import("/ringback.js");
    const rb = new Ringback();
    const bytes = Uint8Array.from(atob(sound), (c) => c.charCodeAt(0));
    const uploads = [], states = [];
    const job = await rb.submit(new File([bytes], "jfk.wav"), {}, { onUpload: (part) => uploads.push(part) });
    const done = await rb.result(job.id, { onUpdate: ({ state }) => states.push(state) });
    return { uploads, states, text: done.data };
  }, sound);
  assert.equal(uploads.at(-1), 1);
  assert.equal(states.at(-1), "succeeded");
  assert.equal(words(text), SAID);
});

test("the README's recipe works on a page of another site that the server lets in", async (t) => {
  const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
  const [, recipe] = readme.match(/```html\n<!-- a page of your own -->\n([^]*?)```/);
  const html = (response) => response.writeHead(200, { "Content-Type": "text/html" }).end(site.html);
  const site = await fake(t, html);
  const server = await Server.start(t, "--cors-origin", site.url);
  site.html = recipe.replaceAll("http://127.0.0.1:8080", server.url);
  assert.notEqual(site.html, recipe);
  const page = await open(t, { url: site.url, also: server.url });
  await page.setInputFiles("input", SPEECH);
  await page.waitForFunction(() => /country\.\s*$/.test(document.querySelector("output").textContent));
  assert.equal(words(await page.locator("output").innerText()), SAID);
});

test("a page of a site that nobody named is not let in", async (t) => {
  const site = await fake(t, (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<p>evil"));
  const server = await Server.start(t);
  const page = await open(t, { url: site.url, also: server.url });
  const said = await page.evaluate(async (url) => {
    const asked = [import(`${url}/ringback.js`), fetch(`${url}/jobs`, { method: "POST", body: new FormData() })];
    return (await Promise.allSettled(asked)).map(({ status }) => status);
  }, server.url);
  assert.deepEqual(said, ["rejected", "rejected"]);
});
