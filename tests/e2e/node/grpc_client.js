// grpc_client.js ADDRESS: calls /t.T of helpers/grpc_site.py by @grpc/grpc-js, all four kinds and failing ones, until stdin ends; each that
// was answered as it must be is a line "ok KIND", each other one "failed KIND why".
"use strict";
const grpc = require("@grpc/grpc-js");

const plain = { requestSerialize: (x) => Buffer.from(x), requestDeserialize: (x) => x, responseSerialize: (x) => x, responseDeserialize: (x) => x.toString() };
const method = (name, requestStream, responseStream) => ({ path: `/t.T/${name}`, requestStream, responseStream, ...plain });
const Client = grpc.makeGenericClientConstructor({
	unary: method("Unary", false, false), server: method("Server", false, true), client: method("Client", true, false),
	both: method("Both", true, true), fail: method("Fail", false, true),
});
// As it comes: a call that this library refuses itself because a GOAWAY has come, it makes again on the next connection.
const client = new Client(process.argv[2], grpc.credentials.createInsecure());
const STATUSES = ["NOT_FOUND", "UNAVAILABLE", "DATA_LOSS", "INTERNAL"];
let over = false;

function same(said, wanted) {
	if (JSON.stringify(said) !== JSON.stringify(wanted))
		throw new Error(`${JSON.stringify(said)} instead of ${JSON.stringify(wanted)}`);
}

// What a streaming call hears; said(call) is told of each message.
function heard(call, said = () => {}) {
	return new Promise((done, failed) => {
		const all = [];
		call.on("data", (x) => { all.push(x); said(call, all); });
		call.on("error", (e) => { failed(Object.assign(e, { all })); });
		call.on("end", () => done(all));
	});
}

const colors = (all) => new Set(all.map((x) => x.split(":")[0]));
const KINDS = {
	unary: () => new Promise((done, failed) => client.unary("x", (e, x) => (e ? failed(e) : done(same(x.split(":")[1], "x"))))),
	async server() {
		const all = await heard(client.server("5"));
		same([all.length, colors(all).size], [5, 1]);
	},
	client: () => new Promise((done, failed) => {
		const call = client.client((e, x) => (e ? failed(e) : done(same(x.split(":")[1], "3"))));
		for (const x of ["a", "b", "c"])
			call.write(x);
		call.end();
	}),
	// Each message when the one before it was heard: the stream lasts over flips and upgrades.
	async both() {
		const call = client.both();
		call.write("0");
		const all = await heard(call, (c, a) => setTimeout(() => (a.length < 50 && !over ? c.write(`${a.length}`) : c.end()), 20));
		same([all.map((x) => x.split(":")[1]), colors(all).size], [[...all.keys()].map(String), 1]);
	},
	async fail() {
		const name = STATUSES[Math.floor(Math.random() * STATUSES.length)], begun = Math.random() < 0.5;
		try {
			await heard(client.fail((begun ? "+" : "") + name));
		} catch (e) {
			same([e.code, e.details, e.metadata && e.metadata.get("x-why"), e.all.length], [grpc.status[name], "as it was asked: 100 % \u00fc", ["as asked"], begun ? 1 : 0]);
			return;
		}
		throw new Error("it did not fail");
	},
};

async function repeat(kind) {
	while (!over) {
		try {
			await KINDS[kind]();
			console.log("ok", kind);
		} catch (e) {
			console.log("failed", kind, e.code, e.message);
		}
		await new Promise((done) => setTimeout(done, 5));
	}
}

process.stdin.on("end", () => { over = true; }).resume();
Promise.all(Object.keys(KINDS).map(repeat)).then(() => client.close());
