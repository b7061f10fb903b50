/* Makes a failing run small: leaves out more and more of its commands and troubles as long as it fails in the same way (delta
 * debugging: halves, then quarters, … then one by one). Each try is a process of its own. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

#define TRIES_MAX 2000u
#define TRY_LIMIT_S 20u

struct attempt {
	struct breach wanted;
	struct breach *got; /* shared with the tries */
	uint64_t steps;
	uint32_t tries;
	bool without[DISTURBANCES_MAX];
};

/* The same invariant: numbers and names in the sentence may differ. */
static bool is_same(const char *a, const char *b)
{
	size_t n = strcspn(a, "0123456789:");

	return strncmp(a, b, n) == 0;
}

static void child(const struct attempt *a, bool verbose)
{
	struct sim *s = xcalloc(1, sizeof(*s));

	alarm(TRY_LIMIT_S);
	if (!verbose && (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)))
		_exit(2);
	s->setup = (struct setup){ .verbose = verbose,
				   .without = a->without,
				   .without_n = DISTURBANCES_MAX,
				   .failure = verbose ? NULL : a->got,
				   .trace = xcalloc(1, SIM_TRACE_BYTES) };
	sim_run(s, a->wanted.seed, a->steps);
	_exit(0);
}

/* Whether the run without these disturbances still fails as it did. */
static bool fails(struct attempt *a)
{
	int status = 0;
	pid_t pid;

	if (++a->tries > TRIES_MAX)
		return false;
	*a->got = (struct breach){ 0 };
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(a, false);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && status != 0 && is_same(a->wanted.why, a->got->why);
}

/* Leaves out <n> disturbances from <at> on if that changes nothing. */
static bool shrink(struct attempt *a, uint64_t at, uint64_t n)
{
	bool before[DISTURBANCES_MAX];
	bool any = false;

	memcpy(before, a->without, sizeof(before));
	for (uint64_t i = at; i < at + n && i < DISTURBANCES_MAX; i++) {
		any |= !a->without[i];
		a->without[i] = true;
	}
	if (any && fails(a))
		return true;
	memcpy(a->without, before, sizeof(before));
	return false;
}

static void print(const struct attempt *a)
{
	const char *comma = "";
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(a, true);
	if (pid > 0)
		waitpid(pid, &status, 0);
	printf("seed %" PRIu64 ": %s\n", a->wanted.seed,
	       *a->wanted.why ? a->wanted.why : "the domain ended the process");
	printf("after %" PRIu32 " tries; again: sim --first %" PRIu64 " --seeds 1 --steps %" PRIu64
	       " --verbose --only ",
	       a->tries, a->wanted.seed, a->steps);
	for (uint64_t i = 0; i < MIN(a->wanted.disturbances, DISTURBANCES_MAX); i++) {
		if (a->without[i])
			continue;
		printf("%s%" PRIu64, comma, i);
		comma = ",";
	}
	puts(*comma ? "" : "none");
}

void minimize(const struct breach *f, uint64_t steps)
{
	struct attempt *a = xcalloc(1, sizeof(*a));
	uint64_t all = f->disturbances && f->disturbances < DISTURBANCES_MAX ? f->disturbances
									     : DISTURBANCES_MAX;

	a->wanted = *f;
	a->wanted.disturbances = all;
	a->steps = steps;
	a->got = mmap(NULL, sizeof(*a->got), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (a->got == MAP_FAILED) {
		perror("sim: mmap");
		exit(2);
	}
	/* What comes after the failure cannot have caused it. */
	for (uint64_t i = all; i < DISTURBANCES_MAX; i++)
		a->without[i] = true;
	for (uint64_t n = all; n; n /= 2) {
		for (uint64_t at = 0; at < all; at += n)
			shrink(a, at, n);
	}
	print(a);
	munmap(a->got, sizeof(*a->got));
	free(a);
}
