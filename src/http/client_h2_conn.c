/* HTTP/2 connections to upstreams: the group that an address has, connecting, sending what a turn
 * gathered, idling, ending. */
#include <errno.h>
#include <stdlib.h>

#include "http/client_h2.h"

#define PEER_STREAMS_GUESS 100 /* before its SETTINGS came; RFC 9113 §6.5.2 asks for no fewer */

static void on_ready(void *arg, int events);
static void on_turn(void *arg);
static void on_deadline(void *arg);
static void on_drop(struct client_idle *idle);

/* ---- the end ---- */

static void on_free(void *arg)
{
	struct client_h2_conn *conn = arg;

	nghttp2_session_del(conn->session);
	pool_put(&conn->pool->conns, conn);
}

/* Gives back everything but the memory, in which libnghttp2 may be at work. */
static void close_now(struct client_h2_conn *conn)
{
	conn->state = H2_CLOSED;
	conn->group = NULL;
	list_remove(&conn->link);
	list_remove(&conn->idle.link);
	stream_close(&conn->stream, false);
	deadline_stop(&conn->deadline);
	loop_task_cancel(&conn->turn);
	outbox_fini(&conn->out);
	client_h2_section_drop(conn->pool, &conn->section);
	conn->pool->stats.open--;
	loop_defer(conn->pool->loop, &conn->reap, on_free, conn);
}

/* It is lost, and all its streams with it. What it lost is one fault, whoever tells. */
static void fail(struct client_h2_conn *conn, int rc, const char *why)
{
	bool shared = false;

	if (conn->state == H2_CLOSED)
		return;
	if (conn->state == H2_CONNECTING)
		conn->pool->stats.failed_connects++;
	LIST_FOR_EACH_SAFE(c, &conn->streams, struct client_h2, link) {
		bool reused = c->reused && conn->stream.bytes_in == c->in_mark;

		if (client_h2_fail(c, rc, client_h2_stage(c), reused, why)) {
			c->failure.shared = shared;
			shared = shared || !reused;
		}
		client_h2_detach(c);
	}
	close_now(conn);
}

/* Nobody needs it any more: says so and goes. */
static void leave(struct client_h2_conn *conn)
{
	if (conn->state == H2_OPEN) {
		(void)nghttp2_session_terminate_session(conn->session, NGHTTP2_NO_ERROR);
		client_h2_pull(conn);
		/* What the socket does not take is not worth waiting for. */
		(void)!outbox_flush(&conn->out, &conn->stream);
	}
	close_now(conn);
}

void client_h2_conn_retire(struct client_h2_conn *conn)
{
	conn->group = NULL;
	list_remove(&conn->link);
	client_h2_conn_wake(conn);
}

/* ---- the group ---- */

struct client_group *client_group_create(struct client_pool *p, const struct addr *at,
					 uint32_t idle_ms)
{
	struct client_group *g = xcalloc(1, sizeof(*g));

	g->pool = p;
	g->at = *at;
	g->idle_ms = idle_ms;
	g->peer_streams = PEER_STREAMS_GUESS;
	g->keep = true;
	list_init(&g->connections);
	return g;
}

void client_group_destroy(struct client_group *g)
{
	if (!g)
		return;
	LIST_FOR_EACH_SAFE(conn, &g->connections, struct client_h2_conn, link) {
		if (conn->nstreams)
			fail(conn, -ECONNABORTED, "its endpoint was removed");
		else
			leave(conn);
	}
	free(g);
}

void client_group_keep(struct client_group *g, bool keep)
{
	g->keep = keep;
	LIST_FOR_EACH_SAFE(conn, &g->connections, struct client_h2_conn, link)
		if (!keep && conn->nstreams == 0)
			leave(conn);
}

uint32_t client_group_connections(const struct client_group *g)
{
	uint32_t n = 0;

	LIST_FOR_EACH(conn, &g->connections, struct client_h2_conn, link)
		n++;
	return n;
}

