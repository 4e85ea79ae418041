// undici_client.js URL CA: asks over HTTP/2 by undici until stdin ends; each answer is a line, and each failure.
"use strict";
const fs = require("fs");
const { Agent, request } = require("undici");

const [, , url, ca] = process.argv;
const dispatcher = new Agent({ allowH2: true, connections: 1, keepAliveTimeout: 600000, connect: { ca: fs.readFileSync(ca) } });
const body = Buffer.alloc(200000, "u");
let over = false;

async function ask(method) {
	while (!over) {
		try {
			const r = await request(url, { method, dispatcher, body: method === "POST" ? body : undefined });
			console.log(r.statusCode, await r.body.text());
		} catch (e) {
			console.log("failed:", e.code, e.message);
		}
		await new Promise((done) => setTimeout(done, 5));
	}
}

process.stdin.on("end", () => { over = true; }).resume();
Promise.all(["GET", "GET", "POST"].map(ask)).then(() => dispatcher.close());
