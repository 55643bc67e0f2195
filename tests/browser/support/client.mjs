// The module as it is served, loaded as Node loads modules: by what it says, and not from where.
import { readFile } from "node:fs/promises";

const source = await readFile(new URL("../../../src/http/page/ringback.js", import.meta.url), "utf8");
export const { Ringback, RingbackError } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
