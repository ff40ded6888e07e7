// Answers with its version; /slow takes 5 s, /socket sends back what it gets, /asked tells what was asked before. What it
// does wrong is in mode.txt.
const fs = require("fs");
const http = require("http");
const version = fs.readFileSync("version.txt", "utf8").trim();
const mode = fs.readFileSync("mode.txt", "utf8").trim();

const asked = [];

function answer(request) {
  if (request.url === "/host") return request.headers.host;
  if (request.url === "/asked") return asked.join(" ");
  return `version ${version} ${process.env.GREETING || ""}`.trim();
}

const server = http.createServer((request, response) => {
  const slow = request.url === "/slow" ? 5000 : 0;
  const isIll = mode === "ill" || (mode === "well once" && asked.length > 0);
  setTimeout(() => {
    response.statusCode = isIll ? 500 : 200;
    response.end(answer(request));
    asked.push(request.url);
  }, slow);
});
server.on("upgrade", (request, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  socket.on("data", (data) => socket.write(data));
  socket.on("error", () => {});
});
if (mode === "dies") setTimeout(() => process.exit(3), 4000);
if (mode === "dies at once") process.exit(4);
setTimeout(() => server.listen(process.env.PORT, "127.0.0.1"), mode === "slow start" ? 6000 : 0);
