/* http2_reason.h - why a frame, a field block or a message of HTTP/2 is refused: one table,
 * for the error code, the log and the metric.  Any thread. */
#ifndef PROTO_HTTP2_REASON_H
#define PROTO_HTTP2_REASON_H

#include <stdint.h>

/* RFC 9113 section 7. */
/*	enum                         value, name */
#define HTTP2_CODE_TABLE(X) \
	X(HTTP2_NO_ERROR,            0x0, "NO_ERROR") \
	X(HTTP2_PROTOCOL_ERROR,      0x1, "PROTOCOL_ERROR") \
	X(HTTP2_INTERNAL_ERROR,      0x2, "INTERNAL_ERROR") \
	X(HTTP2_FLOW_CONTROL_ERROR,  0x3, "FLOW_CONTROL_ERROR") \
	X(HTTP2_SETTINGS_TIMEOUT,    0x4, "SETTINGS_TIMEOUT") \
	X(HTTP2_STREAM_CLOSED,       0x5, "STREAM_CLOSED") \
	X(HTTP2_FRAME_SIZE_ERROR,    0x6, "FRAME_SIZE_ERROR") \
	X(HTTP2_REFUSED_STREAM,      0x7, "REFUSED_STREAM") \
	X(HTTP2_CANCEL,              0x8, "CANCEL") \
	X(HTTP2_COMPRESSION_ERROR,   0x9, "COMPRESSION_ERROR") \
	X(HTTP2_CONNECT_ERROR,       0xa, "CONNECT_ERROR") \
	X(HTTP2_ENHANCE_YOUR_CALM,   0xb, "ENHANCE_YOUR_CALM") \
	X(HTTP2_INADEQUATE_SECURITY, 0xc, "INADEQUATE_SECURITY") \
	X(HTTP2_HTTP_1_1_REQUIRED,   0xd, "HTTP_1_1_REQUIRED")

enum http2_code {
#define X(name, value, text) name = value,
	HTTP2_CODE_TABLE(X)
#undef X
};

/* "PROTOCOL_ERROR"; of a number that has no name "UNKNOWN". */
const char *http2_code_word(uint32_t code);

/* What ends by it. */
enum http2_scope {
	HTTP2_OF_STREAM,	/* RST_STREAM; the connection goes on */
	HTTP2_OF_CONNECTION,	/* GOAWAY */
};

/* status: what a request may be answered with instead of a reset (RFC 9113 section 8.1.1);
 * 0: nothing, it is reset.  word: log field and metric label. */
