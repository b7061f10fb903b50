/* Machines: an engine with containers, an agent that answers calls and beats, and everything that goes wrong there. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

#define BEAT_MS 30000u

void machine_init(struct sim *s)
{
	memset(s->join_hash, 'f', HASH_HEX_LEN);
	for (uint32_t i = 0; i < MACHINES; i++) {
		struct machine *m = &s->machines[i];

		m->index = i;
		m->up = m->agent_up = m->engine_ok = m->calls_pass = m->data_pass = true;
		m->boot = 1;
		snprintf(m->name, sizeof(m->name), i ? "worker-%u" : "local", i);
		snprintf(m->private_address, sizeof(m->private_address), "10.0.0.%u", i);
		snprintf(m->token_hash, sizeof(m->token_hash), "%064u", 1000 + i);
		if (i)
			sim_send(s, MESSAGE_JOIN, 1000 + sim_random(s, 20000))->machine = i;
	}
}

bool machine_reachable(const struct machine *m)
{
	return m->up && m->agent_up && m->calls_pass && m->engine_ok;
}

struct container *machine_find(struct machine *m, const char *text)
{
	for (uint32_t i = 0; i < m->n; i++) {
		if (*text && (strcmp(m->containers[i].id, text) == 0 ||
			      strcmp(m->containers[i].name, text) == 0))
			return &m->containers[i];
	}
	return NULL;
}

struct container *machine_find_anywhere(struct sim *s, const char *container_id)
{
	for (uint32_t i = 0; i < MACHINES; i++) {
		struct container *ct = machine_find(&s->machines[i], container_id);

		if (ct)
			return ct;
	}
	return NULL;
}

struct container *machine_listener(struct sim *s, const char *ip, uint16_t port,
				   struct machine **where)
{
	for (uint32_t i = 0; i < MACHINES; i++) {
		struct machine *m = &s->machines[i];

		if (strcmp(m->private_address, ip) == 0 || (!i && strncmp(ip, "172.30.", 7) == 0))
			*where = m;
		for (uint32_t k = 0; k < m->n; k++) {
			struct container *ct = &m->containers[k];

			if (ct->state == CONTAINER_RUNNING && ct->port == port &&
			    strcmp(ct->ip, ip) == 0)
				return ct;
		}
	}
	return NULL;
}

void machine_info(const struct container *ct, struct container_info *info)
{
	*info = (struct container_info){ .container_id = ct->id,
					 .name = ct->name,
					 .state = ct->state,
					 .started_at = ct->started_at,
					 .spec_hash = ct->spec_hash,
					 .health = ct->sick ? HEALTH_BAD : HEALTH_GOOD,
					 .exit_code = ct->state == CONTAINER_RUNNING ? 0
						      : ct->once		     ? ct->fails
										     : 137 };
}

/* Tells the stream, and the next beat. */
static void changed(struct sim *s, struct machine *m, const struct container *ct)
{
	struct message *news;

	m->inventory_due = true;
	if (!m->streaming || !m->agent_up || !m->calls_pass)
		return;
	news = sim_send(s, MESSAGE_CHANGE, 1 + sim_random(s, 50));
	news->epoch = s->epoch;
	news->machine = m->index;
	news->n = m->stream_n;
	news->container = *ct;
}

static void start(struct sim *s, struct machine *m, struct container *ct)
{
	bool exits = strncmp(ct->image, "exits", 5) == 0;

	ct->state = CONTAINER_RUNNING;
	snprintf(ct->started_at, sizeof(ct->started_at), "t%" PRIu64, s->now_ms);
	ct->sick = strncmp(ct->image, "sick", 4) == 0;
	if (ct->has_volume)
		check_volume(s, m, ct);
	changed(s, m, ct);
	if (ct->once) {
		struct message *end = sim_send(s, MESSAGE_END, sim_random(s, sim_chance(s, 300) ? 60000 : 1000));

		check_hook(s, ct);
		end->machine = m->index;
		snprintf(end->container.id, sizeof(end->container.id), "%s", ct->id);
		return;
	}
	if (!exits)
		return;
	ct->state = CONTAINER_RESTARTING;
	changed(s, m, ct);
}

void machine_end(struct sim *s, struct machine *m, const char *container_id)
{
	struct container *ct = machine_find(m, container_id);

	if (!ct || !m->up || ct->state != CONTAINER_RUNNING)
		return;
	ct->state = CONTAINER_EXITED;
	changed(s, m, ct);
}

void machine_revive(struct sim *s, struct machine *m, const char *container_id)
{
	struct container *ct = machine_find(m, container_id);

	if (!ct || !m->up || ct->told_to_stop)
		return;
	if (ct->state == CONTAINER_RUNNING)
		ct->sick = strncmp(ct->image, "sick", 4) == 0;
	else if (ct->state == CONTAINER_RESTARTING)
		start(s, m, ct);
}

