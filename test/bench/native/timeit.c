// SPDX-License-Identifier: Apache-2.0
// Runs several commands in turn, ROUNDS times, and prints one line a run: index, wall and CPU microseconds
// (of the command and of all its waited-for children), peak memory in KiB of the largest of them, exit status.
//   timeit ROUNDS PARALLEL -- COMMAND [ARG...] [-- COMMAND [ARG...]]...
// Every "%" in an argument is replaced by a number that is unique in this run.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MAX_COMMANDS = 8, MAX_ARGS = 32, MAX_PARALLEL = 64 };

struct command {
	char **argv;
	int argc;
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double cpu_us(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e6 +
	       (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

static pid_t start(const struct command *c, unsigned number, char buffers[MAX_ARGS][512])
{
	char *argv[MAX_ARGS + 1];
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int i, rc;

	for (i = 0; i < c->argc; i++) {
		const char *mark = strchr(c->argv[i], '%');

		argv[i] = c->argv[i];
		if (!mark)
			continue;
		snprintf(buffers[i], sizeof(buffers[i]), "%.*s%u%s", (int)(mark - c->argv[i]),
			 c->argv[i], number, mark + 1);
		argv[i] = buffers[i];
	}
	argv[c->argc] = NULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (rc != 0) {
		fprintf(stderr, "timeit: cannot start %s: %s\n", argv[0], strerror(rc));
		exit(1);
	}
	return pid;
}

int main(int argc, char **argv)
{
	static char buffers[MAX_ARGS][512];
	struct command commands[MAX_COMMANDS];
	int count = 0, rounds, parallel, i, round;
	unsigned number = (unsigned)getpid() * 1000u;

	if (argc < 5)
		return 1;
	rounds = atoi(argv[1]);
	parallel = atoi(argv[2]);
	if (parallel < 1 || parallel > MAX_PARALLEL)
		return 1;
	for (i = 3; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			if (count == MAX_COMMANDS)
				return 1;
			commands[count].argv = &argv[i + 1];
			commands[count++].argc = 0;
		} else if (count > 0 && commands[count - 1].argc < MAX_ARGS) {
			commands[count - 1].argc++;
		}
	}
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < count; i++) {
			double begin = now_us(), cpu = 0;
			long peak = 0;
			int failed = 0, running;

			for (running = 0; running < parallel; running++)
				start(&commands[i], number++, buffers);
			for (; running > 0; running--) {
				struct rusage usage;
				int status;

				if (wait4(-1, &status, 0, &usage) < 0)
					return 1;
				cpu += cpu_us(&usage);
				if (usage.ru_maxrss > peak)
					peak = usage.ru_maxrss;
				if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
					failed++;
			}
			printf("%d %.1f %.1f %ld %d\n", i, now_us() - begin, cpu, peak, failed);
		}
	}
	return 0;
}
