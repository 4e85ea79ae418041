// socket_io_server.js PORT NAME: a server of socket.io that says who has heard
// what, and by which way it came.
"use strict";
const http = require("http");
const { Server } = require("socket.io");

const [port, name] = process.argv.slice(2);
const site = http.createServer((req, res) => res.end(name));
const io = new Server(site, { pingInterval: 1000, pingTimeout: 20000, maxHttpBufferSize: 1e7 });

io.on("connection", (socket) => {
	socket.on("say", (n, data, answer) => answer({ n, name, way: socket.conn.transport.name, data }));
});
site.listen(Number(port), "127.0.0.1");
