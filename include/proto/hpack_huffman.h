/* hpack_huffman.h - the code of RFC 7541, appendix B.  Pure; any thread. */
#ifndef PROTO_HPACK_HUFFMAN_H
#define PROTO_HPACK_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Bytes that n coded ones are at most. */
#define HPACK_HUFFMAN_MOST(n) ((n)*8 / 5 + 1)
/* Room that decoding needs at least, and beyond what it decodes. */
#define HPACK_HUFFMAN_SPARE 32

/* Decodes into out.  Returns how many bytes it is, or -1: EOS, or padding that is too long or not of ones (section
 * 5.2).  More than room - HPACK_HUFFMAN_SPARE: out is void, but the number is right. */
ptrdiff_t hpack_huffman_decode(struct str in, char *out, size_t room);

/* Bytes that it would have coded. */
size_t hpack_huffman_size(struct str in);
/* Codes into out, hpack_huffman_size() bytes; returns the first byte behind. */
char *hpack_huffman_encode(struct str in, char *out);

#endif
