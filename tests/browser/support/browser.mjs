// Chromium on a page of a server, and watched: what it complains of, and what it asks others for,
// fails the test.
import assert from "node:assert/strict";
import { after } from "node:test";

import { chromium } from "playwright-core";

import { SPEECH } from "./server.mjs";

const browser = await chromium.launch({
  executablePath: process.env.RINGBACK_TEST_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    // As root, which the tests run as in a container, Chromium has no sandbox.
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    // The microphone hears the speech.
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-audio-capture=${SPEECH}%noloop`,
  ],
});
after(() => browser.close());

/** Milliseconds that anything on a page may take. */
export const PATIENCE = 45_000;

/** Opens `path` of the server in a browser that knows nothing yet. Requests may go there, and to `server.also`. */
export async function open(t, server, path = "/", options = {}) {
  const permissions = ["clipboard-read", "clipboard-write", "microphone"];
  const context = await browser.newContext({ permissions, ...options });
  context.setDefaultTimeout(PATIENCE);
  const complaints = [];
  t.after(async () => {
    await context.close();
    assert.deepEqual(complaints, [], "nothing to complain of");
  });
  const page = await context.newPage();
  watch(page, server, complaints);
  await page.goto(`${server.url}${path}`);
  return page;
}

function watch(page, server, complaints) {
  page.on("pageerror", (error) => complaints.push(String(error.stack)));
  page.on("dialog", (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
  page.on("console", (message) => {
    // Of an answer that is a refusal, or none, Chromium tells by itself.
    const isOwn = /^Failed to load resource|blocked by CORS policy/.test(message.text());
    if (message.type() === "error" && !isOwn) complaints.push(message.text());
  });
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    const stays = ["data:", "blob:"].includes(protocol) || [server.url, server.also].includes(origin);
    if (!stays) complaints.push(`asked for ${request.url()}`);
  });
}

/** The card of the job with this name. */
export function card(page, name) {
  return page.locator("#jobs > li").filter({ has: page.getByRole("heading", { name, exact: true }) });
}

/** Waits until the card says so. */
export async function says(card, text) {
  await card.locator(".state").filter({ hasText: text }).waitFor();
}

/** Everything in the accessibility tree that takes the focus or shows how far something is, as role and name. */
export async function controls(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  await session.detach();
  const focusable = ({ properties = [] }) =>
    properties.some(({ name, value }) => name === "focusable" && value.value);
  return nodes
    .filter((node) => !node.ignored && (focusable(node) || node.role.value === "progressbar"))
    .map((node) => ({ role: node.role.value, name: node.name?.value ?? "" }))
    .filter(({ role }) => role !== "RootWebArea");
}
