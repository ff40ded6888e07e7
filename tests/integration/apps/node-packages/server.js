const { createServer } = require("node:http");
const { existsSync, readFileSync } = require("node:fs");
const { greeting } = require("greeting");

const page = readFileSync(`${__dirname}/dist/page.txt`, "utf8");

createServer((request, response) => {
  const answers = {
    "/": greeting(process.env.GREETED ?? "nobody"),
    "/page": page,
    "/release": process.cwd(),
    "/builder": existsSync(`${__dirname}/node_modules/sample-builder`) ? "still there" : "gone",
  };
  response.end(answers[request.url] ?? "");
}).listen(Number(process.env.PORT), "127.0.0.1");
