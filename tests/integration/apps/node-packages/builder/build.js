#!/usr/bin/env node
const { mkdirSync, writeFileSync } = require("node:fs");

mkdirSync(process.argv[2], { recursive: true });
writeFileSync(`${process.argv[2]}/page.txt`, "built");
