/* HTTP/2 to upstreams from the inside: client_h2.c is a stream as its caller sees it, client_h2_conn.c
 * the connection and the group, client_h2_session.c what libnghttp2 asks and tells.
 *
 * libnghttp2 runs in two places: client_h2_receive() feeds it, client_h2_pull() takes frames from it.
 * Neither may be entered from one of its callbacks, so a callback only delivers heads and content
 * (whose takers may write, which waits), and what ends a request is noted and told by the stream's own
 * task at the end of the turn. */
#ifndef TEMPS_HTTP_CLIENT_H2_H
#define TEMPS_HTTP_CLIENT_H2_H

#include "http/client_inner.h"
#include "http/h2_head.h"
#include "http/outbox.h"
#include "http/websocket.h"
#include "reactor/deadline.h"

/* Streams of one connection, if the peer allows as many: more would share one congestion window and
 * one lost packet. */
#define CLIENT_H2_STREAMS_MAX 128
/* Connections to one address; when all are full, streams wait for their turn on the emptiest. */
#define CLIENT_H2_CONNECTIONS_MAX 64
/* What a stream may send before we took it: a big block holds it all. The connection's own window is
 * opened again at once whoever takes, so that a slow stream stops nobody else. */
#define CLIENT_H2_STREAM_WINDOW 65535
#define CLIENT_H2_WINDOW (1 << 20)

struct client_group {
	struct client_pool *pool;
	struct addr at;
	uint32_t idle_ms;
	uint32_t peer_streams; /* allowed at once by the last SETTINGS from there */
	bool keep;	       /* connections without streams stay */
	struct list connections;
};

enum client_h2_state { H2_CONNECTING, H2_OPEN, H2_CLOSED };

/* A header block as a table, both leased while there is one. */
struct client_h2_section {
	struct head *head;
	struct iobuf text; /* the bytes it points to; a big block */
};

struct client_h2_conn {
	struct client_pool *pool;
	struct client_group *group; /* NULL: takes no more streams */
	struct list link;	    /* group->connections */
	struct list streams;	    /* struct client_h2 */
	uint32_t nstreams;
	uint8_t state;		 /* enum client_h2_state */
	bool settled;		 /* the peer's SETTINGS came: it speaks HTTP/2 */
	bool served;		 /* a response came */
	bool receiving;		 /* inside nghttp2_session_mem_recv() */
	bool deaf;		 /* the peer takes nothing more */
	int broken;		 /* to be failed at the end of the turn, with this */
	struct client_idle idle; /* linked while it has no streams */
	struct stream stream;
	struct deadline deadline; /* of connecting, or of idling */
	uint64_t opened_us;	  /* loop_turn_us() as connecting began */
	struct loop_task turn;
	struct loop_reap reap;
	nghttp2_session *session;
	struct outbox out;
	struct list waiting;		  /* streams that write when there is room in <out> again */
	uint64_t queued_bytes;		  /* that were ever put into <out> */
	struct client_patience patience;
	uint64_t turn_bytes_out;	  /* sent when the last turn ended */
	uint64_t quiet_since_ms;	  /* of the bytes below */
	uint32_t quiet_bytes;		  /* received in frames that carried nothing for anybody */
	struct client_h2_section section; /* of the block that comes */
	struct h2_head_in block;
};

/* What the deadline of a stream stands for. */
enum client_h2_wait { H2_WAIT_NOTHING, H2_WAIT_TAKEN, H2_WAIT_HEAD, H2_WAIT_CONTENT };

