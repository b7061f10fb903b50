/* An HTTP/2 connection and its streams, between the files of the server side: h2.c is its life,
 * h2_gate.c and h2_in.c what comes in, h2_out.c what goes out, h2_stream.c a stream's beginning, content and end,
 * h2_limit.c what a client may not do too much of.
 *
 * nghttp2 does frames, HPACK, states and windows, and knows no sockets. Its callbacks come from
 * inside nghttp2_session_mem_recv() and _mem_send() only; nothing there closes a stream or the
 * connection, which is noted and done at the end of the turn. */
#ifndef TEMPS_HTTP_H2_INNER_H
#define TEMPS_HTTP_H2_INNER_H

#include "base/buf.h"
#include "http/h2.h"
#include "http/h2_head.h"
#include "http/h2_mem.h"
#include "http/inbox.h"

#define H2_STREAMS_MAX 128 /* at once on a connection */
/* A stream may be ahead of its upstream by the default window: before the client has our settings it
 * may be, so anything less bounds nothing. That is what is kept when an upstream does not read. */
#define H2_STREAM_WINDOW 65535
/* As many uploads that stand still leave room for others on the connection. */
#define H2_CONN_WINDOW (8 * 65536)
#define H2_READ_BYTES 65536
/* A connection's turn in one piece; with one more frame it fits into a big block. */
#define H2_OUT_BYTES (2 * INBOX_BLOCK_BYTES - 64)
#define H2_TEXT_BYTES 1536 /* of a request's head that need no block of their own */
#define H2_KEPT_MAX 16	   /* blocks of responses that wait for a window, on a connection */
#define H2_FRAME_HEAD 9

struct h2_shared {
	struct pool sessions, streams, content; /* content: blocks of what waits to go either way */
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	struct h2_mem mem;
	struct h2_head_out pairs; /* scratch for the length of one submit */
	/* Scratch for the length of one receive or send: a connection at rest holds no buffer. */
	uint8_t in[H2_READ_BYTES], out[H2_OUT_BYTES];
	uint32_t nout;
};

/* Content that came and was not taken: blocks in a row, bounded by the stream's window. */
struct h2_kept {
	struct h2_kept *next;
	uint32_t pos, last;
	uint8_t bytes[INBOX_BLOCK_BYTES - 16];
};

struct h2_queue {
	struct h2_kept *first, *last;
	uint32_t bytes;
};

/* Trailers that wait for the content before them, in a block. */
struct h2_trailers {
	nghttp2_nv nv[HEAD_MAX_FIELDS];
	size_t n, used;
	char text[INBOX_BLOCK_BYTES - HEAD_MAX_FIELDS * sizeof(nghttp2_nv) - 16];
};

struct h2_stream {
	struct exchange x;
	struct h2 *h2;
	struct list link; /* the connection's */
	struct list todo; /* linked: the end of the turn has to look at it */
	int32_t id;
	bool begun;	    /* the handler has it */
	bool gone;	    /* nghttp2 has closed it: closed() comes */
	bool cut;	    /* given up by us: nothing the handler does has an effect any more */
	bool in_end;	    /* the client has ended its side */
	bool out_end;	    /* and we ours: the end is in a frame */
	bool refused_more;  /* the handler took less than it was offered */
	bool want_writable; /* a write was short */
	bool continued;	    /* 100 Continue was sent, or the content came without */
	bool deferred;	    /* nghttp2 waits for nghttp2_session_resume_data() */
	bool no_content;    /* of the response: HEAD, 204, 304 */
	bool has_left_out;
	bool counts_as_tunnel;
	bool websocket;		    /* to be checked as RFC 6455 has it */
	const char *why;	    /* it was given up */
	uint64_t left_in, left_out; /* content still owed, where a length was given */
	uint64_t in_ms, out_ms;	    /* the sweep measures since then */
	uint64_t in_mark, out_mark; /* bytes then */
	uint64_t sent_bytes;	    /* of content, into frames */
	struct h2_queue in;
	uint32_t promised;	   /* to a frame that waits for room */
	struct iobuf out;	   /* content of the response, one block at most */
	const struct iovec *offer; /* for the length of one write: content in the caller's memory */
	size_t offer_bytes, offer_skip; /* left in total; done of offer[0] */
	struct h2_trailers *trailers;	/* to be sent */
	struct head *trailers_in;	/* came before the content was taken; in a block */
	char *block;			/* of the request's head, when <text> was too small */
	size_t block_bytes;
	char ws_key[25];
	char text[H2_TEXT_BYTES];
};

/* The streams that were closed last, for frames that come too late. */
#define H2_GATE_CLOSED 128

struct h2_gate {
	uint32_t preface_left, payload_left; /* to be passed on unseen */
	uint32_t nhead, continuations, nclosed;
	int32_t last_id;		/* the client's highest so far */
	uint8_t head[9 + 5];		/* a frame's, cut by the end of a read */
	int32_t closed[H2_GATE_CLOSED]; /* negative: we reset it */
};