static int open_connection(struct client_group *g, struct client_h2_conn **out)
{
	struct client_pool *p = g->pool;
	struct client_h2_conn *conn = pool_get(&p->conns);
	int rc;

	if (!conn)
		return -ENOMEM;
	if (!p->h2_input)
		p->h2_input = xcalloc(1, CLIENT_H2_BLOCK_BYTES);
	*conn = (struct client_h2_conn){ .pool = p, .group = g, .state = H2_CONNECTING };
	rc = client_h2_session_open(conn);
	if (rc == 0)
		rc = client_connect(p, &conn->stream, &g->at, on_ready, conn);
	if (rc < 0) {
		nghttp2_session_del(conn->session);
		pool_put(&p->conns, conn);
		return rc;
	}
	list_init(&conn->streams);
	list_init(&conn->waiting);
	list_init(&conn->idle.link);
	conn->idle.drop = on_drop;
	loop_task_init(&conn->turn, on_turn, conn);
	deadline_init(&conn->deadline, p->loop, on_deadline, conn);
	outbox_init(&conn->out, &p->blocks, &p->h2_blocks);
	outbox_frame(&conn->out, BODY_UNTIL_CLOSE, 0);
	conn->out.blocked = true; /* until it is connected */
	conn->opened_us = loop_turn_us(p->loop);
	list_push_back(&g->connections, &conn->link);
	stream_wait(&conn->stream, STREAM_WRITE);
	*out = conn;
	return 0;
}

/* The first connection with room, so that few are used and the others can go; else a new one. */
static int choose(struct client_group *g, struct client_h2_conn **out)
{
	struct client_h2_conn *emptiest = NULL;
	uint32_t n = 0;

	LIST_FOR_EACH(conn, &g->connections, struct client_h2_conn, link) {
		if (!nghttp2_session_check_request_allowed(conn->session))
			continue;
		if (conn->nstreams < MIN(client_h2_peer_streams(conn), CLIENT_H2_STREAMS_MAX)) {
			*out = conn;
			return 0;
		}
		if (!emptiest || conn->nstreams < emptiest->nstreams)
			emptiest = conn;
		n++;
	}
	if (n < CLIENT_H2_CONNECTIONS_MAX)
		return open_connection(g, out);
	*out = emptiest;
	return 0;
}

int client_group_open(struct client_group *g, struct client **out)
{
	struct client_h2_conn *conn;
	struct client_h2 *c;
	int rc = choose(g, &conn);

	if (rc == 0)
		rc = client_h2_open(&c, conn);
	if (rc == 0)
		*out = &c->client;
	return rc;
}

/* ---- sending ---- */

int client_h2_queue(struct client_h2_conn *conn, const void *p, size_t n)
{
	if (outbox_bytes(&conn->out, p, n) < 0) {
		conn->broken = -ENOMEM;
		return -ENOMEM;
	}
	conn->queued_bytes += n;
	return 0;
}

void client_h2_pull(struct client_h2_conn *conn)
{
	const uint8_t *p;
	ssize_t n;

	if (conn->receiving)
		return;
	while (!conn->broken && !conn->deaf && client_h2_out_has_room(conn)) {
		n = nghttp2_session_mem_send(conn->session, &p);
		if (n < 0)
			conn->broken = -ENOMEM; /* the only reason it has */
		if (n <= 0 || client_h2_queue(conn, p, (size_t)n) < 0)
			return;
	}
}

/* The peer takes nothing more: what it said before, GOAWAY for one, is still to be read, and the
 * read side will tell when that was all. */
static void go_deaf(struct client_h2_conn *conn)
{
	conn->deaf = true;
	outbox_fini(&conn->out);
	outbox_init(&conn->out, &conn->pool->blocks, &conn->pool->h2_blocks);
	client_h2_conn_retire(conn);
}

/* There is room again: who was turned away offers anew. */
static void call_waiting(struct client_h2_conn *conn)
{
	while (!list_empty(&conn->waiting)) {
		struct client_h2 *c = LIST_FIRST(&conn->waiting, struct client_h2, waiting_link);

		list_remove(&c->waiting_link);
		c->writable = true;
		client_h2_wake(c);
	}
}