static void revive_later(struct sim *s, struct machine *m, const struct container *ct,
			 uint64_t in_ms)
{
	struct message *again = sim_send(s, MESSAGE_REVIVE, in_ms);

	again->machine = m->index;
	snprintf(again->container.id, sizeof(again->container.id), "%s", ct->id);
}

/* ---- calls ---- */

static struct message *answer(struct sim *s, const struct message *call, enum rpc_outcome outcome,
			      uint64_t in_ms)
{
	struct message *m = sim_send(s, MESSAGE_RESULT, in_ms);

	m->epoch = call->n;
	m->effect = call->effect;
	m->machine = call->machine;
	m->outcome = outcome;
	m->replica = call->replica;
	m->op_seq = call->op_seq;
	memcpy(m->app, call->app, sizeof(m->app));
	return m;
}

static bool port_taken(const struct machine *m, const struct container *wanted)
{
	for (uint32_t i = 0; i < m->n; i++) {
		const struct container *ct = &m->containers[i];

		if (wanted->port && ct->port == wanted->port && strcmp(ct->ip, wanted->ip) == 0 &&
		    (ct->state == CONTAINER_RUNNING || ct->state == CONTAINER_RESTARTING))
			return true;
	}
	return false;
}

/* One container at a time has a volume. */
static bool volume_taken(const struct machine *m, const struct container *wanted)
{
	for (uint32_t i = 0; i < m->n; i++) {
		const struct container *ct = &m->containers[i];

		if (wanted->has_volume && ct->has_volume && strcmp(ct->app, wanted->app) == 0 &&
		    (ct->state == CONTAINER_RUNNING || ct->state == CONTAINER_RESTARTING))
			return true;
	}
	return false;
}

static enum rpc_outcome create(struct sim *s, struct machine *m, struct message *call,
			       struct container **out)
{
	struct container *ct = machine_find(m, call->container.name);

	if (ct) {
		*out = ct;
		if (strcmp(ct->spec_hash, call->container.spec_hash) != 0 ||
		    ct->state == CONTAINER_EXITED)
			return RPC_CONFLICT;
		return RPC_OK;
	}
	snprintf(call->container.app, sizeof(call->container.app), "%s", call->app);
	if (volume_taken(m, &call->container)) {
		sim_log(s, "%s: the volume of %s is in use", m->name, call->app);
		return RPC_BUSY;
	}
	/* By one of ours, or by somebody we know nothing of. */
	if (port_taken(m, &call->container) || (call->container.port && sim_chance(s, 5))) {
		sim_log(s, "%s: port %u is taken", m->name, call->container.port);
		return RPC_ADDRESS_TAKEN;
	}
	if (m->n == CONTAINERS_MAX)
		sim_fail(s, "%s has %u containers", m->name, m->n);
	ct = &m->containers[m->n++];
	*ct = call->container;
	snprintf(ct->id, sizeof(ct->id), "c%" PRIu64, ++s->next_container);
	*out = ct;
	sim_log(s, "%s: created %s as %s", m->name, ct->name, ct->id);
	start(s, m, ct);
	return RPC_OK;
}

static enum rpc_outcome stop(struct sim *s, struct machine *m, struct container *ct)
{
	if (!ct)
		return RPC_NOT_FOUND;
	ct->told_to_stop = true;
	ct->state = CONTAINER_EXITED;
	changed(s, m, ct);
	return RPC_OK;
}

static enum rpc_outcome discard(struct sim *s, struct machine *m, struct container *ct)
{
	struct container gone;

	if (!ct)
		return RPC_NOT_FOUND;
	gone = *ct;
	gone.state = CONTAINER_REMOVED;
	*ct = m->containers[--m->n];
	changed(s, m, &gone);
	return RPC_OK;
}

static void answer_list(struct sim *s, struct machine *m, const struct message *call)
{
	struct container *list = xcalloc(m->n + 1, sizeof(*list));
	struct message *a = answer(s, call, RPC_OK, 1 + sim_random(s, 200));

	memcpy(list, m->containers, m->n * sizeof(*list));
	a->list = list;
	a->list_n = m->n;
}

