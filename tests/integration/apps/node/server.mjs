import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const page = readFileSync(new URL("dist/index.html", import.meta.url));

createServer((request, response) => {
  response.end(request.url === "/up" ? "ok" : page);
}).listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
