// http_site.js PORT: a backend on Node's http and ws, for test_http_peers.py.
//
//	/echo		JSON: the request as Node read it, and a hash of its body
//	/refuse		403, before the body that waits to be asked for
//	/twisted	an answer whose header lines have odd cases, orders and twins
//	/trailers	a chunked answer with trailers
//	/chunks?n=	so many chunks and no length
//	/nothing	204
//	/down?size=	so many bytes (chunked=1: without a length); /hash: of the last of them
//	/events		server-sent events, one for each request for /tick
//	/ws		a WebSocket that echoes
"use strict";
const crypto = require("crypto");
const http = require("http");
const url = require("url");
let ws;
try {
	ws = require("ws");
} catch {
	ws = require("/usr/share/nodejs/ws");	// Debian's, where another Node does not look
}

const block = crypto.randomBytes(1 << 20);
let last = "", ticks = 0;
const listeners = new Set();

function echo(req, res) {
	const digest = crypto.createHash("sha256");
	let size = 0;
	req.on("data", (d) => { size += d.length; digest.update(d); });
	req.on("end", () => {
		const body = JSON.stringify({
			method: req.method, url: req.url, version: req.httpVersion, headers: req.rawHeaders,
			trailers: req.rawTrailers, size, hash: digest.digest("hex"), continued: req.continued === true,
		});
		res.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
		res.end(body);
	});
}

function down(req, res, query) {
	const digest = crypto.createHash("sha256");
	let left = Number(query.size), n = 0;
	res.writeHead(200, query.chunked ? {} : { "Content-Length": left });
	(function more() {
		while (left > 0) {
			// The place shifts each time: what is lost or comes twice shows.
			const from = n++ % 4093;
			const part = block.subarray(from, from + Math.min(65536, left));
			left -= part.length;
			digest.update(part);
			if (!res.write(part))
				return res.once("drain", more);
		}
		last = digest.digest("hex");
		res.end();
	})();
}

function serve(req, res) {
	const { pathname, query } = url.parse(req.url, true);
	switch (pathname) {
	case "/echo":
		return echo(req, res);
	case "/refuse":
		res.writeHead(403, { "Content-Length": 0 });
		return res.end();
	case "/twisted":
		req.resume();
		res.writeHead(200, ["x-LOWER-Upper", "1", "Set-Cookie", "a=1; Path=/", "B", "2", "set-cookie", "b=2",
			"A", "3", "b", "4", "Content-Length", "2", "ETag", "W/\"x\"", "SET-COOKIE", "c=3"]);
		return res.end("ok");
	case "/trailers":
		res.writeHead(200, { Trailer: "X-Sum, X-Other" });
		res.write("first ");
		res.write("second");
		res.addTrailers([["X-Sum", "12"], ["X-Other", "b c"]]);
		return res.end();
	case "/chunks":
		for (let i = 0; i < Number(query.n); i++)
			res.write(`chunk ${i}\n`);
		return res.end();
	case "/nothing":
		res.writeHead(204);
		return res.end();
	case "/down":
		return down(req, res, query);
	case "/hash":
		return res.end(last);
	case "/events":
		res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
		res.write(": open\n\n");
		listeners.add(res);
		return res.on("close", () => listeners.delete(res));
	case "/tick":
		ticks++;
		listeners.forEach((l) => l.write(`id: ${ticks}\ndata: tick ${ticks}\n\n`));
		return res.end(String(ticks));
	case "/hello":
		return res.end("hello");
	}
	res.writeHead(404);
	return res.end();
}

const server = http.createServer({ keepAliveTimeout: 600000 }, serve);
server.on("checkContinue", (req, res) => {
	if (req.url !== "/refuse") {
		req.continued = true;
		res.writeContinue();
	}
	serve(req, res);
});

const sockets = new ws.WebSocketServer({ server, path: "/ws", perMessageDeflate: true,
	handleProtocols: (offered) => offered.has("second") ? "second" : false });
sockets.on("connection", (s) => {
	s.on("message", (data, binary) => data.toString() === "bye" ? s.close(4001, "as you say")
		: s.send(data, { binary }));
	s.on("error", () => {});
});

server.listen(Number(process.argv[2]), "127.0.0.1", 4096);
