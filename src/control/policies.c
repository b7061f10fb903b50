/* Policies in API bodies. */
#include "control/policies.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/basic_auth.h"
#include "proxy/policy.h"

static int read_lines(struct buf *text, const struct json *list)
{
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *line = json_at(list, i);

		if (json_type(line) != JSON_STRING)
			return -EINVAL;
		if (i)
			buf_append_str(text, "\n");
		buf_append_slice(text, json_str(line, ""));
	}
	return 0;
}

static int read_value(struct buf *text, const struct json *v)
{
	switch (json_type(v)) {
	case JSON_NULL: return 0;
	case JSON_ARRAY: return read_lines(text, v);
	case JSON_OBJECT: return -EINVAL;
	case JSON_STRING: return buf_append_slice(text, json_str(v, ""));
	default: json_dump(v, false, text); return 0;
	}
}

static int read_changes(struct pairs *changes, const struct json *map, struct err *err)
{
	const struct json *value;
	struct slice key;
	void *it = NULL;

	if (json_type(map) != JSON_OBJECT || json_len(map) > POLICY_KEYS_MAX)
		return err_say(err, -EINVAL,
			       "member \"policy\": expected an object of at most %u members",
			       POLICY_KEYS_MAX);
	while (json_next(map, &it, &key, &value)) {
		struct buf text;
		int rc;

		buf_init(&text, POLICY_VALUE_MAX);
		rc = read_value(&text, value);
		if (!rc)
			pairs_add(changes, key, buf_slice(&text));
		rc = rc || text.full;
		buf_fini(&text);
		if (rc)
			return err_say(
				err, -EINVAL,
				"policy \"%.*s\": expected a text or a list of texts, at most %u bytes",
				(int)MIN(key.n, 64u), key.p, POLICY_VALUE_MAX);
	}
	return 0;
}

int policies_read(struct pairs *changes, const struct pairs *base, const struct json *body,
		  struct err *err)
{
	const struct json *map = json_get(body, "policy");
	struct upstream_policy p;
	struct pairs merged;
	int rc;

	*changes = (struct pairs){ 0 };
	if (json_type(map) == JSON_ABSENT || json_type(map) == JSON_NULL)
		return 0;
	rc = read_changes(changes, map, err);
	if (rc)
		return rc;
	policy_merge(&merged, base, changes);
	rc = policy_parse(&p, &merged, err);
	pairs_fini(&merged);
	if (!rc)
		policy_fini(&p);
	return rc;
}

/* ---- passwords ---- */

struct policies_seal {
	struct work_job job;
	struct pairs policy, current;
	void (*done)(void *arg, struct pairs *policy); /* NULL: cancelled */
	void *arg;
};

static void run_seal(struct work_job *job)
{
	struct policies_seal *s = CONTAINER_OF(job, struct policies_seal, job);

	basic_auth_seal(&s->policy, &s->current);
}

static void on_sealed(struct work_job *job)
{
	struct policies_seal *s = CONTAINER_OF(job, struct policies_seal, job);

	if (s->done)
		s->done(s->arg, &s->policy);
	else
		pairs_fini(&s->policy);
	pairs_fini(&s->current);
	free(s);
}

struct policies_seal *policies_seal(struct work *w, struct pairs *take_policy,
				    const struct pairs *current,
				    void (*done)(void *arg, struct pairs *policy), void *arg,
				    int *rc)
{
	struct policies_seal *s;

	*rc = 0;
	if (basic_auth_is_sealed(take_policy)) {
		done(arg, take_policy);
		return NULL;
	}
	s = xcalloc(1, sizeof(*s));
	s->job.run = run_seal;
	s->job.done = on_sealed;
	s->policy = *take_policy;
	pairs_copy(&s->current, current);
	s->done = done;
	s->arg = arg;
	*rc = work_submit(w, &s->job);
	if (*rc == 0)
		return s;
	pairs_fini(&s->policy);
	pairs_fini(&s->current);
	free(s);
	return NULL;
}

void policies_seal_cancel(struct policies_seal *s)
{
	if (s)
		s->done = NULL;
}
