/* The names of events. */
#include "sched/event.h"

static const char *const names[EVENT_TYPES] = {
	[EVENT_START] = "start",
	[EVENT_TICK] = "tick",
	[EVENT_REGISTER] = "register",
	[EVENT_HEARTBEAT] = "heartbeat",
	[EVENT_EXCHANGE] = "exchange",
	[EVENT_AGENT_REACHABLE] = "agent-reachable",
	[EVENT_AGENT_LOST] = "agent-lost",
	[EVENT_CAPACITY] = "capacity",
	[EVENT_INVENTORY] = "inventory",
	[EVENT_CONTAINER] = "container",
	[EVENT_NODE_DELETE] = "node-delete",
	[EVENT_NODE_DRAIN] = "node-drain",
	[EVENT_NODE_UNDRAIN] = "node-undrain",
	[EVENT_NODE_GC] = "node-gc",
	[EVENT_REBALANCE] = "rebalance",
	[EVENT_BRAKE_RELEASE] = "brake-release",
	[EVENT_DEPLOY] = "deploy",
	[EVENT_APP_DELETE] = "app-delete",
	[EVENT_SCALE] = "scale",
	[EVENT_RESTART] = "restart",
	[EVENT_ROLLBACK] = "rollback",
	[EVENT_PAUSE] = "pause",
	[EVENT_RESUME] = "resume",
	[EVENT_LOCK] = "lock",
	[EVENT_UNLOCK] = "unlock",
	[EVENT_IMAGE_DONE] = "image-done",
	[EVENT_CREATE_DONE] = "create-done",
	[EVENT_INSPECT_DONE] = "inspect-done",
	[EVENT_LOG_TAIL_DONE] = "log-tail-done",
	[EVENT_STOP_DONE] = "stop-done",
	[EVENT_REMOVE_DONE] = "remove-done",
	[EVENT_PROBE_DONE] = "probe-done",
	[EVENT_UPSTREAM_FAILED] = "upstream-failed",
	[EVENT_DRAINED] = "drained",
	[EVENT_JOIN_TOKEN_CREATE] = "join-token-create",
	[EVENT_JOIN_TOKEN_REVOKE] = "join-token-revoke",
	[EVENT_API_KEY_CREATE] = "api-key-create",
	[EVENT_API_KEY_REVOKE] = "api-key-revoke",
	[EVENT_STATIC_ADD] = "static-add",
	[EVENT_STATIC_SET] = "static-set",
	[EVENT_STATIC_REMOVE] = "static-remove",
	[EVENT_REGISTRY_ADD] = "registry-add",
	[EVENT_REGISTRY_REMOVE] = "registry-remove",
};

const char *event_name(enum event_type type)
{
	return (unsigned)type < EVENT_TYPES ? names[type] : "?";
}
