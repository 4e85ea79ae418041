/* ws_key.c - the handshake of a WebSocket.  Any thread. */
#include <string.h>

#include <openssl/evp.h>

#include "net/ws_key.h"

/* RFC 6455 section 1.3. */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define SHA1 20

void
ws_key_write(const unsigned char nonce[WS_NONCE], char key[WS_KEY])
{
	unsigned char text[WS_KEY + 1];

	EVP_EncodeBlock(text, nonce, WS_NONCE);
	memcpy(key, text, WS_KEY);
}

bool
ws_accept(const char key[WS_KEY], char accept[WS_ACCEPT])
{
	unsigned char digest[EVP_MAX_MD_SIZE], text[WS_ACCEPT + 1];
	char joined[WS_KEY + sizeof(GUID) - 1];
	unsigned n;

	memcpy(joined, key, WS_KEY);
	memcpy(joined + WS_KEY, GUID, sizeof(GUID) - 1);
	if (EVP_Digest(joined, sizeof(joined), digest, &n, EVP_sha1(), NULL) != 1 || n != SHA1)
		return false;
	EVP_EncodeBlock(text, digest, SHA1);
	memcpy(accept, text, WS_ACCEPT);
	return true;
}
