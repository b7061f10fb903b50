/* The agent's HTTP API: rows of one table on top of an engine's link.
 *
 * Every call carries "Authorization: Bearer <node token>"; without it 401 in plain text. Answers are envelopes (wire.h); errors have the
 * status wire_status() gives. {id} is a container's id or name; containers of another cluster or node are 404.
 *
 *   POST   /agent/containers/deploy        wire_deploy → wire_deployed
 *   GET    /agent/containers               [wire_container]
 *   POST   /agent/containers/{id}/start    → "started"
 *   POST   /agent/containers/{id}/stop     {"stop_timeout_s": n}, or nothing → "stopped"
 *   DELETE /agent/containers/{id}          → "removed"
 *   GET    /agent/containers/{id}/info     → wire_container
 *   GET    /agent/containers/{id}/stats    → wire_stats
 *   GET    /agent/containers/{id}/logs     ?follow=&tail=N|all&since=RFC 3339 or unix seconds&timestamps= → text/plain as it comes; with
 *                                          "Accept: application/json" one string in an envelope (without follow)
 *   GET    /agent/logs/{app}               → [wire_kept]: logs of containers that are gone
 *   GET    /agent/logs/{app}/{name}        ?tail=N|all → text/plain, lines with timestamps
 *   GET    /agent/images/{name}/exists     → bool
 *   GET    /agent/images/{name}/inspect    → {"id","architecture","bytes","from_registry"}, or 404
 *   POST   /agent/images/pull              {"image","registry_auth"?: {…}} → application/x-ndjson of wire_pull lines, status 200 even when it fails later
 *   POST   /agent/images/import            a `docker save` archive as the body, headers "x-image-tag" and perhaps "x-image-bytes", the room it takes → its id;
 *                                          429 while another one comes, 507 when there is less room
 *   GET    /agent/events                   → application/x-ndjson of wire_event lines, an empty line at least every 5 s
 *   GET    /agent/health                   → wire_capacity with running_containers, docker_ok
 *   GET    /agent/ping                     → "pong", at once, whatever the engine does
 */
#ifndef TEMPS_AGENT_SERVER_H
#define TEMPS_AGENT_SERVER_H

#include "agent/engine.h"
#include "agent/metrics.h"
#include "http/exchange.h"

struct agent_server;

/* Everything is borrowed and must outlive it; <token> is hashed at once and not kept. */
struct agent_server_config {
	struct loop *loop;
	struct engine *engine;
	struct metrics *metrics;
	const char *token;
	const char *publish_ip;	/* where ports are published when a request names no address; NULL: everywhere */
};

int agent_server_create(struct agent_server **out, const struct agent_server_config *c, struct err *err) MUST_CHECK;
void agent_server_destroy(struct agent_server *s);
/* The agent is about to stop: event streams and logs end here, in good order. Other calls go on. */
void agent_server_stop(struct agent_server *s);
/* For server_create(). */
struct exchange_handler agent_server_handler(struct agent_server *s);
/* Did the last call with the right token come from this address? Places in the connection table
 * are reserved for it. <arg> is the struct agent_server. */
bool agent_server_knows(void *arg, const struct addr *peer);

#endif