struct h2 {
	struct conn *conn;
	struct conn_shared *shared;
	struct h2_shared *own;
	nghttp2_session *session;
	struct list streams, todo;
	uint32_t nstreams;
	bool busy;		/* inside nghttp2: it may not be called for input or output */
	bool blocked;		/* the socket is full, or the turn's share is used up */
	bool full;		/* <out> has no room for the frame that nghttp2 has ready */
	bool bye;		/* all is said: reads and drops until the client has closed */
	bool greeted;		/* the client's preface is complete */
	bool idling;		/* the deadline is that of an idle connection, not of a new one */
	bool terminated;	/* GOAWAY with an error is on its way */
	bool sweeping;		/* the deadline is that of the sweep */
	uint32_t dropped_bytes; /* in <bye> */
	bool left;		/* the last GOAWAY of a drain is out */
	uint8_t drain;		/* enum h2_drain */
	uint64_t drain_ms;	/* when it began */
	uint64_t head_ms;	/* a header block began; 0: none is open */
	uint64_t write_ms;	/* the sweep measures since then */
	uint64_t write_mark;	/* bytes the client had acknowledged then */
	bool write_known;	/* they were asked for */
	uint64_t turn_bytes_out;
	uint32_t kept;		   /* blocks of responses that wait */
	struct iobuf rest;	   /* sealed or refused by the socket: goes first */
	struct h2_stream *reading; /* whose header block comes in; NULL: nobody's */
	struct h2_head_in head;
	struct h2_gate gate;
	int32_t reset_id; /* the stream that the client has reset last */
	/* h2_limit.c: in the present window of time */
	uint64_t window_ms, window_bytes, content_bytes;
	uint32_t noise, resets, requests, completed;
};

enum h2_drain { H2_SERVING, H2_NOTICED, H2_LEAVING };

/* ---- h2.c ---- */
/* Something is wrong with the client: GOAWAY with <code>, then the end. Callbacks that come after
 * it return h2_goes_on(). */
void h2_terminate(struct h2 *h2, uint32_t code, const char *why);

static inline int h2_goes_on(const struct h2 *h2)
{
	return h2->terminated ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- h2_gate.c ---- */
/* What was read, to nghttp2: 0, or its error. */
ssize_t h2_gate_pass(struct h2 *h2, const uint8_t *p, size_t n);
/* Frames of the client on that stream are an error from here on, unless we did it. */
void h2_gate_closed(struct h2 *h2, int32_t id, bool by_us);

/* ---- h2_in.c ---- */
void h2_in_callbacks(nghttp2_session_callbacks *cb);

/* ---- h2_out.c ---- */
extern const struct exchange_ops h2_ops;
void h2_out_callbacks(nghttp2_session_callbacks *cb);
/* Frames and writes what there is. 0: nothing is left; -EAGAIN: blocked; else the stream's error. */
int h2_send(struct h2 *h2) MUST_CHECK;
void h2_release_rest(struct h2 *h2);
void h2_stream_drop_out(struct h2_stream *s);
/* An answer of our own to a request that the handler does not get, or no longer. */
void h2_refuse(struct h2_stream *s, unsigned status, const char *why);
/* RST_STREAM; the handler, if it has it, hears <why>. */
void h2_reset(struct h2_stream *s, uint32_t code, const char *why);

/* ---- h2_stream.c ---- */
/* NULL: at the cap. */
struct h2_stream *h2_stream_open(struct h2 *h2, int32_t id);
/* Tells the handler, if it has it, and gives everything back. <why> NULL: it was completed. */
void h2_stream_close(struct h2_stream *s, const char *why);
/* Its head is complete: to the handler. */
void h2_stream_begin(struct h2_stream *s);
/* Content came; what is not taken is kept. */
void h2_stream_content(struct h2_stream *s, const uint8_t *p, size_t n);
/* Its end came. */
void h2_stream_end(struct h2_stream *s);
/* At the end of a turn: what was asked for meanwhile. */
void h2_stream_settle(struct h2_stream *s);
/* Has settle() look at it. */
void h2_stream_wake(struct h2_stream *s);
bool h2_stream_keep_trailers(struct h2_stream *s);

/* ---- h2_websocket.c: RFC 8441, as an upgrade of HTTP/1 for the handler ---- */
void h2_websocket_request(struct h2_stream *s);
/* Is this the answer that the key asks for? */
bool h2_websocket_accepted(const struct h2_stream *s, const struct head *h);

/* ---- h2_limit.c ---- */
/* May it have one more stream? */
bool h2_limit_share(const struct h2 *h2);
/* A frame of <length> bytes that moves nothing. */
void h2_limit_noise(struct h2 *h2, uint32_t length);
/* A request that was taken back, refused or malformed. */
void h2_limit_reset(struct h2 *h2);
/* The pairs of one block so far. */
void h2_limit_head(struct h2 *h2);
void h2_limit_continuations(struct h2 *h2);
void h2_limit_request(struct h2 *h2);

#endif