static void send_gathered(struct client_h2_conn *conn)
{
	int rc;

	do {
		client_h2_pull(conn);
		if (outbox_len(&conn->out) == 0)
			break;
		rc = outbox_settle(&conn->out, &conn->stream, conn->turn_bytes_out);
		if (rc < 0 && rc != -EAGAIN)
			go_deaf(conn);
	} while (rc == 0);
	if (client_h2_out_has_room(conn))
		call_waiting(conn);
}

/* ---- a turn ---- */

/* Without streams it waits for the next one, if anybody may come. */
static void rest(struct client_h2_conn *conn)
{
	if (!conn->group || !conn->group->keep) {
		leave(conn);
		return;
	}
	if (!list_empty(&conn->idle.link))
		return;
	list_push_front(&conn->pool->idle, &conn->idle.link);
	deadline_set(&conn->deadline, conn->group->idle_ms);
}

static void on_turn(void *arg)
{
	struct client_h2_conn *conn = arg;

	if (conn->state == H2_CONNECTING && !conn->broken) {
		if (conn->nstreams == 0)
			close_now(conn);
		return;
	}
	send_gathered(conn);
	if (conn->broken) {
		fail(conn, conn->broken, "out of buffers");
		return;
	}
	if (!nghttp2_session_want_read(conn->session) &&
	    !nghttp2_session_want_write(conn->session)) {
		fail(conn, -EBADMSG,
		     conn->settled ? "upstream broke the rules of HTTP/2"
				   : "upstream does not speak HTTP/2");
		return;
	}
	if (conn->nstreams == 0) {
		rest(conn);
		if (conn->state == H2_CLOSED)
			return;
	} else if (conn->state == H2_OPEN) {
		deadline_set(&conn->deadline, 0);
	}
	conn->turn_bytes_out = conn->stream.bytes_out;
	client_be_patient(conn->pool, &conn->patience, &conn->stream, 0);
	stream_wait(&conn->stream, STREAM_READ | (conn->out.blocked ? STREAM_WRITE : 0));
}

static void on_deadline(void *arg)
{
	struct client_h2_conn *conn = arg;

	if (conn->state == H2_CONNECTING)
		fail(conn, -ETIMEDOUT, "connect timed out");
	else if (conn->nstreams == 0)
		leave(conn);
}

static void on_drop(struct client_idle *idle)
{
	leave(CONTAINER_OF(idle, struct client_h2_conn, idle));
}

/* ---- events ---- */

static void do_connect(struct client_h2_conn *conn)
{
	int rc = stream_connected(&conn->stream);
	uint32_t took_us;

	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		fail(conn, rc, strerrordesc_np(-rc));
		return;
	}
	took_us = client_connected(conn->pool, conn->opened_us);
	LIST_FOR_EACH(c, &conn->streams, struct client_h2, link)
		c->client.connect_us = took_us;
	conn->state = H2_OPEN;
	conn->out.blocked = false;
	deadline_set(&conn->deadline, 0);
	client_h2_conn_wake(conn);
}

static void receive(struct client_h2_conn *conn)
{
	uint8_t *input = conn->pool->h2_input;
	ssize_t n = stream_read(&conn->stream, input, CLIENT_H2_BLOCK_BYTES);
	int rc = 0;

	if (n > 0)
		rc = client_h2_receive(conn, input, (size_t)n);
	if (n == 0)
		fail(conn, -ECONNRESET, "upstream closed the connection");
	else if (n < 0 && n != -EAGAIN)
		fail(conn, (int)n, "upstream reset the connection");
	else if (rc < 0)
		fail(conn, rc, rc == -ENOMEM ? "out of buffers" : "upstream floods");
}

static void on_ready(void *arg, int events)
{
	struct client_h2_conn *conn = arg;

	if (conn->state == H2_CONNECTING) {
		do_connect(conn);
		return;
	}
	if (events & STREAM_WRITE)
		conn->out.blocked = false;
	if (events & STREAM_READ)
		receive(conn);
	client_h2_conn_wake(conn);
}