void machine_call(struct sim *s, struct message *call)
{
	struct machine *m = &s->machines[call->machine];
	struct container *ct =
		machine_find(m, *call->container.id ? call->container.id : call->container.name);
	bool slow = strncmp(call->container.image, "slow", 4) == 0;
	enum rpc_outcome outcome = RPC_OK;
	struct message *a;

	if (!machine_reachable(m)) {
		if (!call->mute && call->effect != EFFECT_LIST)
			answer(s, call, RPC_TRANSPORT, m->up && !m->agent_up ? 1 : 10000);
		return;
	}
	switch (call->effect) {
	case EFFECT_LIST: answer_list(s, m, call); return;
	case EFFECT_IMAGE_ENSURE:
		outcome = strncmp(call->container.image, "bad", 3) == 0 ? RPC_ERROR : RPC_OK;
		if (!*call->container.image_id)
			snprintf(call->container.image_id, sizeof(call->container.image_id), "sha256:%s-%u",
				 call->container.image, s->tags_moved);
		ct = &call->container;
		break;
	case EFFECT_CREATE: outcome = create(s, m, call, &ct); break;
	case EFFECT_STOP: outcome = stop(s, m, ct); break;
	case EFFECT_REMOVE:
		outcome = discard(s, m, ct);
		ct = NULL;
		break;
	default: outcome = ct ? RPC_OK : RPC_NOT_FOUND; break;
	}
	if (call->mute)
		return;
	a = answer(s, call, outcome, (slow ? 20000 : 1) + sim_random(s, 100));
	if (ct)
		a->container = *ct;
	if (!s->quiet_world && sim_chance(s, 20)) {
		struct message twice = *a;

		*sim_send(s, MESSAGE_RESULT, 0) = twice;
		s->queue[s->queue_n - 1].at_ms += sim_random(s, 5000);
	}
}

/* ---- beats ---- */

void machine_beat(struct sim *s, struct machine *m)
{
	struct message *next, *beat;

	if (!m->node_id)
		return;
	next = sim_send(s, MESSAGE_BEAT_SEND, BEAT_MS * 9 / 10 + sim_random(s, BEAT_MS / 5));
	next->machine = m->index;
	if (++m->beat_n > 1 && m->up && m->agent_up && m->calls_pass && sim_chance(s, 20))
		sim_send(s, MESSAGE_JOIN, 10)->machine = m->index; /* an agent that started again */
	if (!m->up || !m->agent_up || !m->calls_pass || (!s->quiet_world && sim_chance(s, 30)))
		return;
	beat = sim_send(s, MESSAGE_BEAT, 1 + sim_random(s, sim_chance(s, 50) ? 8000 : 50));
	beat->machine = m->index;
	beat->n = m->boot;
	beat->healthy = m->engine_ok;
	beat->has_list = m->inventory_due && m->engine_ok;
	if (m->inventory_due)
		snprintf(m->last_inventory, sizeof(m->last_inventory), "%" PRIu64, s->now_ms);
	snprintf(beat->container.id, sizeof(beat->container.id), "%s", m->last_inventory);
	if (!beat->has_list)
		return;
	beat->list = xcalloc(m->n + 1, sizeof(*beat->list));
	memcpy(beat->list, m->containers, m->n * sizeof(*beat->list));
	beat->list_n = m->n;
	m->inventory_due = false;
}

/* ---- trouble ---- */

static void power_off(struct sim *s, struct machine *m)
{
	sim_log(s, "---- %s loses power", m->name);
	m->up = false;
	for (uint32_t i = 0; i < m->n; i++) {
		struct container *ct = &m->containers[i];

		if (ct->state != CONTAINER_RUNNING)
			continue;
		ct->state = ct->once ? CONTAINER_EXITED : CONTAINER_RESTARTING;
		ct->fails = true;
	}
}

/* A container of another time, or of a name that another machine has: a backup was restored, say. */
static void stranger(struct sim *s, struct machine *m)
{
	const struct machine *other = &s->machines[sim_random(s, MACHINES)];
	struct container *ct = &m->containers[m->n];
	const char *name = other != m && other->n ? other->containers[0].name : NULL;

	if (m->n >= CONTAINERS_MAX / 2 || !m->up)
		return;
	*ct = (struct container){ .state = CONTAINER_RUNNING, .spec_hash = "of another time" };
	snprintf(ct->id, sizeof(ct->id), "c%" PRIu64, ++s->next_container);
	if (name && !machine_find(m, name))
		snprintf(ct->name, sizeof(ct->name), "%s", name);
	else
		snprintf(ct->name, sizeof(ct->name), "sim-old-%" PRIu64, s->next_container);
	snprintf(ct->started_at, sizeof(ct->started_at), "t%" PRIu64, s->now_ms);
	m->n++;
	sim_log(s, "---- %s appears on %s", ct->name, m->name);
	changed(s, m, ct);
}

