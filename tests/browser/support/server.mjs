// The real program in a process of its own, on a port and a folder of its own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const root = new URL("../../..", import.meta.url).pathname;
const PROGRAM = process.env.RINGBACK_TEST_PROGRAM ?? join(root, "target/debug/ringback");
const MODEL = process.env.RINGBACK_TEST_MODEL ?? join(root, "models/ggml-tiny.en.bin");

/** Eleven seconds of speech, and what is said in them. */
export const SPEECH = join(root, "tests/audio/jfk.wav");
export const SAID = "and so my fellow americans ask not what your country can do for you "
  + "ask what you can do for your country";
/** What two transcripts of the same speech agree in. */
export const words = (text) => text.toLowerCase().match(/[a-z]+/g).join(" ");

export class Server {
  #arguments; #folder; #child; #said = [];

  constructor(folder, args) {
    this.#folder = folder;
    this.#arguments = args;
  }

  /** Starts `ringback serve` with further arguments; it ends with the test `t`. */
  static async start(t, ...args) {
    const server = new Server(await mkdtemp(join(tmpdir(), "ringback-browser-")), args);
    t.after(async () => {
      await server.kill();
      await rm(server.#folder, { recursive: true });
    });
    await server.#listen("127.0.0.1:0");
    return server;
  }

  /** Ends it as a power cut would, as far as a process can. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  /** Starts it again where it was, on the same folder. */
  async again() {
    await this.#listen(new URL(this.url).host);
  }

  async #listen(address) {
    const fixed = ["serve", "--listen", address, "--data", this.#folder, "--model", MODEL, "--threads", "1"];
    this.#child = spawn(PROGRAM, [...fixed, ...this.#arguments], { stdio: ["ignore", "ignore", "pipe"] });
    const lines = createInterface({ input: this.#child.stderr });
    this.url = await new Promise((resolve, reject) => {
      lines.on("line", (line) => {
        this.#said.push(line);
        const [, url] = line.match(/listening on (http:\S+)/) ?? [];
        if (url) resolve(url);
      });
      this.#child.on("error", reject);
      const unable = () => new Error(`the server does not start; it said:\n${this.#said.join("\n")}`);
      this.#child.on("exit", () => reject(unable()));
    });
  }
}
