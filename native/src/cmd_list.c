/* list and ps. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "cleanup.h"
#include "commands.h"
#include "container.h"
#include "json_write.h"
#include "opts.h"
#include "state.h"
#include "sys.h"
#include "text.h"

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct ids {
	size_t count, cap;
	char **items;
};

static void ids_free(struct ids *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i]);
	free(l->items);
}

static int ids_read(const char *root, struct ids *l, struct err *err)
{
	int fd = state_open_root(root, false, err);
	struct dirent *e;
	DIR *dir;

	if (fd == -ENOENT)
		return 0;
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return fd < 0 ? fd : err_sys(err, -errno, "cannot list the state folder");
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.'))
			continue;
		if (l->count == l->cap) {
			size_t cap = l->cap ? l->cap * 2 : 64;
			char **grown = realloc(l->items, cap * sizeof(*grown));

			if (!grown)
				break;
			l->items = grown;
			l->cap = cap;
		}
		l->items[l->count] = strdup(e->d_name);
		l->count += l->items[l->count] != NULL;
	}
	(void)closedir(dir);
	if (l->count)
		qsort(l->items, l->count, sizeof(*l->items), compare);
	return 0;
}

static void print_row(const struct container *c, const struct state *s, enum container_status st,
		      struct jw *json)
{
	int pid = st == CONTAINER_STOPPED ? 0 : c->pid;

	if (!json) {
		printf("%-32s %-8d %-10s %-40s %s root\n", c->id, pid, container_status_name(st),
		       s->bundle ? s->bundle : "", s->created ? s->created : "");
		return;
	}
	jw_object(json, NULL);
	jw_string(json, "ociVersion", s->version);
	jw_string(json, "id", c->id);
	jw_i64(json, "pid", pid);
	jw_string(json, "status", container_status_name(st));
	jw_string(json, "bundle", s->bundle);
	jw_string(json, "rootfs", s->rootfs);
	jw_string(json, "created", s->created);
	jw_string(json, "owner", "root");
	jw_object_end(json);
}

static void print_one(const struct globals *g, const char *id, bool quiet, struct jw *json)
{
	_cleanup_container_ struct container c = CONTAINER_INIT;
	_cleanup_arena_ struct arena arena = { 0 };
	struct err ignored = ERR_INIT;
	enum container_status status;
	struct state s = { 0 };

	if (quiet) {
		puts(id);
		return;
	}
	/* A container may go away while the list is made. */
	if (container_peek(g->root, id, &c, &ignored) < 0 ||
	    container_state(&c, &status, &ignored) < 0)
		return;
	(void)state_load(&arena, c.dir_fd, &s, &ignored);
	print_row(&c, &s, status, json);
}

int cmd_list(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	__attribute__((cleanup(ids_free))) struct ids ids = { 0 };
	_cleanup_jw_ struct jw w = { 0 };
	const char *format = "table", *text;
	bool quiet = false, json;
	const struct opt table[] = {
		{ "format", 'f', OPT_STRING, &format, "FORMAT", "table or json" },
		{ "quiet", 'q', OPT_FLAG, &quiet, NULL, "ids only" },
		{ 0 },
	};
	int index, r = opts_parse(table, "berth list [options]", argc, argv, &index, err);

	(void)ret_status;
	if (r != 0)
		return r < 0 ? r : 0;
	json = strcmp(format, "json") == 0;
	if (!json && strcmp(format, "table") != 0)
		return err_set(err, -EINVAL, "--format: must be table or json");
	r = ids_read(g->root, &ids, err);
	if (r < 0)
		return r;
	if (json && !quiet)
		jw_array(&w, NULL);
	else if (!quiet)
		printf("%-32s %-8s %-10s %-40s %-30s OWNER\n", "ID", "PID", "STATUS", "BUNDLE",
		       "CREATED");
	for (size_t i = 0; i < ids.count; i++)
		print_one(g, ids.items[i], quiet, json ? &w : NULL);
	if (json && !quiet) {
		jw_array_end(&w);
		if (jw_finish(&w, &text, NULL) == 0)
			puts(text);
	}
	return 0;
}

/* The table is ps's own, reduced to the container's processes, as runc does it. */
static int print_table(const pid_t *pids, size_t count, int argc, char **argv, struct err *err)
{
	const char *args[32] = { "ps", "-ef" }, *env[] = { "PATH=/usr/bin:/bin", NULL };
	char line[8192];
	FILE *in;
	int pipe_fds[2], column = -1, status;
	pid_t pid;

	for (int i = 0; i < argc && i < 29; i++)
		args[i + 1] = argv[i];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot make a pipe");
	pid = fork();
	if (pid == 0) {
		(void)dup2(pipe_fds[1], 1);
		(void)sys_execve("/usr/bin/ps", args, env);
		(void)sys_execve("/bin/ps", args, env);
		_exit(127);
	}
	(void)close(pipe_fds[1]);
	in = fdopen(pipe_fds[0], "r");
	while (in && fgets(line, sizeof(line), in)) {
		char copy[8192], *save = NULL, *word;
		int at = 0;

		(void)text_copy(copy, sizeof(copy), line);
		for (word = strtok_r(copy, " \n", &save); word;
		     word = strtok_r(NULL, " \n", &save), at++) {
			if (column < 0 && strcmp(word, "PID") == 0) {
				column = at;
				(void)fputs(line, stdout);
				break;
			}
			if (at != column)
				continue;
			for (size_t i = 0; i < count; i++)
				if (pids[i] == (pid_t)strtol(word, NULL, 10))
					(void)fputs(line, stdout);
			break;
		}
	}
	if (in)
		(void)fclose(in);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		return err_set(err, -EIO, "cannot run ps");
	return 0;
}

int cmd_ps(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	_cleanup_container_ struct container c = CONTAINER_INIT;
	_cleanup_free_ pid_t *pids = NULL;
	const char *format = "table";
	const struct opt table[] = {
		{ "format", 'f', OPT_STRING, &format, "FORMAT", "table or json" },
		{ 0 },
	};
	size_t count = 0;
	int index, r = opts_parse(table, "berth ps [options] ID [ps options]", argc, argv, &index,
				  err);

	(void)ret_status;
	if (r != 0)
		return r < 0 ? r : 0;
	if (index >= argc)
		return err_set(err, -EINVAL, "usage: berth ps [options] ID [ps options]");
	if ((r = container_open(g->root, argv[index], &c, err)) < 0)
		return r;
	if (!c.cgroup)
		return err_set(err, -ENOTSUP, "container \"%s\" has no cgroup", c.id);
	if ((r = cgroup_pids(c.cgroup, &pids, &count, err)) < 0)
		return r;
	if (strcmp(format, "table") == 0)
		return print_table(pids, count, argc - index - 1, argv + index + 1, err);
	if (strcmp(format, "json") != 0)
		return err_set(err, -EINVAL, "--format: must be table or json");
	printf("[");
	for (size_t i = 0; i < count; i++)
		printf("%s%d", i ? "," : "", (int)pids[i]);
	puts("]");
	return 0;
}
