/* From options to a launch: read, parse, compile; nothing of the host is changed yet. */
#include "launch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "sys.h"

#define CONFIG_LIMIT ((size_t)8 << 20)

static int resolve(struct launch *l, const char *base, const char *path, const char **ret,
		   struct err *err)
{
	char real[4096];
	const char *joined = path[0] == '/' ? path : arena_printf(&l->arena, "%s/%s", base, path);

	if (!joined || !realpath(joined, real))
		return err_sys(err, joined ? -errno : -ENOMEM, "cannot resolve %s", path);
	*ret = arena_strdup(&l->arena, real);
	return *ret ? 0 : err_set(err, -ENOMEM, "path is too long");
}

static int read_config(struct launch *l, struct err *err)
{
	const char *path = l->opts->config;
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (!path)
		path = arena_printf(&l->arena, "%s/config.json", l->bundle);
	else if (path[0] != '/')
		path = arena_printf(&l->arena, "%s/%s", l->bundle, path);
	if (!path)
		return err_set(err, -ENOMEM, "path is too long");
	r = read_file_at(AT_FDCWD, path, CONFIG_LIMIT, &text, &len);
	if (r < 0)
		return err_sys(err, r, "cannot read %s", path);
	if (spec_parse(&l->arena, text, len, &l->spec, err) < 0)
		return err_prefix(err, "%s", path);
	l->config_text = arena_strndup(&l->arena, text, len);
	l->config_len = len;
	return l->config_text ? 0 : err_set(err, -ENOMEM, "config.json is too large");
}

/* Fields 48 and 49 of /proc/self/stat: where the arguments start and end. */
static void find_title(struct title *ret)
{
	_cleanup_free_ char *text = NULL;
	uintptr_t start, end;
	char *p;

	if (read_file_at(AT_FDCWD, "/proc/self/stat", 4096, &text, NULL) < 0)
		return;
	p = strrchr(text, ')');
	for (int field = 2; p && field < 48; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return;
	start = (uintptr_t)strtoull(p + 1, &p, 10);
	end = (uintptr_t)strtoull(p, NULL, 10);
	if (start && end > start) {
		ret->start =
			(char *)start; /* NOLINT(performance-no-int-to-ptr): the kernel's word */
		ret->size = end - start;
	}
}

int launch_load(struct launch *l, const struct create_opts *opts, struct err *err)
{
	const char *bundle = opts->bundle ? opts->bundle : ".";
	int r;

	*l = (struct launch){ .opts = opts,
			      .id = opts->id,
			      .sync = { FD_NONE, FD_NONE },
			      .fifo_fd = FD_NONE,
			      .console_fd = FD_NONE,
			      .overlay_fd = FD_NONE,
			      .root_fd = FD_NONE,
			      .proc_fd = FD_NONE,
			      .devpts_fd = FD_NONE,
			      .null_fd = FD_NONE,
			      .console_slave = FD_NONE,
			      .tasks = { .devices = FD_NONE } };
	if (resolve(l, ".", bundle, &l->bundle, err) < 0)
		return err_prefix(err, "bundle");
	if ((r = read_config(l, err)) < 0)
		return r;
	if (resolve(l, l->bundle, l->spec.root_path, &l->rootfs, err) < 0)
		return err_prefix(err, "root.path");
	if (strcmp(l->rootfs, "/") == 0)
		return err_set(err, -EINVAL, "root.path: must not be the host's root");
	l->new_user = l->spec.ns[NS_USER].wanted && !l->spec.ns[NS_USER].path;
	if ((r = namespaces_check(&l->spec, err)) < 0 || (r = fault_at("load", err)) < 0)
		return r;
	if (l->spec.mount_label && *l->spec.mount_label &&
	    access("/sys/fs/selinux/enforce", F_OK) < 0)
		return err_set(err, -ENOTSUP,
			       "linux.mountLabel: SELinux is not enabled on this host");
	if (l->spec.init)
		find_title(&l->title);
	if (l->spec.seccomp_builtin)
		seccomp_default(&l->filter);
	else if (l->spec.seccomp)
		r = seccomp_compile(&l->arena, l->spec.seccomp, &l->filter, err);
	return r;
}

void launch_release(struct launch *l)
{
	for (size_t i = 0; l->sources && i < l->spec.mount_count; i++)
		cleanup_close(&l->sources[i]);
	cgroup_close_tasks(&l->tasks);
	close_and_forget(&l->sync[0]);
	close_and_forget(&l->sync[1]);
	close_and_forget(&l->fifo_fd);
	close_and_forget(&l->console_fd);
	close_and_forget(&l->overlay_fd);
	cgroup_free(l->cgroup);
	l->cgroup = NULL;
	arena_release(&l->arena);
}
