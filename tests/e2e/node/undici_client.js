// undici_client.js URL CA: asks over HTTP/2 by undici until stdin ends; each answer is a line, and each failure.  Told to "rest" it says when it has
// nothing under way, until it is told to "go on".
"use strict";
const fs = require("fs");
const { Agent, request } = require("undici");

const [, , url, ca] = process.argv;
const dispatcher = new Agent({ allowH2: true, connections: 1, keepAliveTimeout: 600000, connect: { ca: fs.readFileSync(ca) } });
const body = Buffer.alloc(200000, "u");
let over = false, rest = null, go = () => {}, busy = 0;

async function ask(method) {
	while (!over) {
		if (rest !== null) {
			await rest;
			continue;
		}
		busy++;
		try {
			const r = await request(url, { method, dispatcher, body: method === "POST" ? body : undefined });
			console.log(r.statusCode, await r.body.text());
		} catch (e) {
			console.log("failed:", e.code, e.message);
		}
		if (--busy === 0 && rest !== null)
			console.log("resting");
		await new Promise((done) => setTimeout(done, 5));
	}
}

process.stdin.on("data", (words) => {
	if (words.toString() === "rest\n")
		rest = new Promise((done) => { go = done; });
	else
		rest = go();
	rest = rest || null;
	if (rest !== null && busy === 0)
		console.log("resting");
}).on("end", () => { over = true; go(); });
Promise.all(["GET", "GET", "POST"].map(ask)).then(() => dispatcher.close());
