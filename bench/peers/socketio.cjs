// Socket.IO: everybody is told by `emit`.
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const server = createServer((request, response) => {
  if (request.url !== "/publish") return;
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    io.emit("reading", JSON.parse(Buffer.concat(parts)));
    response.end("{}");
  });
});
const io = new Server(server);
server.listen(Number(process.argv[2]), "127.0.0.1");
