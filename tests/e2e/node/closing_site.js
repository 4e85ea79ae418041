// closing_site.js PORT: a server as Node makes it: it closes connections that are kept
// for five seconds without a request.
"use strict";
const http = require("http");

http.createServer((req, res) => {
	req.resume();
	req.on("end", () => res.end(req.method));
}).listen(Number(process.argv[2]), "127.0.0.1");
