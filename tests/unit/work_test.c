/* The thread beside the loop: order, cap, the end. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "check.h"
#include "pump.h"
#include "reactor/work.h"

#define CAP 8

struct job {
	struct work_job job;
	int number;
	pthread_t ran_on;
};

static struct fixture {
	struct loop *loop;
	struct work *work;
	struct job jobs[CAP + 1];
	int done[CAP + 1], done_count;
	sem_t gate;		/* the first job waits here */
	bool gated, again;
} f;

static void run_job(struct work_job *job)
{
	struct job *j = CONTAINER_OF(job, struct job, job);

	if (f.gated && j->number == 0)
		sem_wait(&f.gate);
	j->ran_on = pthread_self();
}

static void on_done(struct work_job *job)
{
	struct job *j = CONTAINER_OF(job, struct job, job);

	assert_false(pthread_equal(j->ran_on, pthread_self()) && !f.again);
	f.done[f.done_count++] = j->number;
	if (f.again && j->number == 0) {
		j->number = CAP;
		assert_int_equal(work_submit(f.work, job), 0);
	}
}

static int setup(void **state)
{
	struct err err;

	(void)state;
	memset(&f, 0, sizeof(f));
	sem_init(&f.gate, 0, 0);
	for (int i = 0; i <= CAP; i++) {
		f.jobs[i].job.run = run_job;
		f.jobs[i].job.done = on_done;
		f.jobs[i].number = i;
	}
	return loop_create(&f.loop, &err) ||
	       work_create(&f.work, f.loop, "a name longer than 15", CAP, &err);
}

static int teardown(void **state)
{
	(void)state;
	work_destroy(f.work);
	loop_destroy(f.loop);
	sem_destroy(&f.gate);
	return 0;
}

static void comes_back_in_order(void **state)
{
	(void)state;
	for (int i = 0; i < CAP; i++)
		assert_int_equal(work_submit(f.work, &f.jobs[i].job), 0);
	PUMP_UNTIL(f.loop, f.done_count == CAP);
	for (int i = 0; i < CAP; i++)
		assert_int_equal(f.done[i], i);
	assert_int_equal(work_stats(f.work).submitted, CAP);
	assert_int_equal(work_stats(f.work).queued, 0);
}

static void refuses_over_the_cap(void **state)
{
	(void)state;
	f.gated = true;
	for (int i = 0; i < CAP; i++)
		assert_int_equal(work_submit(f.work, &f.jobs[i].job), 0);
	assert_int_equal(work_submit(f.work, &f.jobs[CAP].job), -EBUSY);
	assert_int_equal(work_stats(f.work).refused, 1);
	assert_int_equal(work_stats(f.work).queued, CAP);
	pump_idle(f.loop);
	assert_int_equal(f.done_count, 0);
	sem_post(&f.gate);
	PUMP_UNTIL(f.loop, f.done_count == CAP);
	assert_int_equal(work_submit(f.work, &f.jobs[CAP].job), 0);
	PUMP_UNTIL(f.loop, f.done_count == CAP + 1);
}

static int endless;

static void on_again(struct work_job *job)
{
	if (++endless < 1000)
		assert_int_equal(work_submit(f.work, job), 0);
}

static void jobs_without_end_leave_the_loop_its_turns(void **state)
{
	uint64_t turns = 0;

	(void)state;
	endless = 0;
	for (int i = 0; i < CAP; i++) {
		f.jobs[i].job.done = on_again;
		assert_int_equal(work_submit(f.work, &f.jobs[i].job), 0);
	}
	while (endless < 1000) {
		int before = endless;

		PUMP_UNTIL(f.loop, endless > before);
		turns++;
		assert_true(endless - before <= 64);
	}
	assert_true(turns >= 1000 / 64);
}

static void ends_with_everything_done(void **state)
{
	(void)state;
	f.gated = f.again = true;
	for (int i = 0; i < CAP; i++)
		assert_int_equal(work_submit(f.work, &f.jobs[i].job), 0);
	sem_post(&f.gate);
	work_destroy(f.work);
	f.work = NULL;
	assert_int_equal(f.done_count, CAP + 1);
	assert_int_equal(f.done[CAP], CAP);	/* submitted by the first one's done */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(comes_back_in_order),
		TEST(refuses_over_the_cap),
		TEST(jobs_without_end_leave_the_loop_its_turns),
		TEST(ends_with_everything_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
