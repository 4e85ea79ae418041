// ws_client.js URL: talks to a WebSocket that echoes, with the client of `ws`;
// prints as JSON what it saw.
"use strict";
const crypto = require("crypto");
let WebSocket;
try {
	WebSocket = require("ws");
} catch {
	WebSocket = require("/usr/share/nodejs/ws");	// Debian's, where another Node does not look
}

const s = new WebSocket(process.argv[2], ["first", "second"], { perMessageDeflate: true });
const big = crypto.randomBytes(3000001);
const sent = ["hello", "ü€😀", "", "z".repeat(200000), big, Buffer.from([0, 255])];
const seen = { same: 0, pongs: 0 };

s.on("open", () => {
	seen.protocol = s.protocol;
	seen.extensions = s.extensions;
	s.ping("are you there");
	sent.forEach((m) => s.send(m));
	s.send("in ", { fin: false });
	s.send("two", { fin: true });
	sent.push("in two");
});
s.on("pong", (data) => { seen.pongs += data.toString() === "are you there"; });
s.on("message", (data, binary) => {
	const expected = sent[seen.same];
	if (binary !== Buffer.isBuffer(expected) || !data.equals(Buffer.from(expected)))
		throw new Error(`message ${seen.same} differs`);
	if (++seen.same === sent.length)
		s.send("bye");
});
s.on("close", (code, reason) => {
	seen.code = code;
	seen.reason = reason.toString();
	console.log(JSON.stringify(seen));
});
