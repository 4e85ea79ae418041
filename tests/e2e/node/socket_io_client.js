// socket_io_client.js URL WAY[,WAY]: a client of socket.io that says one thing
// after the other, each until it was answered; prints the answers, line by line,
// until it is told nothing more.
"use strict";
const crypto = require("crypto");
const { io } = require("socket.io-client");

const [url, ways] = process.argv.slice(2);
const socket = io(url, { transports: ways.split(","), reconnectionDelay: 20, reconnectionDelayMax: 100,
	retries: 1000, ackTimeout: 2000 });
let over = false;

function say(n) {
	// Now and then something that is no single packet; and bytes, which are frames of their own.
	const data = n % 10 === 3 ? crypto.randomBytes(300000) : `text ${n} äöü`;
	socket.emit("say", n, data, (error, answer) => {
		if (error)
			throw error;
		const same = Buffer.isBuffer(data) ? data.equals(Buffer.from(answer.data)) : data === answer.data;
		console.log(JSON.stringify({ n: answer.n, name: answer.name, way: answer.way, same }));
		if (over)
			socket.close();
		else
			setTimeout(say, 5, n + 1);
	});
}
say(0);
process.stdin.on("end", () => { over = true; }).resume();
