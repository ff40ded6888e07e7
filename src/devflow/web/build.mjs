// Builds the pages' styles and scripts: static/{css,js,img} → static/build/NAME-HASH.ext and static/build/manifest.json.
// Every name carries the hash of its content, so the files may be cached for ever.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const web = fileURLToPath(new URL(".", import.meta.url));
const root = join(web, "../../..");
const source = join(web, "static");
const out = join(source, "build");

const TARGET = ["chrome111", "firefox121", "safari16.4"];

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const manifest = { ...(await scripts()), ...(await styles()), ...images() };
Object.assign(manifest, await worker());
compress();
writeFileSync(join(out, "licenses.txt"), licenses());
writeFileSync(join(out, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
console.log(Object.entries(manifest).map(([name, built]) => `${name} → ${built}`).join("\n"));

/** One entry per page: each file directly in static/js; what they share becomes a chunk of its own. */
async function scripts() {
  const pages = readdirSync(join(source, "js")).filter((name) => name.endsWith(".js"));
  const result = await esbuild.build({
    ...common(),
    entryPoints: pages.map((name) => join(source, "js", name)),
    splitting: true,
    format: "esm",
  });
  return entries(result, ".js");
}

/** Tailwind writes the classes that the templates use; esbuild adds the fonts and minifies. */
async function styles() {
  const folder = mkdtempSync(join(tmpdir(), "devflow-css-"));
  const tailwind = join(folder, "tailwind.css");
  const cli = join(root, "node_modules/@tailwindcss/cli/dist/index.mjs");
  execFileSync(process.execPath, [cli, "--input", join(source, "css/app.css"), "--output", tailwind], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const entry = join(folder, "app.css");
  writeFileSync(entry, [join(source, "css/fonts.css"), tailwind].map((path) => `@import ${JSON.stringify(path)};`).join("\n"));
  const result = await esbuild.build({
    ...common(),
    entryPoints: [entry],
    loader: { ".woff2": "file" },
  });
  rmSync(folder, { recursive: true });
  const fonts = Object.keys(result.metafile.outputs).filter((path) => path.endsWith(".woff2"));
  return { ...entries(result, ".css"), ...Object.fromEntries(fonts.map((path) => [unhashed(path), basename(path)])) };
}

/** Icons and the manifests of the installable page, which name them, are copied under a hashed name. */
function images() {
  const built = {};
  const names = readdirSync(join(source, "img")).sort((a, b) => a.endsWith(".webmanifest") - b.endsWith(".webmanifest"));
  for (const name of names) {
    let content = readFileSync(join(source, "img", name));
    if (name.endsWith(".webmanifest")) {
      content = Buffer.from(content.toString().replace(/"([\w-]+\.(png|svg))"/g, (_, icon) => JSON.stringify(built[icon])));
    }
    built[name] = `${basename(name, extname(name))}-${hashOf(content)}${extname(name)}`;
    writeFileSync(join(out, built[name]), content);
  }
  return built;
}

/** The service worker knows all that was built, so that it changes with every version of it. */
async function worker() {
  const built = readdirSync(out).sort();
  const shell = Object.keys(manifest).filter((name) => /^(app\.(css|js)|geist-(mono-)?latin-wght-normal\.woff2|favicon-idle\.svg)$/.test(name));
  const chunks = built.filter((name) => name.startsWith("chunk-"));
  const known = {
    BUILT: built,
    SHELL: [...shell.map((name) => manifest[name]), ...chunks],
    VERSION: hashOf(built.join()),
    ICON: `/static/build/${manifest["icon-192.png"]}`,
    BADGE: `/static/build/${manifest["badge.png"]}`,
  };
  const result = await esbuild.build({
    ...common(),
    entryPoints: [join(source, "js/worker/service-worker.js")],
    define: Object.fromEntries(Object.entries(known).map(([name, value]) => [name, JSON.stringify(value)])),
  });
  return entries(result, ".js");
}

function hashOf(content) {
  return createHash("sha256").update(content).digest("hex").slice(0, 8).toUpperCase();
}

/** Beside every text a smaller one, which WhiteNoise gives to browsers that take it. */
function compress() {
  const texts = readdirSync(out).filter((name) => /\.(css|js|svg|webmanifest)$/.test(name));
  for (const path of texts.map((name) => join(out, name))) {
    const content = readFileSync(path);
    for (const [ending, smaller] of [["br", brotliCompressSync(content)], ["gz", gzipSync(content, { level: 9 })]]) {
      if (smaller.length < 0.9 * content.length) writeFileSync(`${path}.${ending}`, smaller);
    }
  }
}

/** What is carried along has to be carried along with its licence. */
function licenses() {
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf-8"));
  const carried = [...Object.keys(dependencies), "daisyui", "tailwindcss"];
  const texts = carried.map((name) => `${name}\n\n${readFileSync(join(root, "node_modules", name, "LICENSE"), "utf-8")}`);
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

function common() {
  return {
    bundle: true,
    minify: true,
    metafile: true,
    target: TARGET,
    outdir: out,
    entryNames: "[name]-[hash]",
    chunkNames: "chunk-[hash]",
    assetNames: "[name]-[hash]",
    legalComments: "none",
    logLevel: "warning",
  };
}

/** {"deployment.js": "deployment-3FZK2Q7B.js"}: the entry points among esbuild's outputs. */
function entries(result, extension) {
  const outputs = Object.entries(result.metafile.outputs);
  const found = outputs.filter(([path, output]) => output.entryPoint && path.endsWith(extension));
  return Object.fromEntries(
    found.map(([path]) => [unhashed(path), relative(out, join(process.cwd(), path))]),
  );
}

/** "x/app-3FZK2Q7B.css" → "app.css" */
function unhashed(path) {
  return basename(path).replace(/-[0-9A-Z]{8}(?=\.)/, "");
}
