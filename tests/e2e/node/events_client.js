// events_client.js LIBRARY URL: listens to server-sent events with the EventSource of
// that library ("eventsource" or "undici"); prints as JSON lines what it is told.
"use strict";
const [library, url] = process.argv.slice(2);
const { EventSource } = require(library);
const source = new EventSource(url);

function say(event, data) {
	console.log(JSON.stringify({ event, data, closed: source.readyState === EventSource.CLOSED }));
	if (source.readyState === EventSource.CLOSED)
		process.exit(0);
}

source.onopen = () => say("open");
source.onmessage = (m) => say("message", m.data);
// It closes, if it does, before it says so or right after.
source.onerror = () => setImmediate(say, "error");
// While undici waits before it comes again nothing of it keeps the process alive.
setInterval(() => {}, 1000);