/*	enum                         scope       code               status word, words */
#define HTTP2_REASON_TABLE(X) \
	X(HTTP2_FINE,                STREAM,     NO_ERROR,            0, "none", "nothing wrong") \
	/* frames (RFC 9113 sections 3.4, 4, 5.1 and 6) */ \
	X(HTTP2_PREFACE_BAD,         CONNECTION, PROTOCOL_ERROR,      0, "preface", "not the preface of HTTP/2") \
	X(HTTP2_SETTINGS_FIRST,      CONNECTION, PROTOCOL_ERROR,      0, "settings_first", "the first frame is not SETTINGS") \
	X(HTTP2_FRAME_LONG,          CONNECTION, FRAME_SIZE_ERROR,    0, "frame_long", "frame longer than SETTINGS_MAX_FRAME_SIZE") \
	X(HTTP2_FRAME_SIZE,          CONNECTION, FRAME_SIZE_ERROR,    0, "frame_size", "payload of a length that its type cannot have") \
	X(HTTP2_PRIORITY_SIZE,       STREAM,     FRAME_SIZE_ERROR,    0, "priority_size", "PRIORITY that is not 5 bytes") \
	X(HTTP2_PRIORITY_SELF,       STREAM,     PROTOCOL_ERROR,      0, "priority_self", "stream that depends on itself") \
	X(HTTP2_STREAM_ZERO,         CONNECTION, PROTOCOL_ERROR,      0, "stream_zero", "frame of a stream on stream 0") \
	X(HTTP2_STREAM_NOT_ZERO,     CONNECTION, PROTOCOL_ERROR,      0, "stream_not_zero", "frame of the connection on a stream") \
	X(HTTP2_PADDING_LONG,        CONNECTION, PROTOCOL_ERROR,      0, "padding", "padding as long as the payload or longer") \
	X(HTTP2_SETTINGS_VALUE,      CONNECTION, PROTOCOL_ERROR,      0, "settings_value", "setting out of its range") \
	X(HTTP2_SETTINGS_WINDOW,     CONNECTION, FLOW_CONTROL_ERROR,  0, "settings_window", "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1, or a window that passes it") \
	X(HTTP2_WINDOW_ZERO,         STREAM,     PROTOCOL_ERROR,      0, "window_zero", "WINDOW_UPDATE of 0 on a stream") \
	X(HTTP2_WINDOW_ZERO_ALL,     CONNECTION, PROTOCOL_ERROR,      0, "window_zero_connection", "WINDOW_UPDATE of 0 on the connection") \
	X(HTTP2_WINDOW_OVER,         STREAM,     FLOW_CONTROL_ERROR,  0, "window_overflow", "window of a stream above 2^31-1") \
	X(HTTP2_WINDOW_OVER_ALL,     CONNECTION, FLOW_CONTROL_ERROR,  0, "window_overflow_connection", "window of the connection above 2^31-1") \
	X(HTTP2_FLOW,                STREAM,     FLOW_CONTROL_ERROR,  0, "flow_control", "more DATA than the stream's window") \
	X(HTTP2_FLOW_ALL,            CONNECTION, FLOW_CONTROL_ERROR,  0, "flow_control_connection", "more DATA than the connection's window") \
	X(HTTP2_PUSH_PROMISE,        CONNECTION, PROTOCOL_ERROR,      0, "push_promise", "PUSH_PROMISE, which was never allowed") \
	X(HTTP2_CONTINUATION_MISSING, CONNECTION, PROTOCOL_ERROR,     0, "continuation_missing", "another frame within a field block") \
	X(HTTP2_CONTINUATION_ALONE,  CONNECTION, PROTOCOL_ERROR,      0, "continuation_alone", "CONTINUATION without a field block") \
	X(HTTP2_STREAM_EVEN,         CONNECTION, PROTOCOL_ERROR,      0, "stream_even", "stream with a number that a client does not use") \
	X(HTTP2_STREAM_OLD,          CONNECTION, PROTOCOL_ERROR,      0, "stream_old", "new stream with a number below one that was used") \
	X(HTTP2_STREAM_IDLE,         CONNECTION, PROTOCOL_ERROR,      0, "stream_idle", "frame on a stream that was never opened") \
	X(HTTP2_STREAM_ENDED,        STREAM,     STREAM_CLOSED,       0, "stream_ended", "frame after the end of its stream") \
	X(HTTP2_STREAM_GONE,         CONNECTION, STREAM_CLOSED,       0, "stream_closed", "frame on a stream that is closed") \
	/* field blocks (RFC 7541) */ \
	X(HTTP2_HPACK_CUT,           CONNECTION, COMPRESSION_ERROR,   0, "hpack_cut", "field block cut short") \
	X(HTTP2_HPACK_INTEGER,       CONNECTION, COMPRESSION_ERROR,   0, "hpack_integer", "integer of a field block too large") \
	X(HTTP2_HPACK_INDEX,         CONNECTION, COMPRESSION_ERROR,   0, "hpack_index", "index that no table has") \
	X(HTTP2_HPACK_HUFFMAN,       CONNECTION, COMPRESSION_ERROR,   0, "hpack_huffman", "malformed Huffman code") \
	X(HTTP2_HPACK_SIZE,          CONNECTION, COMPRESSION_ERROR,   0, "hpack_table_size", "table size above SETTINGS_HEADER_TABLE_SIZE") \
	X(HTTP2_HPACK_SIZE_LATE,     CONNECTION, COMPRESSION_ERROR,   0, "hpack_table_size_late", "table size after a field") \
	X(HTTP2_HPACK_SIZE_MISSING,  CONNECTION, COMPRESSION_ERROR,   0, "hpack_table_size_missing", "no table size after its limit was lowered") \
	X(HTTP2_HPACK_MEMORY,        CONNECTION, INTERNAL_ERROR,      0, "hpack_memory", "no memory for the table of fields") \
	/* limits of a field section */ \
	X(HTTP2_FIELDS_MANY,         STREAM,     ENHANCE_YOUR_CALM, 431, "fields_many", "too many fields") \
	X(HTTP2_FIELDS_LARGE,        STREAM,     ENHANCE_YOUR_CALM, 431, "fields_large", "fields too large") \
	X(HTTP2_FIELDS_MEMORY,       STREAM,     ENHANCE_YOUR_CALM,   0, "fields_memory", "too many bytes of heads and trailers under way") \
	/* malformed messages (RFC 9113 section 8) */ \
	X(HTTP2_NAME_EMPTY,          STREAM,     PROTOCOL_ERROR,      0, "name_empty", "empty field name") \
	X(HTTP2_NAME_UPPER,          STREAM,     PROTOCOL_ERROR,      0, "name_upper", "capital in a field name") \
	X(HTTP2_NAME_BAD,            STREAM,     PROTOCOL_ERROR,      0, "name_bad", "field name is not a token") \
	X(HTTP2_VALUE_BAD,           STREAM,     PROTOCOL_ERROR,      0, "value_bad", "control character in a field value") \
	X(HTTP2_VALUE_SPACE,         STREAM,     PROTOCOL_ERROR,      0, "value_space", "white space around a field value") \
	X(HTTP2_PSEUDO_LATE,         STREAM,     PROTOCOL_ERROR,      0, "pseudo_late", "pseudo-field after a field") \
	X(HTTP2_PSEUDO_REPEATED,     STREAM,     PROTOCOL_ERROR,      0, "pseudo_repeated", "pseudo-field more than once") \
	X(HTTP2_PSEUDO_UNKNOWN,      STREAM,     PROTOCOL_ERROR,      0, "pseudo_unknown", "unknown pseudo-field") \
	X(HTTP2_PSEUDO_TRAILER,      STREAM,     PROTOCOL_ERROR,      0, "pseudo_trailer", "pseudo-field among the trailers") \
	X(HTTP2_METHOD_MISSING,      STREAM,     PROTOCOL_ERROR,      0, "method_missing", "no :method") \
	X(HTTP2_SCHEME_MISSING,      STREAM,     PROTOCOL_ERROR,      0, "scheme_missing", "no :scheme") \
	X(HTTP2_PATH_MISSING,        STREAM,     PROTOCOL_ERROR,      0, "path_missing", "no :path, or an empty one") \
	X(HTTP2_AUTHORITY_MISSING,   STREAM,     PROTOCOL_ERROR,      0, "authority_missing", "neither :authority nor Host") \
	X(HTTP2_METHOD_BAD,          STREAM,     PROTOCOL_ERROR,      0, "method_bad", ":method is not a token") \
	X(HTTP2_SCHEME_BAD,          STREAM,     PROTOCOL_ERROR,      0, "scheme_bad", ":scheme is neither http nor https") \
	X(HTTP2_PATH_BAD,            STREAM,     PROTOCOL_ERROR,      0, "path_bad", ":path that no request target can be") \
	X(HTTP2_AUTHORITY_BAD,       STREAM,     PROTOCOL_ERROR,      0, "authority_bad", "malformed :authority or Host") \
	X(HTTP2_HOST_REPEATED,       STREAM,     PROTOCOL_ERROR,      0, "host_repeated", "more than one Host") \
	X(HTTP2_HOST_DIFFERS,        STREAM,     PROTOCOL_ERROR,      0, "host_differs", "Host is not what :authority says") \
	X(HTTP2_CONNECTION_FIELD,    STREAM,     PROTOCOL_ERROR,      0, "connection_field", "field of an HTTP/1 connection") \
	X(HTTP2_TE_BAD,              STREAM,     PROTOCOL_ERROR,      0, "te_bad", "TE says more than trailers") \
	X(HTTP2_LENGTH_BAD,          STREAM,     PROTOCOL_ERROR,      0, "length_bad", "Content-Length is not a number") \
	X(HTTP2_LENGTH_REPEATED,     STREAM,     PROTOCOL_ERROR,      0, "length_repeated", "more than one Content-Length") \
	X(HTTP2_LENGTH_DIFFERS,      STREAM,     PROTOCOL_ERROR,      0, "length_differs", "Content-Length is not the length of DATA") \
	X(HTTP2_CONNECT_BAD,         STREAM,     PROTOCOL_ERROR,      0, "connect_bad", "CONNECT with :scheme, :path or Content-Length") \
	X(HTTP2_CONNECT_FIELDS,      STREAM,     PROTOCOL_ERROR,      0, "connect_fields", "a second HEADERS on a stream of CONNECT") \
	X(HTTP2_PROTOCOL_BAD,        STREAM,     PROTOCOL_ERROR,      0, "protocol_bad", ":protocol without CONNECT, or not offered") \
	X(HTTP2_PROTOCOL_UNKNOWN,    STREAM,     PROTOCOL_ERROR,    501, "protocol_unknown", ":protocol is not websocket") \
	X(HTTP2_STATUS_BAD,          STREAM,     PROTOCOL_ERROR,      0, "status_bad", "no :status of three digits from 100 to 599, or 101") \
	X(HTTP2_TRAILER_OPEN,        STREAM,     PROTOCOL_ERROR,      0, "trailer_open", "second HEADERS that do not end the stream") \
	X(HTTP2_TRAILER_FORBIDDEN,   STREAM,     PROTOCOL_ERROR,      0, "trailer_forbidden", "field that may not be a trailer") \
	/* defence */ \
	X(HTTP2_STREAMS_MANY,        STREAM,     REFUSED_STREAM,      0, "streams_many", "too many streams at once") \
	X(HTTP2_CONTINUATIONS_MANY,  CONNECTION, ENHANCE_YOUR_CALM,   0, "continuations_many", "too many CONTINUATION frames") \
	X(HTTP2_RESETS_MANY,         CONNECTION, ENHANCE_YOUR_CALM,   0, "resets_many", "too many streams reset by the client") \
	X(HTTP2_FAULTS_MANY,         CONNECTION, ENHANCE_YOUR_CALM,   0, "faults_many", "too many streams that had to be reset") \
	X(HTTP2_PINGS_MANY,          CONNECTION, ENHANCE_YOUR_CALM,   0, "pings_many", "too many PING frames") \
	X(HTTP2_SETTINGS_MANY,       CONNECTION, ENHANCE_YOUR_CALM,   0, "settings_many", "too many SETTINGS frames") \
	X(HTTP2_WINDOWS_MANY,        CONNECTION, ENHANCE_YOUR_CALM,   0, "windows_many", "too many WINDOW_UPDATE frames") \
	X(HTTP2_PRIORITIES_MANY,     CONNECTION, ENHANCE_YOUR_CALM,   0, "priorities_many", "too many PRIORITY frames") \
	X(HTTP2_EMPTY_MANY,          CONNECTION, ENHANCE_YOUR_CALM,   0, "empty_many", "too many empty frames") \
	X(HTTP2_STALLED,             STREAM,     CANCEL,              0, "stalled", "window of the stream shut for too long") \
	X(HTTP2_STALLED_ALL,         CONNECTION, ENHANCE_YOUR_CALM,   0, "stalled_connection", "window of the connection shut for too long") \
	X(HTTP2_OUT_QUEUE,           CONNECTION, ENHANCE_YOUR_CALM,   0, "out_queue", "too much waits to be sent") \
	X(HTTP2_MEMORY,              CONNECTION, ENHANCE_YOUR_CALM,   0, "memory", "too much memory for one connection")

enum http2_reason {
#define X(name, scope, code, status, word, words) name,
	HTTP2_REASON_TABLE(X)
#undef X
		HTTP2_REASONS
};

enum http2_scope http2_reason_scope(enum http2_reason r);
enum http2_code http2_reason_code(enum http2_reason r);
unsigned http2_reason_status(enum http2_reason r);
const char *http2_reason_word(enum http2_reason r);
const char *http2_reason_words(enum http2_reason r);

#endif
