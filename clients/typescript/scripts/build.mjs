// Builds dist/client.js and dist/client.d.ts: one ES module, with nothing to import, readable as it is.
//
// TypeScript compiles file by file; this puts the files one after the other and leaves out what they import
// from each other. Two declarations of one name would be a syntax error, so nothing can be confused.
//
// With --check nothing is written: it fails if what is committed is not what the sources make.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { version, license } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Dependencies first. */
const FILES = [
  "errors", "topic", "backoff", "decode", "hints", "connection", "calls", "feed", "entry", "topics", "session", "client",
];
/** Those that declare what users see. */
const PUBLIC = ["errors", "topic", "backoff", "types", "client"];
/** What is there at run time. */
const EXPORTS = ["QuorateClient", "QuorateError", "canonicalJson", "topicName"];

/** Where the results belong; the crate carries its own copy, because a package holds only its own files. */
const SERVED = join(root, "../../crates/quorate-http/src/hub/client.js");

const tsc = join(root, "node_modules/typescript/bin/tsc");
const build = mkdtempSync(join(tmpdir(), "quorate-client-"));
let results;
try {
  execFileSync(process.execPath, [tsc, "-p", root, "--outDir", build], { stdio: "inherit" });
  const banner = `// @quorate/client ${version}, ${license}. Made from clients/typescript/src: change it there.\n`;
  // TypeScript indents by four, which half of what is served would consist of.
  const part = (name) => readFileSync(join(build, name), "utf8").trim().replace(/^(?: {4})+/gm, (blanks) => " ".repeat(blanks.length / 2));
  const script = FILES.map((name) => unlinked(part(`${name}.js`)).replace(/^export (?=(async )?(class|function|const))/gm, ""));
  const types = PUBLIC.map((name) => unlinked(part(`${name}.d.ts`)));
  const module = `${banner}\n${script.join("\n\n")}\n\nexport { ${EXPORTS.join(", ")} };\n`;
  results = new Map([
    [join(root, "dist/client.js"), module],
    [join(root, "dist/client.d.ts"), `${banner}\n${types.join("\n\n")}\n`],
    [SERVED, module],
  ]);
} finally {
  rmSync(build, { recursive: true, force: true });
}

/** Without its imports, all of which are of files that stand beside it. */
function unlinked(text) {
  const without = text.replace(/^import [^;]*? from "\.\/[a-z]+\.js";\n/gm, "");
  if (/^(import|export \*|export \{)/m.test(without)) throw new Error(`cannot be put into one file:\n${without.slice(0, 500)}`);
  return without.trim();
}

const stale = [...results].filter(([file, text]) => read(file) !== text);
if (process.argv.includes("--check")) {
  for (const [file] of stale) console.error(`${file} is not what the sources make: run \`npm run build\``);
  process.exitCode = stale.length === 0 ? 0 : 1;
  // And whether the types say what they are meant to.
  execFileSync(process.execPath, [tsc, "-p", join(root, "test")], { stdio: "inherit" });
} else {
  for (const [file, text] of stale) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    console.log(`wrote ${file}`);
  }
}

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}
