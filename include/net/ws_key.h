/* ws_key.h - the handshake of a WebSocket (RFC 6455 section 4): what a server makes of a client's key.
 * Any thread. */
#ifndef NET_WS_KEY_H
#define NET_WS_KEY_H

#include <stdbool.h>

/* Characters of a Sec-WebSocket-Key, of the random bytes that it stands for, and of a Sec-WebSocket-Accept. */
#define WS_KEY 24
#define WS_NONCE 16
#define WS_ACCEPT 28

/* Not terminated. */
void ws_key_write(const unsigned char nonce[WS_NONCE], char key[WS_KEY]);
/* Not terminated.  False: the library has no SHA-1, or no memory. */
bool ws_accept(const char key[WS_KEY], char accept[WS_ACCEPT]);

#endif
