#include "cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "sys.h"
#include "text.h"

static const char *const names[CG_COUNT] = { "cpu",	   "cpuacct", "cpuset",	  "memory",
					     "devices",	   "freezer", "blkio",	  "pids",
					     "hugetlb",	   "net_cls", "net_prio", "rdma",
					     "perf_event", "systemd", "unified" };

static int check_path(const char *path, struct err *err)
{
	size_t len = strlen(path);

	if (len > 1024)
		return err_set(err, -ENAMETOOLONG, "linux.cgroupsPath: must be at most 1024 bytes");
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return err_set(err, -EINVAL, "linux.cgroupsPath: control character");
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || !p[2]))
			return err_set(err, -EINVAL, "linux.cgroupsPath: must not contain \"..\"");
	}
	if (strspn(path, "/") == len)
		return err_set(err, -EINVAL, "linux.cgroupsPath: must name a group");
	return 0;
}

static int add_dir(struct cgroup *cg, int fd, enum cg_ctrl ctrl)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* Controllers mounted together appear under several names. */
	for (size_t i = 0; i < cg->count; i++)
		if (cg->dirs[i].device == st.st_dev) {
			cg->at[ctrl] = (signed char)i;
			return 1;
		}
	cg->at[ctrl] = (signed char)cg->count;
	cg->dirs[cg->count++] = (struct cgroup_dir){
		.mount_fd = fd, .fd = FD_NONE, .device = st.st_dev, .name = names[ctrl]
	};
	return 0;
}

/* A folder in the tmpfs that is no cgroup mount must never get a group: it would be a plain
 * folder. So each candidate is asked which file system it is. */
static void detect_v1(struct cgroup *cg, int base)
{
	for (int c = 0; c < CG_COUNT; c++) {
		/* systemd's own hierarchy counts nothing; it only tells systemd whose a process is.
		 */
		bool wanted = c != CG_SYSTEMD || access("/run/systemd/system", F_OK) == 0;
		int fd =
			wanted ? openat(base, names[c], O_PATH | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
		struct statfs fs;

		if (fd < 0)
			continue;
		if (fstatfs(fd, &fs) < 0 ||
		    fs.f_type != (c == CG_UNIFIED ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC) ||
		    add_dir(cg, fd, (enum cg_ctrl)c) != 0)
			(void)close(fd);
	}
}

int cgroup_new(const char *path, struct cgroup **ret, struct err *err)
{
	_cleanup_close_ int base = open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_cgroup_ struct cgroup *cg = calloc(1, sizeof(*cg));
	struct statfs fs = { 0 };
	int r = check_path(path, err);

	if (r < 0)
		return r;
	if (!cg || !(cg->path = malloc(strlen(path) + 2)))
		return err_set(err, -ENOMEM, "no memory for cgroups");
	cg->path[0] = '/';
	(void)text_copy(cg->path + 1, strlen(path) + 1, path + strspn(path, "/"));
	memset(cg->at, -1, sizeof(cg->at));
	if (base >= 0 && fstatfs(base, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC) {
		cg->pure_v2 = true;
		if (add_dir(cg, base, CG_UNIFIED) == 0)
			(void)steal_fd(&base);
	} else if (base >= 0) {
		detect_v1(cg, base);
	}
	*ret = cg;
	cg = NULL;
	return 0;
}

void cgroup_free(struct cgroup *cg)
{
	if (!cg)
		return;
	for (size_t i = 0; i < cg->count; i++) {
		cleanup_close(&cg->dirs[i].fd);
		cleanup_close(&cg->dirs[i].mount_fd);
	}
	free(cg->path);
	free(cg);
}

int cgroup_fd(const struct cgroup *cg, enum cg_ctrl ctrl)
{
	int at = cg->pure_v2 ? 0 : cg->at[ctrl];

	return at >= 0 && cg->dirs[at].fd >= 0 ? cg->dirs[at].fd : -ENOENT;
}

/* A v1 cpuset without cpus and memory nodes takes no process. Groups that berth makes above the
 * container get clone_children, so that the kernel fills the container's own. */
static int init_cpuset(int parent, int child, bool is_parent)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };

	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *have = NULL, *above = NULL;
		int r = read_file_at(child, files[i], 65536, &have, NULL);

		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (have[0] && have[0] != '\n')
			continue;
		r = read_file_at(parent, files[i], 65536, &above, NULL);
		if (r >= 0)
			r = write_file_at(child, files[i], above);
		if (r < 0)
			return r;
	}
	if (is_parent)
		(void)write_file_at(child, "cgroup.clone_children", "1");
	return 0;
}

