/* hpack_huffman.h - the code of RFC 7541, appendix B.  Pure; any thread. */
#ifndef PROTO_HPACK_HUFFMAN_H
#define PROTO_HPACK_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Bytes that n coded ones are at most. */
#define HPACK_HUFFMAN_MOST(n) ((n) * 8 / 5 + 1)

/* Decodes into out, which has HPACK_HUFFMAN_MOST(in.n) bytes and 8 to spare.  Returns how many, or -1: a code that is not
 * there, EOS, or padding that is too long or not of ones (section 5.2). */
ptrdiff_t hpack_huffman_decode(struct str in, char *out);

/* Bytes that it would have coded. */
size_t hpack_huffman_size(struct str in);
/* Codes into out, hpack_huffman_size() bytes; returns the first byte behind. */
char *hpack_huffman_encode(struct str in, char *out);

#endif
