"""Hostile requests and responses, each with the verdict that the RFCs give.

A request's row is (why, bytes, verdict): a status, and then not one byte of it goes to a backend;
PASS, perhaps with what must and what must not be in what the backend gets; or BROKEN with a status: its
head was good, so that it may have gone on before its body turned out bad, but the backend never gets a
whole request. A response's row is (why, bytes, verdict): PASS, 502, or CUT: what was wrong came after its head
had gone on, so that the client must see it end too early.
Numbers: sections of RFC 9112, or where they begin with 9110, 3986, 6585 of those.
"""


class Pass:
    def __init__(self, has=(), lacks=(), first=None, answers=1):
        self.has, self.lacks, self.first, self.answers = has, lacks, first, answers


class Broken:
    """400 or what is said; the backend never gets a whole request."""

    def __init__(self, status=400):
        self.status = status


class Cut:
    """The client gets the head, and then no end that looks like one."""


PASS, CUT = Pass(), Cut()
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n"
HOST = b"Host: shop.example\r\n"
END = b"\r\n"


def get(*lines):
    return GET + HOST + b"".join(line + b"\r\n" for line in lines) + END


def post(*lines, body=b""):
    return POST + HOST + b"".join(line + b"\r\n" for line in lines) + END + body


def chunked(body, *lines):
    return post(b"Transfer-Encoding: chunked", *lines, body=body)


def old(*lines, method=b"GET", body=b""):
    return method + b" / HTTP/1.0\r\n" + b"".join(line + b"\r\n" for line in lines) + END + body


EVIL = b"GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"