static void container_trouble(struct sim *s, struct machine *m)
{
	struct container *ct;

	if (sim_chance(s, 50)) {
		stranger(s, m);
		return;
	}
	if (!m->n || !m->up)
		return;
	ct = &m->containers[sim_random(s, m->n)];
	/* That a command ran is known from its container alone. */
	if (ct->state != CONTAINER_RUNNING || ct->once)
		return;
	switch (sim_random(s, 5)) {
	case 0:
		sim_log(s, "---- %s ends for good", ct->name);
		ct->state = CONTAINER_EXITED;
		changed(s, m, ct);
		break;
	case 1:
		sim_log(s, "---- %s is removed by hand", ct->name);
		discard(s, m, ct);
		break;
	case 2:
		sim_log(s, "---- %s refuses connections", ct->name);
		ct->sick = true;
		revive_later(s, m, ct, sim_random(s, 60000));
		break;
	default:
		sim_log(s, "---- %s crashes", ct->name);
		ct->state = CONTAINER_RESTARTING;
		changed(s, m, ct);
		revive_later(s, m, ct, 100 + sim_random(s, 10000));
		break;
	}
}

static void plane_trouble(struct sim *s)
{
	uint64_t stall_ms = 1000 + sim_random(s, 150000);
	struct message *first;

	if (!s->cluster)
		return;
	switch (sim_random(s, 5)) {
	case 0: plane_crash(s, "by itself"); break;
	case 4:
		sim_log(s, "---- ticks are late for %" PRIu64 " ms", stall_ms / 8);
		s->starve_until_ms = s->now_ms + stall_ms / 8;
		s->stalled_ms += stall_ms / 8;
		break;
	case 1:
		sim_log(s, "---- the control plane stands still for %" PRIu64 " ms", stall_ms);
		if (s->stall_until_ms > s->now_ms)
			break;
		s->stall_until_ms = s->now_ms + stall_ms;
		s->stalled_ms += stall_ms;
		s->stood_ms += stall_ms;
		s->stands++;
		/* Timers are due at once then, before anything that has arrived meanwhile is read. */
		first = sim_send(s, MESSAGE_TICK, stall_ms);
		first->epoch = s->epoch;
		first->seq = 0;
		break;
	default:
		s->wall_ms += sim_random(s, 7200000);
		s->wall_ms -= sim_random(s, 7200000);
		sim_log(s, "---- the wall clock jumps");
		break;
	}
}

static void machine_fault(struct sim *s, struct machine *m)
{
	uint64_t dice = sim_random(s, 100);

	if (dice < 20 && m->index) {
		power_off(s, m);
	} else if (dice < 40 && m->index) {
		sim_log(s, "---- the agent of %s is killed", m->name);
		m->agent_up = false;
	} else if (dice < 55 && m->index) {
		sim_log(s, "---- %s is cut off", m->name);
		m->calls_pass = m->data_pass = false;
	} else if (dice < 70 && m->index) {
		sim_log(s, "---- calls to %s do not pass", m->name);
		m->calls_pass = false;
	} else if (dice < 85 && m->index) {
		sim_log(s, "---- traffic to %s does not pass", m->name);
		m->data_pass = false;
	} else {
		sim_log(s, "---- the engine of %s freezes", m->name);
		m->engine_ok = false;
	}
	sim_send(s, MESSAGE_HEAL, sim_chance(s, 300) ? sim_random(s, 600000) : sim_random(s, 60000))
		->machine = m->index;
}

void machine_trouble(struct sim *s)
{
	struct machine *m = &s->machines[sim_random(s, MACHINES)];
	uint64_t dice = sim_random(s, 100);

	if (dice < 45) {
		container_trouble(s, m);
	} else if (dice < 60) {
		plane_trouble(s);
	} else if (dice < 64) {
		for (uint32_t i = 1; i < MACHINES; i++) {
			if (sim_chance(s, 700))
				machine_fault(s, &s->machines[i]);
		}
	} else {
		machine_fault(s, m);
	}
}

void machine_heal(struct sim *s, struct machine *m)
{
	bool rebooted = !m->up;

	sim_log(s, "---- %s is well again", m->name);
	m->up = m->agent_up = m->engine_ok = m->calls_pass = m->data_pass = true;
	m->inventory_due = true;
	if (!rebooted)
		return;
	m->boot++;
	for (uint32_t i = 0; i < m->n; i++) {
		if (m->containers[i].state == CONTAINER_RESTARTING)
			revive_later(s, m, &m->containers[i], sim_random(s, 3000));
	}
}

void machine_end_trouble(struct sim *s)
{
	for (uint32_t i = 0; i < MACHINES; i++)
		machine_heal(s, &s->machines[i]);
	plane_restart(s);
	/* One is drained in the end, or not; the rest takes what there is. */
	for (uint32_t i = 0; i < MACHINES; i++)
		people_drain(s, &s->machines[i], false);
	s->machines[1].to_drain = s->machines[1].node_id && sim_chance(s, 500);
	if (s->machines[1].to_drain)
		people_drain(s, &s->machines[1], true);
}
