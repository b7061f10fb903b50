/* Images that the cluster sent here are called temps/APP:RELEASE, and would pile up: when a new one came, those of releases
 * that are too old to be gone back to lose that name, and with the last name the engine removes them. One that a container
 * runs from stays: the engine refuses. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine_inner.h"

#define RELEASES_KEPT 11u /* the current one, and those that the control plane can go back to */
#define SWEPT_MAX 64u	  /* at once; the rest goes the next time */

struct sweep_op {
	struct link_op op;
	char *repo;		   /* "temps/hello" */
	uint64_t newest;	   /* release */
	uint64_t tags[SWEPT_MAX]; /* to go */
	uint32_t n;
};

/* Nobody waits for it. */
static void sweep_answer(struct link_op *op, const struct link_result *res)
{
	(void)op;
	(void)res;
}

static void sweep_fini(struct link_op *op)
{
	free(((struct sweep_op *)op)->repo);
}

static const struct op_kind sweep_kind = { .size = sizeof(struct sweep_op),
					   .answer = sweep_answer,
					   .fini = sweep_fini };

static void sweep_next(struct sweep_op *s);

/* In use, or gone already: fine. */
static void on_removed(void *arg, const struct docker_result *res)
{
	struct sweep_op *s = arg;

	s->op.call = NULL;
	if (res->rc == -ECOMM || res->rc == -ETIMEDOUT)
		op_fail(&s->op, res);
	else
		sweep_next(s);
}

static const struct docker_ops remove_ops = { .done = on_removed };

static void sweep_next(struct sweep_op *s)
{
	if (!s->n) {
		op_done(&s->op);
		return;
	}
	s->n--;
	op_call(&s->op, &remove_ops, &(struct docker_request){ .method = "DELETE" }, "/images/%s:%llu", s->repo,
		(unsigned long long)s->tags[s->n]);
}

/* "temps/hello:3" */
static void look_at(struct sweep_op *s, const char *name)
{
	size_t repo = strlen(s->repo);
	uint64_t release;

	if (s->n == SWEPT_MAX || strncmp(name, s->repo, repo) != 0 || name[repo] != ':' ||
	    slice_u64(slice_str(name + repo + 1), &release))
		return;
	if (release < s->newest && s->newest - release >= RELEASES_KEPT)
		s->tags[s->n++] = release;
}

static void on_listed(void *arg, const struct docker_result *res)
{
	struct sweep_op *s = arg;
	struct json *list;

	s->op.call = NULL;
	if (res->rc) {
		op_fail(&s->op, res);
		return;
	}
	if (!json_parse(&list, res->body, NULL)) {
		for (size_t i = 0; i < json_len(list); i++) {
			const struct json *names = json_get(json_at(list, i), "RepoTags");

			for (size_t k = 0; k < json_len(names); k++)
				look_at(s, json_cstr(json_at(names, k), ""));
		}
		json_free(list);
	}
	sweep_next(s);
}

static const struct docker_ops list_ops = { .done = on_listed };

void engine_sweep_images(struct engine *e, const char *tag)
{
	const char *colon = strrchr(tag, ':');
	struct sweep_op *s;
	uint64_t release;
	char *filter, *escaped;

	if (strncmp(tag, "temps/", 6) != 0 || !colon || slice_u64(slice_str(colon + 1), &release))
		return;
	s = op_new(e, &sweep_kind, NULL);
	s->repo = xasprintf("%.*s", (int)(colon - tag), tag);
	s->newest = release;
	filter = xasprintf("{\"reference\":[\"%s\"]}", s->repo);
	escaped = op_escape(filter);
	op_call(&s->op, &list_ops, &(struct docker_request){ .method = "GET" }, "/images/json?filters=%s",
		escaped);
	free(escaped);
	free(filter);
}
