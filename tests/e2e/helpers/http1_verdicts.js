// http1_verdicts.js - what Node's parser (llhttp) makes of the same bytes as
// http1_verdicts.c: the same records from stdin, the same lines for them.
'use strict';
const { HTTPParser, methods } = require('_http_common');

const hex = (b) => (b.length ? Buffer.from(b).toString('hex') : '-');

function verdict(kind, bytes) {
  const parser = new HTTPParser();
  const m = { headers: [], body: [], end: -1, first: '', target: '' };
  parser.initialize(kind === 'q' ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {});
  parser[HTTPParser.kOnHeaders | 0] = (headers) => { if (!m.read) m.headers.push(...headers); };
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, headers, method, url, status) => {
    if (headers) m.headers.push(...headers);
    m.url = url;
    m.read = true;
    m.first = kind === 'q' ? methods[method] : String(status);
    return kind === 'h' ? 1 : 0;
  };
  parser[HTTPParser.kOnBody | 0] = (b) => m.body.push(Buffer.from(b));
  parser[HTTPParser.kOnMessageComplete | 0] = () => { m.complete = true; };
  // Byte by byte: execute() does not say where a message ended.
  for (let i = 0; i < bytes.length && !m.complete; i++) {
    const r = parser.execute(bytes.subarray(i, i + 1));
    if (r instanceof Error && !m.complete) return 'bad ' + r.code;
    m.end = i + 1;
  }
  if (!m.complete) {
    const r = parser.finish();
    if (r instanceof Error) return 'more';
  }
  if (!m.complete) return 'more';
  let headers = '';
  for (let i = 0; i < m.headers.length; i += 2)
    headers += m.headers[i].toLowerCase() + '\0' + m.headers[i + 1].replace(/[ \t]+$/, '') + '\0';
  return ['ok', m.end, hex(Buffer.from(m.first, 'latin1')), hex(Buffer.from(m.url || '', 'latin1')),
    hex(Buffer.from(headers, 'latin1')), hex(Buffer.concat(m.body))].join(' ');
}

const input = require('fs').readFileSync(0);
const out = [];
for (let at = 0; at < input.length;) {
  const n = input.readUInt32LE(at + 1);
  out.push(verdict(String.fromCharCode(input[at]), input.subarray(at + 5, at + 5 + n)));
  at += 5 + n;
}
process.stdout.write(out.join('\n') + '\n');
