#include "state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "json_write.h"
#include "sys.h"
#include "text.h"

int state_check_id(const char *id, struct err *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_+.-";

	if (!id || !*id)
		return err_set(err, -EINVAL, "container id: must not be empty");
	if (strlen(id) > 200)
		return err_set(err, -EINVAL, "container id: must be at most 200 characters");
	if (id[strspn(id, allowed)] || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return err_set(err, -EINVAL,
			       "container id \"%s\": must be of letters, digits and _+.-", id);
	return 0;
}

static int make_folders(const char *path)
{
	char buf[4096];

	if (!text_copy(buf, sizeof(buf), path))
		return -ENAMETOOLONG;
	for (char *p = buf + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(buf, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(buf, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int state_open_root(const char *root, bool make, struct err *err)
{
	const char *path = root ? root : STATE_DEFAULT_ROOT;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0 && errno == ENOENT && make) {
		r = make_folders(path);
		if (r < 0)
			return err_sys(err, r, "cannot make the state folder %s", path);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? err_sys(err, -errno, "cannot open the state folder %s", path) : fd;
}

static void write_annotations(struct jw *w, const struct spec *spec)
{
	jw_object(w, "annotations");
	for (size_t i = 0; spec && i < spec->annotations.count; i++)
		jw_string(w, spec->annotations.items[i].key, spec->annotations.items[i].value);
	jw_object_end(w);
}

static int put_file(int dir, const char *name, const char *text, size_t len)
{
	char tmp[64];
	int r;

	(void)snprintf(tmp, sizeof(tmp), "%s.tmp", name);
	{
		_cleanup_close_ int fd =
			openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		r = fd < 0 ? -errno : write_all(fd, text, len);
	}
	if (r >= 0 && renameat(dir, tmp, dir, name) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir, tmp, 0);
	return r;
}

int state_save(int dir_fd, const char *id, const struct state *s, const struct spec *spec,
	       struct err *err)
{
	_cleanup_jw_ struct jw w = { 0 };
	const char *text;
	size_t len;
	int r;

	jw_object(&w, NULL);
	jw_string(&w, "ociVersion", s->version);
	jw_string(&w, "id", id);
	jw_i64(&w, "pid", s->pid);
	jw_u64(&w, "startTime", s->start_time);
	jw_string(&w, "bundle", s->bundle);
	jw_string(&w, "rootfs", s->rootfs);
	jw_string(&w, "created", s->created);
	jw_u64(&w, "owner", s->owner);
	jw_string(&w, "cgroup", s->cgroup);
	jw_bool(&w, "poststart", s->poststart);
	jw_bool(&w, "poststop", s->poststop);
	write_annotations(&w, spec);
	jw_object_end(&w);
	r = jw_finish(&w, &text, &len);
	if (r >= 0)
		r = put_file(dir_fd, "state.json", text, len);
	return r < 0 ? err_sys(err, r, "cannot write state.json") : 0;
}

int state_load(struct arena *a, int dir_fd, struct state *ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	struct state s = { 0 };
	struct json *doc = NULL;
	int64_t pid = 0;
	size_t len;
	int r = read_file_at(dir_fd, "state.json", 1 << 22, &text, &len);

	if (r < 0)
		return err_sys(err, r, "cannot read state.json");
	if (json_parse(a, text, len, &doc, err) < 0 ||
	    json_get_string(doc, "ociVersion", &s.version, err) < 0 ||
	    json_get_i64(doc, "pid", &pid, err) < 0 ||
	    json_get_u64(doc, "startTime", &s.start_time, err) < 0 ||
	    json_get_string(doc, "bundle", &s.bundle, err) < 0 ||
	    json_get_string(doc, "rootfs", &s.rootfs, err) < 0 ||
	    json_get_string(doc, "created", &s.created, err) < 0 ||
	    json_get_u32(doc, "owner", &s.owner, err) < 0 ||
	    json_get_string(doc, "cgroup", &s.cgroup, err) < 0 ||
	    json_get_bool(doc, "poststart", &s.poststart, err) < 0 ||
	    json_get_bool(doc, "poststop", &s.poststop, err) < 0 ||
	    json_get_object(doc, "annotations", &s.annotations, err) < 0)
		return err_prefix(err, "state.json");
	s.pid = (int)pid;
	*ret = s;
	return 0;
}

int state_remove(int root_fd, const char *id, struct err *err)
{
	static const char *const files[] = { "exec.fifo", "config.json", "state.json",
					     "config.json.tmp", "state.json.tmp" };
	_cleanup_close_ int dir =
		openat(root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, -errno, "cannot open the state of %s", id);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (unlinkat(dir, files[i], 0) < 0 && errno != ENOENT)
			return err_sys(err, -errno, "cannot remove %s of %s", files[i], id);
	if (unlinkat(root_fd, id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "cannot remove the state folder of %s", id);
	return 0;
}

int state_format(const struct spec *spec, const char *id, const char *status, int pid,
		 const char *bundle, char **ret, struct err *err)
{
	struct jw w = { 0 };
	const char *text;

	jw_object(&w, NULL);
	jw_string(&w, "ociVersion", spec->version);
	jw_string(&w, "id", id);
	jw_string(&w, "status", status);
	if (pid > 0)
		jw_i64(&w, "pid", pid);
	jw_string(&w, "bundle", bundle);
	write_annotations(&w, spec);
	jw_object_end(&w);
	if (jw_finish(&w, &text, NULL) < 0) {
		jw_release(&w);
		return err_set(err, -ENOMEM, "no memory for the state");
	}
	*ret = w.buf;
	return 0;
}

uint64_t process_start_time(int pid)
{
	char path[64], buf[1024];
	_cleanup_close_ int fd = FD_NONE;
	char *p;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	/* The name may hold anything; the last parenthesis ends it. State follows, then field 4. */
	p = strrchr(buf, ')');
	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return 0;
	p += 2;
	for (int field = 3; field < 22 && p; field++) {
		p = strchr(p, ' ');
		p += p ? 1 : 0;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

void state_now(char *ret, size_t size)
{
	struct timespec now;
	struct tm tm;
	char head[32];

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	(void)strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(ret, size, "%s.%09ldZ", head, now.tv_nsec);
}
