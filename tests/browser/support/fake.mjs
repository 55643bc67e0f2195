// A server that says what a test tells it to, and one that loses what the real server answers.
import { once } from "node:events";
import { createServer, request } from "node:http";

/** Answers each request with the next of `answers`, and further ones with the last; `asked` holds them all. */
export async function fake(t, ...answers) {
  const asked = [];
  const server = await listen(t, async (request, response) => {
    const body = await wholeOf(request);
    const answer = answers[Math.min(asked.length, answers.length - 1)];
    asked.push({ method: request.method, path: request.url, headers: request.headers, body, at: Date.now() });
    answer(response, request);
  });
  return { url: server, asked };
}

/** Answers with JSON, or with text as it is. */
export const says = (status, body, headers = {}) => (response) => {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
};

/** Closes the connection instead of answering. */
export const drops = (response) => response.destroy();

/** Answers half of what it promised. */
export const breaksOff = (response) => {
  response.writeHead(200, { "Content-Length": "1000" });
  response.write('{"id":"1","state":', () => response.destroy());
};

/** Passes every request on to `target`, but drops the first `count` answers to `POST`s that it gave. */
export async function forgetful(t, target, count) {
  const kept = [];
  const url = await listen(t, async (incoming, outgoing) => {
    const body = await wholeOf(incoming);
    const { method, headers, url: path } = incoming;
    const passed = request(new URL(path, target), { method, headers, agent: false });
    passed.on("error", () => outgoing.destroy());
    passed.on("response", async (answer) => {
      const content = await wholeOf(answer);
      if (method === "POST") kept.push(answer);
      if (method === "POST" && kept.length <= count) outgoing.destroy();
      else outgoing.writeHead(answer.statusCode, answer.headers).end(content);
    });
    passed.end(body);
  });
  return { url, kept };
}

async function listen(t, onRequest) {
  const server = createServer(onRequest).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

async function wholeOf(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}
