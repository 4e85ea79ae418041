// http2_client.js URL CA: asks over Node's http2 until stdin ends, some streams at once; a connection that was told to go is followed by a new one, and
// what is under way on it ends there.  A request that its library refuses itself, because a GOAWAY came before it was sent, is made again.
// Each answer is a line "ok METHOD", each other end "failed METHOD why".
"use strict";
const fs = require("fs");
const http2 = require("http2");

const [, , url, ca] = process.argv;
const body = Buffer.alloc(100000, "n");
let over = false, session = null;

function connection() {
	if (session === null) {
		const s = http2.connect(url, { ca: fs.readFileSync(ca) });
		const left = () => { session = session === s ? null : session; };
		s.on("goaway", left).on("close", left).on("error", (e) => { left(); console.log("failed connection", e.message); });
		session = s;
	}
	return session;
}

function ask(method) {
	return new Promise((done, failed) => {
		const on = connection();
		const r = on.request({ ":path": method === "POST" ? "/echo" : "/bytes/50000", ":method": method });
		let n = 0, status = 0;
		r.on("response", (h) => { status = h[":status"]; });
		r.on("data", (d) => { n += d.length; });
		r.on("end", () => (status === 200 && n === (method === "POST" ? 100000 : 50000) ? done() : failed(new Error(`${status} ${n}`))));
		r.on("error", (e) => {
			const unsent = r.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM && on !== session;
			(unsent ? ask(method) : Promise.reject(e)).then(done, failed);
		});
		r.end(method === "POST" ? body : undefined);
	});
}

async function repeat(method) {
	while (!over) {
		try {
			await ask(method);
			console.log("ok", method);
		} catch (e) {
			console.log("failed", method, e.code, e.message);
		}
		await new Promise((done) => setTimeout(done, 5));
	}
}

process.stdin.on("end", () => { over = true; }).resume();
Promise.all(["GET", "GET", "POST", "POST"].map(repeat)).then(() => session && session.close());