static bool is_populated(int fd)
{
	_cleanup_free_ char *procs = NULL;
	size_t len = 0;

	return read_file_at(fd, "cgroup.procs", 1 << 20, &procs, &len) >= 0 && len > 0;
}

/* On v2 a controller works in a group only when each group above it passes it on. One that cannot
 * be passed on (processes in a group between) is no error here: the limit that needs it will be. */
static void pass_controllers(int fd)
{
	static const char *const wanted[] = { "cpuset",	 "cpu",	 "io",	"memory",
					      "hugetlb", "pids", "rdma" };
	_cleanup_free_ char *have = NULL, *passed = NULL;
	char all[128] = "", one[16];

	if (read_file_at(fd, "cgroup.controllers", 4096, &have, NULL) < 0 || !have[0] ||
	    read_file_at(fd, "cgroup.subtree_control", 4096, &passed, NULL) < 0)
		return;
	/* A group with processes (a container's own root, when berth runs inside) may pass on only
	 * controllers of threads, and would thereby close its children to processes. */
	if (faccessat(fd, "cgroup.type", F_OK, 0) == 0 && is_populated(fd))
		return;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (strstr(have, wanted[i]) && !strstr(passed, wanted[i])) {
			(void)text_append(all, sizeof(all), " +");
			(void)text_append(all, sizeof(all), wanted[i]);
		}
	if (!all[0] || write_file_at(fd, "cgroup.subtree_control", all + 1) == 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		(void)snprintf(one, sizeof(one), "+%s", wanted[i]);
		if (strstr(have, wanted[i]))
			(void)write_file_at(fd, "cgroup.subtree_control", one);
	}
}

static int make_level(struct cgroup *cg, struct cgroup_dir *d, int parent, const char *name,
		      bool leaf, int *ret)
{
	bool made = mkdirat(parent, name, 0755) == 0;
	int fd, r = 0;

	if (!made && errno != EEXIST)
		return -errno;
	if (made && leaf)
		d->created = true;
	else if (made)
		d->parents_created++;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (cg->at[CG_CPUSET] >= 0 && d == &cg->dirs[(int)cg->at[CG_CPUSET]] && (made || leaf))
		r = init_cpuset(parent, fd, !leaf);
	if (r >= 0 && leaf && !made && is_populated(fd))
		r = -EEXIST;
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*ret = fd;
	return 0;
}

static int make_dir(struct cgroup *cg, struct cgroup_dir *d)
{
	bool v2 = cg->at[CG_UNIFIED] >= 0 && d == &cg->dirs[(int)cg->at[CG_UNIFIED]];
	int at = openat(d->mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char path[1100];
	char *name, *rest;

	if (at < 0)
		return -errno;
	(void)text_copy(path, sizeof(path), cg->path);
	for (name = strtok_r(path, "/", &rest); name;) {
		char *next = strtok_r(NULL, "/", &rest);
		int fd = FD_NONE, r;

		if (v2)
			pass_controllers(at);
		r = make_level(cg, d, at, name, !next, &fd);
		(void)close(at);
		if (r < 0)
			return r;
		at = fd;
		name = next;
	}
	d->fd = at;
	return 0;
}

int cgroup_create(struct cgroup *cg, struct err *err)
{
	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_dir *d = &cg->dirs[i];
		int r = fault_at("cgroup-create", err);

		if (r < 0)
			return r;
		/* A neighbour whose creation failed may just have removed the empty parent. */
		for (int tries = 0; (r = make_dir(cg, d)) == -ENOENT && tries < 5; tries++)
			;
		if (r == -EEXIST)
			return err_set(err, r, "cgroup %s in %s: must be empty, found processes",
				       cg->path, d->name);
		if (r < 0)
			return err_sys(err, r, "cannot create cgroup %s in %s", cg->path, d->name);
	}
	if (cgroup_is_frozen(cg))
		return err_set(err, -EBUSY, "cgroup %s: must not be frozen", cg->path);
	return 0;
}

int cgroup_open(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_dir *d = &cg->dirs[i];

		if (d->fd < 0)
			d->fd = openat(d->mount_fd, cg->path + 1,
				       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	}
	return 0;
}
