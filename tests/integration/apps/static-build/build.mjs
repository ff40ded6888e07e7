// As Vite does it: the page at the top refers to sources; in dist it refers to files whose names hold their hash.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const style = readFileSync("src/site.css");
const name = `assets/site-${createHash("sha256").update(style).digest("hex").slice(0, 8)}.css`;
rmSync("dist", { recursive: true, force: true });
mkdirSync("dist/assets", { recursive: true });
writeFileSync(`dist/${name}`, style);
writeFileSync("dist/index.html", readFileSync("index.html", "utf8").replace("/src/site.css", `/${name}`));