REQUEST_LINES = [
    ("3 two spaces before the target", b"GET  / HTTP/1.1\r\n" + HOST + END, 400),
    ("3 two spaces before the version", b"GET /  HTTP/1.1\r\n" + HOST + END, 400),
    ("3 white space before the method", b" GET / HTTP/1.1\r\n" + HOST + END, 400),
    ("3 white space after the version", b"GET / HTTP/1.1 \r\n" + HOST + END, 400),
    ("3 tab after the method", b"GET\t/ HTTP/1.1\r\n" + HOST + END, 400),
    ("3 tab before the version", b"GET /\tHTTP/1.1\r\n" + HOST + END, 400),
    ("3 vertical tab before the version", b"GET /\x0bHTTP/1.1\r\n" + HOST + END, 400),
    ("3 HTTP/0.9", b"GET /\r\n", 400),
    ("3 no target", b"GET HTTP/1.1\r\n" + HOST + END, 400),
    ("3 only a method", b"GET\r\n\r\n", 400),
    ("3 a space within the target", b"GET /a b HTTP/1.1\r\n" + HOST + END, 400),
    ("2.2 bare LF after the request line", b"GET / HTTP/1.1\n" + HOST + END, 400),
    ("2.2 bare CR after the request line", b"GET / HTTP/1.1\r" + HOST + END, 400),
    ("2.2 CR CR LF after the request line", b"GET / HTTP/1.1\r\r\n" + HOST + END, 400),
    ("2.2 a lone LF before the request", b"\n" + get(), 400),
    ("2.2 a lone CR before the request", b"\r" + get(), 400),
    ("2.2 an empty line before the request", b"\r\n" + get(), PASS),
    ("2.2 two empty lines before the request", b"\r\n\r\n" + get(), PASS),
    ("2.3 HTTP/1.2", b"GET / HTTP/1.2\r\n" + HOST + END, 505),
    ("2.3 HTTP/1.9", b"GET / HTTP/1.9\r\n" + HOST + END, 505),
    ("2.3 HTTP/2.0", b"GET / HTTP/2.0\r\n" + HOST + END, 505),
    ("2.3 HTTP/3.0", b"GET / HTTP/3.0\r\n" + HOST + END, 505),
    ("2.3 HTTP/0.9 said aloud", b"GET / HTTP/0.9\r\n" + HOST + END, 505),
    ("2.3 the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("2.3 http/1.1 in lower case", b"GET / http/1.1\r\n" + HOST + END, 400),
    ("2.3 HTTP/1", b"GET / HTTP/1\r\n" + HOST + END, 400),
    ("2.3 HTTP/1.1.1", b"GET / HTTP/1.1.1\r\n" + HOST + END, 400),
    ("2.3 HTTP/1.10", b"GET / HTTP/1.10\r\n" + HOST + END, 400),
    ("2.3 HTTP/01.1", b"GET / HTTP/01.1\r\n" + HOST + END, 400),
    ("2.3 HTTP/1,1", b"GET / HTTP/1,1\r\n" + HOST + END, 400),
    ("2.3 HTTP/-1.1", b"GET / HTTP/-1.1\r\n" + HOST + END, 400),
    ("2.3 HTTPS/1.1", b"GET / HTTPS/1.1\r\n" + HOST + END, 400),
    ("3.1 a parenthesis in the method", b"G(T / HTTP/1.1\r\n" + HOST + END, 400),
    ("3.1 a colon behind the method", b"GET: / HTTP/1.1\r\n" + HOST + END, 400),
    ("3.1 NUL in the method", b"G\0T / HTTP/1.1\r\n" + HOST + END, 400),
    ("3.1 UTF-8 in the method", b"G\xc3\x89T / HTTP/1.1\r\n" + HOST + END, 400),
    ("3.1 a method in quotes", b"\"GET\" / HTTP/1.1\r\n" + HOST + END, 400),
    ("3 a method of 33 letters", b"A" * 33 + b" / HTTP/1.1\r\n" + HOST + END, 501),
    ("3.1 a method nobody knows", b"FROBNICATE / HTTP/1.1\r\n" + HOST + END, Pass(first=b"FROBNICATE / HTTP/1.1")),
    ("3.1 methods are case-sensitive", b"get / HTTP/1.1\r\n" + HOST + END, Pass(first=b"get / HTTP/1.1")),
    ("3.2 NUL in the target", b"GET /\0 HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2 DEL in the target", b"GET /\x7f HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2 escape in the target", b"GET /\x1b[2J HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2 UTF-8 in the target", b"GET /caf\xc3\xa9 HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2 a fragment in the target", b"GET /a#b HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2 an asterisk for GET", b"GET * HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2 a relative target", b"GET index.html HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.3 an authority for GET", b"GET shop.example:80 HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.3 CONNECT, which is for forward proxies", b"CONNECT shop.example:443 HTTP/1.1\r\n" + HOST + END, 501),
    ("3.2.3 CONNECT with a path", b"CONNECT / HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.3 CONNECT without a port", b"CONNECT shop.example HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.2 an absolute target without host", b"GET http:///x HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.2 an absolute target with nothing", b"GET http:// HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.2 user information", b"GET http://a@shop.example/ HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.2 user information with a password", b"GET http://a:b@shop.example/ HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.2 another scheme", b"GET ftp://shop.example/ HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.2 a port that is none", b"GET http://shop.example:x/ HTTP/1.1\r\n" + HOST + END, 400),
    ("3.2.2 the target's authority wins over Host", b"GET http://shop.example:81/x?y HTTP/1.1\r\nHost: other\r\n" + END,
     Pass(first=b"GET /x?y HTTP/1.1", has=(b"\r\nHost: shop.example:81\r\n",), lacks=(b"other",))),
    ("3.2.2 an absolute target and no Host", b"GET http://shop.example/ HTTP/1.1\r\n\r\n", 400),
    ("3.2.4 OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + END, Pass(first=b"OPTIONS * HTTP/1.1")),
    ("3.2.4 OPTIONS of a host alone", b"OPTIONS http://shop.example HTTP/1.1\r\n" + HOST + END,
     Pass(first=b"OPTIONS * HTTP/1.1")),
    ("3 a target too long", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n" + HOST + END, 414),
    ("3 a request line without end", b"GET /" + b"a" * 300000, 414),
    ("a TLS client on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 64, 400),
    ("an ssh client", b"SSH-2.0-OpenSSH_9.2\r\n", 400),
    ("a PROXY header that nobody asked for", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(), 400),
    ("a response for a request", b"HTTP/1.1 200 OK\r\n\r\n", 400),
]

HEADERS = [
    ("2.2 bare LF between headers", GET + b"Host: a\nX: y\r\n\r\n", 400),
    ("2.2 bare LF as the blank line", GET + HOST + b"\n", 400),
    ("2.2 bare LF everywhere", get().replace(b"\r\n", b"\n"), 400),
    ("2.2 bare CR in a value", get(b"X: y\rZ: w"), 400),
    ("2.2 bare CR for the blank line", GET + HOST + b"\rX", 400),
    ("2.2 CR CR LF behind a value", get(b"X: y\r"), 400),
    ("5 white space before the first header", GET + b" Host: a\r\n\r\n", 400),
    ("5 a blank first line that is not empty", GET + b" \r\n" + HOST + END, 400),
    ("5.1 space before the colon", get(b"X : y"), 400),
    ("5.1 tab before the colon", get(b"X\t: y"), 400),
    ("5.1 space before the colon of Host", GET + b"Host : a\r\n\r\n", 400),
    ("5.1 space before the colon of Content-Length", post(b"Content-Length : 5", body=b"hello"), 400),
    ("5.1 space before the colon of Transfer-Encoding", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), 400),
    ("5.2 a folded line", get(b"X: y", b" z"), 400),
    ("5.2 a folded line with tab", get(b"X: y", b"\tz"), 400),
    ("5.2 a folded Transfer-Encoding", post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"), 400),
    ("5.2 a fold of nothing", get(b"X: y", b" "), 400),
    ("5 a line without a colon", get(b"X"), 400),
    ("5 a request line among the headers", get(b"GET /evil HTTP/1.1"), 400),
    ("9110 5.1 an empty name", get(b": y"), 400),
    ("9110 5.1 a parenthesis in a name", get(b"X(: y"), 400),
    ("9110 5.1 a slash in a name", get(b"X/Y: y"), 400),
    ("9110 5.1 UTF-8 in a name", get(b"X\xc3\xa9: y"), 400),
    ("9110 5.1 NUL in a name", get(b"X\0: y"), 400),
    ("9110 5.1 DEL in a name", get(b"X\x7f: y"), 400),
    ("9110 5.1 a control in a name", get(b"\x01X: y"), 400),
    ("9110 5.5 NUL in a value", get(b"X: y\0z"), 400),
    ("9110 5.5 escape in a value", get(b"X: \x1b[2J"), 400),
    ("9110 5.5 vertical tab in a value", get(b"X: y\x0bz"), 400),
    ("9110 5.5 form feed in a value", get(b"X: y\x0cz"), 400),
    ("9110 5.5 DEL in a value", get(b"X: \x7f"), 400),
    ("9110 5.5 obs-text passes", get(b"X: caf\xe9"), Pass(has=(b"X: caf\xe9\r\n",))),
    ("9110 5.5 tabs within pass", get(b"X: a\tb"), Pass(has=(b"X: a\tb\r\n",))),
    ("9110 5.5 an empty value passes", get(b"X:"), Pass(has=(b"\r\nX:\r\n",))),
    ("9110 5.1 all the token characters pass", get(b"!#$%&'*+-.^_`|~09aZ: y"), Pass(has=(b"!#$%&'*+-.^_`|~09aZ: y\r\n",))),
    ("6585 5 a header too long", get(b"X: " + b"y" * 300000), 431),
    ("6585 5 headers too long together", get(*[b"X%d: " % i + b"y" * 4000 for i in range(80)]), 431),
    ("6585 5 too many headers", get(*[b"X: y"] * 300), 431),
    ("6585 5 a header without end", GET + HOST + b"X" * 300000, 431),
    ("9110 7.6.1 a Connection that names too much", get(b"Connection: " + b", ".join(b"x%d" % i for i in range(99))), 400),
    ("9110 10.1.1 an expectation nobody knows", post(b"Expect: 200-ok", b"Content-Length: 0"), 417),
    ("9110 10.1.1 100-continue and something else", post(b"Expect: 100-continue, x", b"Content-Length: 0"), 417),
]

HOSTS = [
    ("3.2 no Host", GET + END, 400),
    ("3.2 an empty Host", GET + b"Host:\r\n\r\n", 400),
    ("3.2 a Host of blanks", GET + b"Host: \t \r\n\r\n", 400),
    ("3.2 Host twice, the same", GET + HOST + HOST + END, 400),
    ("3.2 Host twice, another", GET + HOST + b"host: evil\r\n\r\n", 400),
    ("3.2 Host twice in HTTP/1.0", old(b"Host: a", b"Host: b"), 400),
    ("3.2 two hosts in one Host", GET + b"Host: a, b\r\n\r\n", 400),
    ("3.2 a space in Host", GET + b"Host: a b\r\n\r\n", 400),
    ("3.2 a tab in Host", GET + b"Host: a\tb\r\n\r\n", 400),
    ("3986 3.2.1 user information in Host", GET + b"Host: u@a\r\n\r\n", 400),
    ("3986 3.2.2 a slash in Host", GET + b"Host: a/b\r\n\r\n", 400),
    ("3986 3.2.2 a backslash in Host", GET + b"Host: a\\b\r\n\r\n", 400),
    ("3986 3.2.2 a question mark in Host", GET + b"Host: a?b\r\n\r\n", 400),
    ("3986 3.2.2 a number sign in Host", GET + b"Host: a#b\r\n\r\n", 400),
    ("3986 3.2.2 a URL as Host", GET + b"Host: http://a\r\n\r\n", 400),
    ("3986 3.2.2 quotes in Host", GET + b"Host: \"a\"\r\n\r\n", 400),
    ("3986 3.2.2 markup in Host", GET + b"Host: <script>\r\n\r\n", 400),
    ("3986 3.2.2 UTF-8 in Host", GET + b"Host: caf\xc3\xa9\r\n\r\n", 400),
    ("3986 2.1 half an escape in Host", GET + b"Host: a%4\r\n\r\n", 400),
    ("3986 3.2.2 two dots at the end of Host", GET + b"Host: a..\r\n\r\n", 400),
    ("3986 3.2.2 a dot before Host", GET + b"Host: .a\r\n\r\n", 400),
    ("3986 3.2.2 an empty label in Host", GET + b"Host: a..b:80\r\n\r\n", 400),
    ("3986 3.2.2 only dots in Host", GET + b"Host: .\r\n\r\n", 400),
    ("3986 3.2.2 an empty label in the target", b"GET http://a../ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("3986 3.2.3 a port of letters", GET + b"Host: a:http\r\n\r\n", 400),
    ("3986 3.2.3 a port too large", GET + b"Host: a:65536\r\n\r\n", 400),
    ("3986 3.2.3 a negative port", GET + b"Host: a:-1\r\n\r\n", 400),
    ("3986 3.2.3 two ports", GET + b"Host: a:1:2\r\n\r\n", 400),
    ("3986 3.2.3 a port alone", GET + b"Host: :80\r\n\r\n", 400),
    ("3986 3.2.2 an IPv6 address without brackets", GET + b"Host: ::1\r\n\r\n", 400),
    ("3986 3.2.2 a bracket that stays open", GET + b"Host: [::1\r\n\r\n", 400),
    ("3986 3.2.2 something behind a bracket", GET + b"Host: [::1]x\r\n\r\n", 400),
    ("3986 3.2.2 no address in brackets", GET + b"Host: [a]\r\n\r\n", 400),
    ("6874 2 a zone", GET + b"Host: [fe80::1%25eth0]\r\n\r\n", Pass(has=(b"Host: [fe80::1%25eth0]\r\n",))),
    ("6874 2 a zone that is none", GET + b"Host: [fe80::1%25eth0/x]\r\n\r\n", 400),
    ("3.2 a bad Host in HTTP/1.0", old(b"Host: a b"), 400),
    ("3.2 a bad Host beside an absolute target", b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("3.2 no Host in HTTP/1.0 passes, and is made", old(), Pass(first=b"GET / HTTP/1.1", has=(b"\r\nHost: ",))),
    ("3.2 an IPv6 Host passes", GET + b"Host: [::1]:8080\r\n\r\n", Pass(has=(b"Host: [::1]:8080\r\n",))),
    ("3.2 an empty port passes", GET + b"Host: a:\r\n\r\n", PASS),
]

LENGTHS = [(f"9110 8.6 Content-Length: {value!r}", post(b"Content-Length: " + value, body=b"hello"), 400) for value in (
    b"", b"+5", b"-5", b"-0", b"5 5", b"5,5", b"5, 5", b"5,6", b"5;", b"0x5", b"5h", b"5.0", b"5e0", b"5_0", b"\"5\"", b"five",
    b"\xef\xbc\x95", b"9223372036854775808", b"18446744073709551616", b"18446744073709551621", b"99999999999999999999999",
    b"5\x0b", b"5\0", b"\x0c5")]
LENGTHS += [
    ("6.3 Content-Length twice, the same", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), 400),
    ("6.3 Content-Length twice, another", post(b"Content-Length: 5", b"content-length: 0", body=b"hello"), 400),
    ("6.3 Content-Length twice, far apart", post(b"Content-Length: 5", b"X: y", b"Content-Length: 6", body=b"hello!"), 400),
    ("6.3 Content-Length twice in HTTP/1.0", old(b"Content-Length: 5", b"Content-Length: 6", method=b"POST", body=b"hello"), 400),
    ("9110 8.6 leading zeros pass", post(b"Content-Length: 005", body=b"hello"), Pass(has=(b"hello",))),
    ("9110 8.6 a length of nothing passes", post(b"Content-Length: 0"), PASS),
    ("6.2 Content-Length ends the body", post(b"Content-Length: 5", body=b"hello") + get(),
     Pass(has=(b"\r\n\r\nhello",), lacks=(b"helloGET",), answers=2)),
    ("6.2 a request in a body is a body", post(b"Content-Length: %d" % len(EVIL), body=EVIL), Pass(has=(EVIL,))),
    ("9110 7.6.1 Connection cannot take the length away", post(b"Connection: content-length", b"Content-Length: %d" % len(EVIL), body=EVIL),
     Pass(has=(b"Content-Length: %d\r\n" % len(EVIL), EVIL))),
    ("CGI's spelling of a length is no length, and goes no further",
     post(b"Content-Length: 0", b"Content_Length: 44"), Pass(lacks=(b"Content_Length",))),
    ("a body of GET has its length too", GET + HOST + b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL, Pass(has=(EVIL,))),
]

CODINGS = [(f"6.1 Transfer-Encoding: {value!r}", post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n"), 400) for value in (
    b"", b",", b"chunked,", b",chunked", b"chunked, chunked", b"chunked;a=b", b"\"chunked\"", b"'chunked'", b"chunked chunked",
    b"xchunked", b"chunkedx", b"identity", b"gzip", b"chunked, identity", b"chunked, gzip", b"\x0bchunked", b"chunked\0", b"\x00chunked",
    b"chunked\x0c", b"chunk\xc3\xa9d", b"chunked;", b"{chunked}")]
CODINGS += [
    ("6.1 gzip, chunked", post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    ("6.1 identity, chunked", post(b"Transfer-Encoding: identity, chunked", body=b"0\r\n\r\n"), 501),
    ("6.1 codings over two lines", post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 501),
    ("6.1 chunked twice, over two lines", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    ("6.1 chunked, then identity in a second line", post(b"Transfer-Encoding: chunked", b"transfer-encoding: identity", body=b"0\r\n\r\n"), 400),
    ("6.3 Content-Length, then Transfer-Encoding", post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + EVIL), 400),
    ("6.3 Transfer-Encoding, then Content-Length", post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + EVIL), 400),
    ("6.3 Content-Length: 0 and Transfer-Encoding", post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    ("6.1 Transfer-Encoding in HTTP/1.0", old(b"Transfer-Encoding: chunked", method=b"POST", body=b"0\r\n\r\n"), 400),
    ("6.1 Transfer-Encoding and a length in HTTP/1.0",
     old(b"Transfer-Encoding: chunked", b"Content-Length: 5", method=b"POST", body=b"0\r\n\r\n"), 400),
    ("6.1 the coding hidden behind a bare LF", post(b"X: y\nTransfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"), 400),
    ("6.1 the coding hidden behind a bare CR", post(b"X: y\rTransfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"), 400),
    ("6.1 the coding with NUL in its name", post(b"Transfer\0-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"), 400),
    ("6.1 the coding's case does not matter, and becomes plain", post(b"TRANSFER-ENCODING: ChUnKeD", body=b"5\r\nhello\r\n0\r\n\r\n"),
     Pass(has=(b"TRANSFER-ENCODING: chunked\r\n", b"hello"))),
    ("9110 7.6.1 Connection cannot take the coding away", chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Connection: transfer-encoding"),
     Pass(has=(b"Transfer-Encoding: chunked\r\n",))),
    ("CGI's spelling of a coding is no coding, and goes no further",
     post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=b"hello"), Pass(lacks=(b"Transfer_Encoding",))),
]

CHUNKS = [(f"7.1 {body!r}", chunked(body), Broken()) for body in (
    b"\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n", b"5,\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\r\nhello\r\n0\r\n\r\n", b"5\0\r\nhello\r\n0\r\n\r\n",
    b"five\r\nhello\r\n0\r\n\r\n", b"5h\r\nhello\r\n0\r\n\r\n", b"5_\r\nhello\r\n0\r\n\r\n", b"\xd9\xa5\r\nhello\r\n0\r\n\r\n",
    b"00000000000000005\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\nhello",
    b"8000000000000000\r\nhello", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n", b"5\r\nhello!\r\n0\r\n\r\n",
    b"4\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\n", b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\n\rX",
    b"5;\r\nhello\r\n0\r\n\r\n", b"5;=b\r\nhello\r\n0\r\n\r\n", b"5;a=\r\nhello\r\n0\r\n\r\n", b"5;a b\r\nhello\r\n0\r\n\r\n", b"5;a=b c\r\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n", b"5;a\rb\r\nhello\r\n0\r\n\r\n", b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", b"5;a=\"b\nhello\r\n0\r\n\r\n",
    b"5;a=\"b\r\nhello\r\n0\r\n\r\n", b"5;a\0\r\nhello\r\n0\r\n\r\n", b"5;\nx\r\nhello\r\n0\r\n\r\n",
    b"0\r\n X: y\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\n: y\r\n\r\n", b"0\r\nX: y\n\r\n", b"0\r\nX: y\r\n z\r\n\r\n", b"0\r\nX: \0\r\n\r\n",
    b"0\r\nGET /evil HTTP/1.1\r\n\r\n")]
CHUNKS += [(f"9110 6.5.1 a trailer {name!r}", chunked(b"5\r\nhello\r\n0\r\n" + name + b": x\r\n\r\n"), Broken()) for name in (
    b"Content-Length", b"content_length", b"Transfer-Encoding", b"Host", b"Authorization", b"Cookie", b"Connection", b"Content-Type",
    b"Content-Encoding", b"Content-Range", b"Expect", b"TE", b"Trailer", b"X-Forwarded-For", b"X-Request-Id")]
CHUNKS += [
    ("7.1.1 extensions without end", chunked(b"5;" + b"a" * 100000 + b"\r\nhello\r\n0\r\n\r\n"), Broken()),
    ("7.1.1 extensions on every byte", chunked(b"".join(b"1;abcdefghijklmnopqrstuvwxyz=%026d\r\nx\r\n" % i for i in range(500)) + b"0\r\n\r\n"),
     Broken()),
    ("7.1.2 trailers without end", chunked(b"0\r\nX: " + b"y" * 100000 + b"\r\n\r\n"), Broken(431)),
    ("7.1.2 too many trailers", chunked(b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n"), Broken(431)),
    ("7.1.1 good extensions pass", chunked(b"5;a=b;c=\"d\\\" e\"\r\nhello\r\n0;z\r\n\r\n"), Pass(has=(b"hello",))),
    ("7.1.2 a good trailer passes", chunked(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"Trailer: X-Sum"), Pass(has=(b"hello", b"X-Sum: 1\r\n"))),
    ("7.1 zeros before a size pass", chunked(b"0000000000000005\r\nhello\r\n000\r\n\r\n"), Pass(has=(b"hello",))),
    ("7.1 chunks end the body", chunked(b"5\r\nhello\r\n0\r\n\r\n") + get(), Pass(has=(b"hello",), lacks=(b"\r\n\r\nGET",), answers=2)),
    ("7.1 a request in a chunk is data", chunked(b"%x\r\n" % len(EVIL) + EVIL + b"\r\n0\r\n\r\n"), Pass(has=(EVIL,))),
]

# With forwarded = true and nobody trusted.
HEADERS_OF_OURS = [
    ("what a stranger says of itself goes", get(
        b"X-Forwarded-For: 6.6.6.6", b"x-forwarded-for: 6.6.6.7", b"X_Forwarded_For: 6.6.6.8", b"X-Forwarded-Proto: evil",
        b"X_FORWARDED-PROTO: evil", b"X-Forwarded-Host: evil", b"X-Forwarded-Port: 666", b"X-Forwarded-Prefix: /evil", b"X-Real-IP: 6.6.6.9",
        b"Forwarded: for=6.6.6.10"), Pass(has=(b"X-Forwarded-For: 127.0.0.1\r\n",), lacks=(b"6.6.6", b"evil", b": 666\r"))),
    ("9110 7.6.1 Connection cannot take them away", get(b"Connection: x-forwarded-for, host, cookie, authorization", b"Cookie: c=d", b"Authorization: e"),
     Pass(has=(b"X-Forwarded-For: 127.0.0.1\r\n", b"\r\nHost: shop.example\r\n", b"Cookie: c=d\r\n", b"Authorization: e\r\n"))),
    ("9110 7.6.1 what is hop by hop goes", get(
        b"Connection: keep-alive, X-Secret", b"X-Secret: evil", b"Keep-Alive: evil", b"Proxy-Connection: evil", b"TE: evil", b"Upgrade: evil"),
     Pass(lacks=(b"evil", b"Connection"))),
    ("h2c would pass by the proxy", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
     Pass(lacks=(b"h2c", b"HTTP2", b"Upgrade"))),
    ("h2c beside websocket, too", get(b"Connection: upgrade", b"Upgrade: websocket, H2C", b"HTTP2-Settings: AAMAAABk"),
     Pass(lacks=(b"H2C", b"HTTP2", b"Upgrade"))),
    ("9110 7.8 Upgrade without Connection goes", get(b"Upgrade: websocket"), Pass(lacks=(b"websocket",))),
    ("an id that is none is replaced", get(b"X-Request-Id: \"evil\" <b>"), Pass(has=(b"X-Request-Id: ",), lacks=(b"evil",))),
    ("an id too long is replaced", get(b"X-Request-Id: " + b"evil" * 100), Pass(has=(b"X-Request-Id: ",), lacks=(b"evil",))),
    ("two ids are none", get(b"X-Request-Id: evil1", b"X-Request-Id: evil2"), Pass(has=(b"X-Request-Id: ",), lacks=(b"evil",))),
    ("a good id is kept", get(b"X-Request-Id: good-1"), Pass(has=(b"X-Request-Id: good-1\r\n",))),
]

REQUESTS = REQUEST_LINES + HEADERS + HOSTS + LENGTHS + CODINGS + CHUNKS + HEADERS_OF_OURS


def ok(*lines, body=b"", version=b"1.1", status=b"200 OK"):
    return b"HTTP/" + version + b" " + status + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + END + body


FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

RESPONSES = [
    ("4 no HTTP at all", b"220 mail.example ESMTP\r\n", 502),
    ("4 SSH", b"SSH-2.0-OpenSSH_9.2\r\n", 502),
    ("4 ICY", b"ICY 200 OK\r\n\r\n", 502),
    ("4 HTTP/0.9", b"<html></html>", 502),
    ("4 nothing", b"", 502),
    ("4 an empty line first", b"\r\n" + ok(b"Content-Length: 0"), 502),
    ("4 white space first", b" " + ok(b"Content-Length: 0"), 502),
    ("2.3 HTTP/2.0", ok(b"Content-Length: 0", version=b"2.0"), 502),
    ("9110 2.5 HTTP/1.2 is taken for 1.1", ok(b"Content-Length: 2", version=b"1.2", body=b"hi"), PASS),
    ("2.3 http in lower case", ok(b"Content-Length: 0").lower(), 502),
    ("4 no status", b"HTTP/1.1\r\n\r\n", 502),
    ("4 two digits", ok(b"Content-Length: 0", status=b"20 OK"), 502),
    ("4 four digits", ok(b"Content-Length: 0", status=b"2000 OK"), 502),
    ("4 letters", ok(b"Content-Length: 0", status=b"2xx OK"), 502),
    ("4 a negative status", ok(b"Content-Length: 0", status=b"-200 OK"), 502),
    ("9110 15 status 099", ok(b"Content-Length: 0", status=b"099 OK"), 502),
    ("9110 15 status 600", ok(b"Content-Length: 2", status=b"600 OK", body=b"hi"), 502),
    ("9110 15 status 999", ok(b"Content-Length: 2", status=b"999 OK", body=b"hi"), 502),
    ("4 two spaces before the status", ok(b"Content-Length: 0", status=b" 200 OK"), 502),
    ("4 NUL in the phrase", ok(b"Content-Length: 0", status=b"200 O\0K"), 502),
    ("4 escape in the phrase", ok(b"Content-Length: 0", status=b"200 \x1b[2J"), 502),
    ("4 no phrase passes", ok(b"Content-Length: 2", status=b"200 ", body=b"hi"), PASS),
    ("4 neither phrase nor space passes", ok(b"Content-Length: 2", status=b"200", body=b"hi"), PASS),
    ("2.2 bare LF", ok(b"Content-Length: 2", body=b"hi").replace(b"\r\n", b"\n"), 502),
    ("2.2 bare LF behind the status line", ok(b"Content-Length: 2", body=b"hi").replace(b"\r\n", b"\n", 1), 502),
    ("2.2 bare CR in a value", ok(b"X: y\rSet-Cookie: evil", b"Content-Length: 0"), 502),
    ("2.2 bare LF behind a value", ok(b"X: y\nZ: z", b"Content-Length: 2", body=b"hi"), 502),
    ("2.2 bare LF and a folded line", ok(b"X: y\n z", b"Content-Length: 2", body=b"hi"), 502),
    ("5 white space before the first header", ok(b" X: y", b"Content-Length: 0"), 502),
    ("5.2 a folded line", ok(b"X: y", b" z", b"Content-Length: 0"), 502),
    ("5.1 space before the colon", ok(b"X : y", b"Content-Length: 0"), 502),
    ("5.1 space before the colon of Content-Length", ok(b"Content-Length : 4", body=b"evil"), 502),
    ("5 a line without a colon", ok(b"X", b"Content-Length: 0"), 502),
    ("9110 5.1 an empty name", ok(b": y", b"Content-Length: 0"), 502),
    ("9110 5.1 a name that is no token", ok(b"X(Y): z", b"Content-Length: 0"), 502),
    ("9110 5.5 NUL in a value", ok(b"X: \0", b"Content-Length: 0"), 502),
    ("9110 5.5 a control in a value", ok(b"X: \x01", b"Content-Length: 0"), 502),
    ("a head without end", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 400000, 502),
    ("too many headers", ok(*[b"X: y"] * 400, b"Content-Length: 0"), 502),
    ("a head cut short", b"HTTP/1.1 200 OK\r\nContent-Le", 502),
    ("6.3 Content-Length and Transfer-Encoding",
     ok(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n\r\n" + FORGED), 502),
    ("6.3 Content-Length twice, the same", ok(b"Content-Length: 2", b"Content-Length: 2", body=b"hi"), 502),
    ("6.3 Content-Length twice, another", ok(b"Content-Length: 2", b"Content-Length: 40", body=b"hi" + FORGED), 502),
    ("6.1 Transfer-Encoding in HTTP/1.0", ok(b"Transfer-Encoding: chunked", version=b"1.0", body=b"2\r\nhi\r\n0\r\n\r\n"), 502),
    ("6.1 gzip, chunked, which nobody asked for", ok(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 502),
    ("6.1 chunked, identity", ok(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), 502),
    ("6.1 xchunked", ok(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 502),
    ("6.1 chunked twice", ok(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 502),
    ("6.1 the coding's case does not matter", ok(b"transfer-encoding: CHUNKED", body=b"2\r\nhi\r\n0\r\n\r\n"), PASS),
    ("a length that is cut short", ok(b"Content-Length: 40", body=b"hi"), CUT),
    ("7.1 chunks that are cut short", ok(b"Transfer-Encoding: chunked", body=b"5\r\nhe"), CUT),
    ("7.1 chunks without a last one", ok(b"Transfer-Encoding: chunked", body=b"2\r\nhi\r\n"), CUT),
    ("6.2 bytes behind the end are nobody's answer", ok(b"Content-Length: 2", body=b"hi" + FORGED), PASS),
    ("7.1 bytes behind the last chunk are nobody's answer", ok(b"Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n\r\n" + FORGED), PASS),
    ("6.3 204 has no body", ok(status=b"204 No Content", body=FORGED), PASS),
    ("6.3 204 has no body, whatever it claims",
     ok(b"Content-Length: 4", b"Transfer-Encoding: chunked", status=b"204 No Content", body=FORGED), PASS),
    ("6.3 304 has no body, whatever it claims",
     ok(b"Content-Length: 4", b"Content-Length: 5", status=b"304 Not Modified", body=FORGED), PASS),
    ("6.3 304 has no body", ok(b"Content-Length: 4", status=b"304 Not Modified", body=FORGED), PASS),
    ("9110 15.2 a 1xx before the answer", ok(status=b"103 Early Hints") + ok(b"Content-Length: 2", body=b"hi"), PASS),
    ("9110 15.2 many of them", ok(status=b"103 Early Hints") * 5 + ok(b"Content-Length: 2", body=b"hi"), PASS),
    ("9110 15.2.2 101 that nobody asked for", ok(b"Upgrade: evil", b"Connection: upgrade", status=b"101 Switching Protocols", body=b"evil"), 502),
    ("9110 7.6.1 what is hop by hop goes", ok(b"Connection: x-secret", b"X-Secret: evil", b"Keep-Alive: evil", b"Content-Length: 2", body=b"hi"),
     Pass(lacks=(b"evil",))),
    ("9110 7.6.1 Connection cannot take the length away", ok(b"Connection: content-length", b"Content-Length: 2", body=b"hi"), PASS),
    ("9110 5.5 obs-text passes", ok(b"X: caf\xe9", b"Content-Length: 2", body=b"hi"), Pass(has=(b"X: caf\xe9\r\n",))),
    ("6.3 until the connection ends", ok(body=b"hi", version=b"1.0"), PASS),
]
RESPONSES += [(f"9110 8.6 Content-Length: {value!r}", ok(b"Content-Length: " + value, body=b"hi"), 502) for value in (
    b"", b"+2", b"-2", b"2, 2", b"0x2", b"2 2", b"two", b"18446744073709551618", b"2;")]
RESPONSES += [(f"7.1 {body!r}", ok(b"Transfer-Encoding: chunked", body=body), CUT) for body in (
    b"0x2\r\nhi\r\n0\r\n\r\n", b"+2\r\nhi\r\n0\r\n\r\n", b"2\nhi\r\n0\r\n\r\n", b"2 \r\nhi\r\n0\r\n\r\n", b"2\r\nhi0\r\n\r\n", b"2\r\nhi\n0\r\n\r\n",
    b"10000000000000002\r\nhi\r\n0\r\n\r\n", b"2;\nhi\r\n0\r\n\r\n", b"2;a=\"\r\n\"\r\nhi\r\n0\r\n\r\n", b"2\r\nhi\r\n0\r\nX : y\r\n\r\n",
    b"2\r\nhi\r\n0\r\n\n", b"2\r\nhi\r\n0\r\nContent-Length: 2\r\n\r\n", b"2\r\nhi\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")]
RESPONSES += [(f"9110 6.5.1 a trailer {name!r} is left out", ok(b"Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n" + name + b": evil\r\nX-Sum: 1\r\n\r\n"),
               Pass(lacks=(b"evil",), has=(b"X-Sum: 1\r\n",)))
              for name in (b"Set-Cookie", b"Date", b"Expires", b"Location", b"set_cookie", b"X-Forwarded-For")]

# What of that is taken leniently, by why: how the client sees it, and how it is counted.
LENIENT = {
    "9110 15 status 600": (Pass(has=(b"HTTP/1.1 600 OK\r\n",)), "status"),
    "9110 15 status 999": (Pass(has=(b"HTTP/1.1 999 OK\r\n",)), "status"),
    "2.2 bare LF": (PASS, "bare_lf"),
    "2.2 bare LF behind the status line": (PASS, "bare_lf"),
    "2.2 bare LF behind a value": (Pass(has=(b"\r\nX: y\r\nZ: z\r\n",)), "bare_lf"),
    "6.3 Content-Length and Transfer-Encoding": (Pass(lacks=(b"Content-Length",)), "length_and_coding"),
    "6.3 Content-Length twice, the same": (Pass(has=(b"\r\nContent-Length: 2\r\n",)), "length_repeated"),
    r"7.1 b'2 \r\nhi\r\n0\r\n\r\n'": (Pass(has=(b"\r\n2\r\nhi\r\n",)), "chunk_blank"),
}
# Odd whatever the key says: they have no body.
BODYLESS = ("6.3 204 has no body, whatever it claims", "6.3 304 has no body, whatever it claims")
