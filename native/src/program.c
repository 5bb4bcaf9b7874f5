/* The program's path and environment, from inside the container. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "process.h"
#include "text.h"

#define PASSWD_LIMIT (1 << 20)

static const char *env_get(const struct strings *env, const char *name)
{
	size_t n = strlen(name);
	const char *found = NULL;

	for (size_t i = 0; i < env->count; i++)
		if (strncmp(env->items[i], name, n) == 0 && env->items[i][n] == '=')
			found = env->items[i] + n + 1;
	return found;
}

static int check_program(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
		return -EACCES;
	return 0;
}

int process_find_program(const struct spec_process *p, char *ret, struct err *err)
{
	const char *name = p->args.items[0], *path = env_get(&p->env, "PATH");
	int seen = -ENOENT, r;

	if (!text_copy(ret, 4096, name))
		return err_set(err, -ENAMETOOLONG, "process.args[0]: too long");
	if (strchr(name, '/')) {
		r = check_program(name);
		return r < 0 ? err_sys(err, r, "process.args[0]: cannot run \"%s\"", name) : 0;
	}
	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	while (*path) {
		size_t len = strcspn(path, ":");

		if (len > 0 && len + strlen(name) + 2 <= 4096) {
			memcpy(ret, path, len);
			(void)snprintf(ret + len, 4096 - len, "/%s", name);
			r = check_program(ret);
			if (r == 0)
				return 0;
			if (r != -ENOENT && r != -ENOTDIR)
				seen = r;
		}
		path += len + (path[len] == ':');
	}
	return err_sys(err, seen, "process.args[0]: cannot find \"%s\" in PATH", name);
}

/* Field `n` (from 0) of a line of passwd, in place. */
static char *field(char *line, int n)
{
	char *end;

	while (n-- > 0) {
		line = strchr(line, ':');
		if (!line)
			return NULL;
		line++;
	}
	end = strchr(line, ':');
	if (end)
		*end = '\0';
	return line;
}

/* A hostile passwd may be a FIFO, a device, a link out or endless: only a small regular file is
 * read, without blocking. Whatever is wrong with it, HOME becomes "/". */
static char *home_of(uint32_t uid)
{
	_cleanup_close_ int fd =
		open("/etc/passwd", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	char *save = NULL;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > PASSWD_LIMIT)
		return NULL;
	text = malloc((size_t)st.st_size + 1);
	n = text ? read(fd, text, (size_t)st.st_size) : -1;
	if (n < 0)
		return NULL;
	text[n] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char copy[1024], *id, *home;

		if (!text_copy(copy, sizeof(copy), line))
			continue;
		id = field(copy, 2);
		if (!id || !*id || strtoul(id, NULL, 10) != uid)
			continue;
		(void)text_copy(copy, sizeof(copy), line);
		home = field(copy, 5);
		return home && *home == '/' ? strdup(home) : NULL;
	}
	return NULL;
}

int process_complete_env(struct arena *a, struct spec_process *p, int listen_fds, struct err *err)
{
	const char **items = arena_alloc(a, (p->env.count + 4) * sizeof(*items));
	size_t n = p->env.count;

	if (!items)
		return err_set(err, -ENOMEM, "process.env: too large");
	memcpy(items, p->env.items, n * sizeof(*items));
	if (!env_get(&p->env, "HOME")) {
		_cleanup_free_ char *home = home_of(p->uid);

		items[n++] = arena_printf(a, "HOME=%s", home ? home : "/");
	}
	if (listen_fds > 0) {
		items[n++] = arena_printf(a, "LISTEN_FDS=%d", listen_fds);
		items[n++] = "LISTEN_PID=1";
	}
	p->env.items = items;
	p->env.count = n;
	return 0;
}