struct client_h2 {
	struct client client; /* first: the two are one to the caller */
	struct client_pool *pool;
	struct client_h2_conn *conn; /* NULL: the stream is closed, or never was open */
	struct list link;	     /* conn->streams */
	struct list waiting_link;    /* conn->waiting */
	int32_t id;		     /* 0: no request yet */
	uint8_t method_id;
	uint8_t body; /* of the request */
	uint8_t waits_for;
	uint8_t informs; /* 1xx heads that came */
	bool reused;	 /* its connection idled before it came */
	bool begun;	 /* its HEADERS frame was put into conn->out */
	bool request_done, ends_with_trailers;
	bool head_done, over; /* of the response: the final head, the last byte of it came */
	bool told;	      /* end() or failed() was called, or is not to be */
	bool refused_more, want_writable, writable;
	bool broken;  /* <failure> is to be told, or was */
	bool connect; /* extended CONNECT (RFC 8441): 2xx makes it a tunnel */
	bool tunnel;
	bool closed;
	uint64_t in_mark;  /* bytes its connection had received when it came */
	uint64_t out_mark; /* conn->queued_bytes in front of its HEADERS frame */
	uint64_t left;	   /* BODY_LENGTH: content still owed */
	struct client_limits limits;
	const struct client_events *events;
	void *arg;
	const struct iovec *offer; /* content on offer while client_write() runs */
	int noffer;
	size_t offered, taken;
	struct iobuf held;		   /* content that the caller did not take yet */
	struct client_h2_section trailers; /* that wait behind it, or until the close */
	struct client_failure failure;
	struct deadline deadline;
	struct loop_task turn;
	struct loop_reap reap;
	char accept[WEBSOCKET_ACCEPT_BYTES + 1]; /* to the key that came with the request, or "" */
};

/* ---- streams, client_h2.c ---- */

/* A new stream on <conn>; -ENOMEM. */
int client_h2_open(struct client_h2 **out, struct client_h2_conn *conn) MUST_CHECK;
/* It has no more to do with its connection. */
void client_h2_detach(struct client_h2 *c);
/* Its request fails: told at the end of the turn. Only the first reason counts, and none when the
 * response is complete: false. */
bool client_h2_fail(struct client_h2 *c, int rc, enum client_stage stage, bool reused,
		    const char *why);
enum client_stage client_h2_stage(const struct client_h2 *c);
/* Content came. -ENOMEM: what the caller did not take cannot be kept. */
int client_h2_content(struct client_h2 *c, const char *p, size_t n) MUST_CHECK;
/* The response is complete, <section> (its trailers) is taken over. */
void client_h2_over(struct client_h2 *c, struct client_h2_section *take_section);
/* Something moved: sets the deadline of what is waited for now. */
void client_h2_watch(struct client_h2 *c);

static inline void client_h2_wake(struct client_h2 *c)
{
	loop_later(c->pool->loop, &c->turn);
}

/* ---- connections, client_h2_conn.c ---- */

/* More than this waits for the socket: who has content offers it again later. A frame always fits. */
#define CLIENT_H2_OUT_MAX (CLIENT_H2_BLOCK_BYTES - CLIENT_H2_FRAME_HEAD - CLIENT_H2_FRAME_MAX)
#define CLIENT_H2_FRAME_HEAD 9
#define CLIENT_H2_FRAME_MAX 16384 /* of what follows: libnghttp2 makes none larger */

static inline bool client_h2_out_has_room(const struct client_h2_conn *conn)
{
	return outbox_len(&conn->out) < CLIENT_H2_OUT_MAX;
}

/* Appends to what is to be sent. -ENOMEM: the connection is of no more use. */
int client_h2_queue(struct client_h2_conn *conn, const void *p, size_t n) MUST_CHECK;
/* Frames from libnghttp2 into the outbox, as long as there is room. */
void client_h2_pull(struct client_h2_conn *conn);
/* Takes no more streams, and goes with its last one. */
void client_h2_conn_retire(struct client_h2_conn *conn);

static inline void client_h2_conn_wake(struct client_h2_conn *conn)
{
	if (conn->state != H2_CLOSED)
		loop_later(conn->pool->loop, &conn->turn);
}

/* ---- the session, client_h2_session.c ---- */

/* May it be asked for a tunnel (RFC 8441 §3)? Before its SETTINGS came: yes. */
bool client_h2_takes_connect(const struct client_h2_conn *conn);
int client_h2_session_open(struct client_h2_conn *conn) MUST_CHECK;
/* What came from the peer. -EBADMSG, -ENOMEM. */
int client_h2_receive(struct client_h2_conn *conn, const uint8_t *p, size_t n) MUST_CHECK;
/* HEADERS of a request: its stream id, or -ENOMEM, -ENOTCONN. */
int client_h2_submit(struct client_h2 *c, const struct head *h, uint64_t length) MUST_CHECK;
/* The end of a request's content. */
void client_h2_submit_end(struct client_h2 *c, const struct head *trailers);
/* How many streams the peer allows at once, as far as is known. */
uint32_t client_h2_peer_streams(const struct client_h2_conn *conn);
void client_h2_section_drop(struct client_pool *p, struct client_h2_section *s);

#endif
