// Node's `ws`, with the broadcast that its README shows.
const { createServer } = require("node:http");
const { WebSocket, WebSocketServer } = require("ws");

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    wss.clients.forEach((client) => {
      if (client.readyState === WebSocket.OPEN) client.send(body, { binary: false });
    });
    response.end("{}");
  });
});
const wss = new WebSocketServer({ server });
wss.on("connection", (client) => client.on("error", () => {}));
server.listen(Number(process.argv[2]), "127.0.0.1");
