/* config.json as a plain record: what the document says, checked, nothing of the host. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "arena.h"
#include "err.h"
#include "json.h"
#include "json_write.h"
#include "resources.h"

struct strings {
	size_t count;
	const char **items; /* NULL-terminated */
};

struct pair {
	const char *key, *value;
};

struct pairs {
	size_t count;
	struct pair *items;
};

struct id_map {
	uint32_t container, host, size;
};

struct id_maps {
	size_t count;
	struct id_map *items;
};

struct spec_rlimit {
	const char *name;
	int resource;
	struct rlimit value;
};

enum cap_set { CAP_BOUNDING, CAP_EFFECTIVE, CAP_INHERITABLE, CAP_PERMITTED, CAP_AMBIENT, CAP_SETS };

struct spec_scheduler {
	bool set;
	uint32_t policy;
	int32_t nice;
	uint32_t priority;
	uint64_t flags, runtime, deadline, period;
};

struct spec_process {
	bool terminal;
	uint16_t rows, cols;
	struct strings args, env;
	const char *cwd;
	uint32_t uid, gid;
	size_t gid_count;
	gid_t *gids;
	bool has_umask;
	uint32_t umask;
	bool has_caps;
	uint64_t caps[CAP_SETS];
	size_t rlimit_count;
	struct spec_rlimit *rlimits;
	bool no_new_privs;
	const char *apparmor, *selinux;
	bool has_oom_score;
	int oom_score;
	bool has_ioprio;
	int ioprio; /* as ioprio_set takes it */
	struct spec_scheduler scheduler;
	const char *affinity_initial, *affinity_final;
};

struct spec_mount {
	const char *destination, *type, *source;
	bool bind, recursive, copy_up, remount, idmap, idmap_recursive;
	uint64_t attr_set, attr_clear;	       /* MOUNT_ATTR_* of the top mount */
	uint64_t attr_rec_set, attr_rec_clear; /* the same for the whole tree */
	uint64_t propagation;		       /* MS_* or 0 */
	bool propagation_recursive;
	struct strings data; /* file system's own options, "key" or "key=value" */
	struct id_maps uid_maps, gid_maps;
};

struct spec_hook {
	const char *path;
	struct strings args, env;
	int timeout_s; /* 0 = none */
};

enum hook_kind {
	HOOK_PRESTART,
	HOOK_CREATE_RUNTIME,
	HOOK_CREATE_CONTAINER,
	HOOK_START_CONTAINER,
	HOOK_POSTSTART,
	HOOK_POSTSTOP,
	HOOK_KINDS
};

struct spec_hooks {
	size_t count;
	struct spec_hook *items;
};

enum ns_kind { NS_USER, NS_MOUNT, NS_PID, NS_NET, NS_IPC, NS_UTS, NS_CGROUP, NS_TIME, NS_KINDS };

struct spec_namespace {
	bool wanted;
	const char *path; /* joined, or NULL for a new one */
};

struct spec_device {
	const char *path;
	char type; /* c, b, p */
	uint32_t major, minor;
	uint32_t mode, uid, gid;
};

struct spec_overlay {
	const char *lower, *upper, *work;
};

struct spec {
	const char *version;
	struct spec_process *process; /* NULL when the document has none */
	const char *root_path;
	bool root_readonly;
	const char *hostname, *domainname;
	size_t mount_count;
	struct spec_mount *mounts;
	struct spec_hooks hooks[HOOK_KINDS];
	struct pairs annotations, sysctl;
	struct spec_namespace ns[NS_KINDS];
	struct id_maps uid_maps, gid_maps;
	size_t device_count;
	struct spec_device *devices;
	const char *cgroups_path;
	struct resources resources;
	const struct json *seccomp;
	struct strings masked, readonly;
	const char *mount_label;
	uint64_t root_propagation; /* MS_*; 0 = rslave for the host side */
	bool has_personality;
	unsigned long personality;
	struct {
		bool set;
		int64_t secs;
		uint32_t nanosecs;
	} offset_monotonic, offset_boottime;
	struct spec_overlay overlay;
	bool init;
	const char *seccomp_builtin; /* annotation dev.gantry.seccomp */
};

/* Everything in *ret lives in the arena. */
int spec_parse(struct arena *a, const char *text, size_t len, struct spec *ret, struct err *err);
int spec_parse_process(struct arena *a, const struct json *doc, struct spec_process *ret,
		       struct err *err);

/* Parts of spec_parse, one file each. */
int spec_parse_mounts(struct arena *a, const struct json *list, struct spec *ret, struct err *err);
int spec_parse_linux(struct arena *a, const struct json *doc, struct spec *ret, struct err *err);
int spec_parse_hooks(struct arena *a, const struct json *doc, struct spec *ret, struct err *err);
int spec_get_strings(struct arena *a, const struct json *obj, const char *key, struct strings *ret,
		     struct err *err);
int spec_get_pairs(struct arena *a, const struct json *obj, const char *key, struct pairs *ret,
		   struct err *err);
int spec_get_id_maps(struct arena *a, const struct json *obj, const char *key, struct id_maps *ret,
		     struct err *err);
/* Every mount option that the parser knows, as members of an open array. */
void spec_each_mount_option(struct jw *w);
/* Rules that span several fields. */
int spec_check(const struct spec *spec, struct err *err);
