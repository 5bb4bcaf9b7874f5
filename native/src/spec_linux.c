/* config.json's `linux`, and the rules that span several fields. */
#include <string.h>
#include <sys/mount.h>

#include "names.h"
#include "spec.h"

static int parse_namespaces(const struct json *doc, struct spec *spec, struct err *err)
{
	static const char *const names[NS_KINDS] = { "user", "mount", "pid",	"network",
						     "ipc",  "uts",   "cgroup", "time" };
	const struct json *list = NULL;
	int r = json_get_array(doc, "namespaces", &list, err);

	if (r < 0)
		return r;
	json_each(v, list)
	{
		const char *type = NULL, *path = NULL;
		int k = 0;

		if (json_get_string(v, "type", &type, err) < 0 ||
		    json_get_string(v, "path", &path, err) < 0)
			return err_prefix(err, "namespaces");
		while (k < NS_KINDS && type && strcmp(names[k], type) != 0)
			k++;
		if (k == NS_KINDS || !type)
			return err_set(err, -EINVAL, "namespaces: unknown type \"%s\"",
				       type ? type : "");
		if (spec->ns[k].wanted)
			return err_set(err, -EINVAL, "namespaces: \"%s\" given twice", type);
		if (path && *path && path[0] != '/')
			return err_set(err, -EINVAL, "namespaces: path of \"%s\" must be absolute",
				       type);
		spec->ns[k].wanted = true;
		spec->ns[k].path = path && *path ? path : NULL;
	}
	return 0;
}

static int parse_device(const struct json *v, struct spec_device *d, struct err *err)
{
	const char *type = NULL;
	int64_t major = 0, minor = 0;

	d->mode = 0666;
	if (json_get_string(v, "path", &d->path, err) < 0 ||
	    json_get_string(v, "type", &type, err) < 0 ||
	    json_get_i64(v, "major", &major, err) < 0 ||
	    json_get_i64(v, "minor", &minor, err) < 0 ||
	    json_get_u32(v, "fileMode", &d->mode, err) < 0 ||
	    json_get_u32(v, "uid", &d->uid, err) < 0 || json_get_u32(v, "gid", &d->gid, err) < 0)
		return err->code;
	if (!d->path || d->path[0] != '/')
		return err_set(err, -EINVAL, "path: must be absolute");
	if (!type || !*type || type[1] || !strchr("cbup", type[0]))
		return err_set(err, -EINVAL, "type: must be c, b, u or p");
	if (type[0] != 'p' && (major < 0 || minor < 0 || major > 0xfff || minor > 0xfffff))
		return err_set(err, -EINVAL, "major, minor: out of range");
	d->type = type[0];
	if (d->type == 'u')
		d->type = 'c';
	d->major = (uint32_t)major;
	d->minor = (uint32_t)minor;
	d->mode &= 07777;
	return 0;
}

static int parse_devices(struct arena *a, const struct json *doc, struct spec *spec,
			 struct err *err)
{
	const struct json *list = NULL;
	int r = json_get_array(doc, "devices", &list, err);

	if (r <= 0)
		return r;
	spec->devices = arena_alloc(a, (list->count + 1) * sizeof(*spec->devices));
	if (!spec->devices)
		return err_set(err, -ENOMEM, "devices: too many");
	json_each(v, list)
	{
		if (parse_device(v, &spec->devices[spec->device_count], err) < 0)
			return err_prefix(err, "devices[%zu]", spec->device_count);
		spec->device_count++;
	}
	return 0;
}

static int parse_propagation(const struct json *doc, struct spec *spec, struct err *err)
{
	const struct name_value *p;
	const char *name = NULL;
	int r = json_get_string(doc, "rootfsPropagation", &name, err);

	if (r <= 0 || !*name)
		return r;
	p = name_find(propagation_names, name);
	if (!p)
		return err_set(err, -EINVAL, "rootfsPropagation: unknown \"%s\"", name);
	spec->root_propagation = p->value;
	return 0;
}

static int parse_personality(const struct json *doc, struct spec *spec, struct err *err)
{
	const struct json *obj = NULL, *flags = NULL;
	const char *domain = NULL;
	int r = json_get_object(doc, "personality", &obj, err);

	if (r <= 0)
		return r;
	if (json_get_string(obj, "domain", &domain, err) < 0 ||
	    json_get_array(obj, "flags", &flags, err) < 0)
		return err_prefix(err, "personality");
	if (flags && flags->count)
		return err_set(err, -EINVAL, "personality.flags: none is supported");
	if (!domain || (strcmp(domain, "LINUX") != 0 && strcmp(domain, "LINUX32") != 0))
		return err_set(err, -EINVAL, "personality.domain: unknown \"%s\"",
			       domain ? domain : "");
	spec->has_personality = true;
	spec->personality = strcmp(domain, "LINUX32") == 0 ? 8 : 0;
	return 0;
}

static int parse_offsets(const struct json *doc, struct spec *spec, struct err *err)
{
	const struct json *offsets = NULL, *mono = NULL, *boot = NULL;
	int r = json_get_object(doc, "timeOffsets", &offsets, err);

	if (r <= 0)
		return r;
	if ((r = json_get_object(offsets, "monotonic", &mono, err)) < 0 ||
	    json_get_i64(mono, "secs", &spec->offset_monotonic.secs, err) < 0 ||
	    json_get_u32(mono, "nanosecs", &spec->offset_monotonic.nanosecs, err) < 0)
		return err_prefix(err, "timeOffsets.monotonic");
	spec->offset_monotonic.set = r == 1;
	if ((r = json_get_object(offsets, "boottime", &boot, err)) < 0 ||
	    json_get_i64(boot, "secs", &spec->offset_boottime.secs, err) < 0 ||
	    json_get_u32(boot, "nanosecs", &spec->offset_boottime.nanosecs, err) < 0)
		return err_prefix(err, "timeOffsets.boottime");
	spec->offset_boottime.set = r == 1;
	return 0;
}

int spec_parse_linux(struct arena *a, const struct json *doc, struct spec *spec, struct err *err)
{
	const struct json *resources = NULL, *rdt = NULL;

	if (parse_namespaces(doc, spec, err) < 0 || parse_devices(a, doc, spec, err) < 0 ||
	    parse_propagation(doc, spec, err) < 0 || parse_personality(doc, spec, err) < 0 ||
	    parse_offsets(doc, spec, err) < 0 ||
	    spec_get_id_maps(a, doc, "uidMappings", &spec->uid_maps, err) < 0 ||
	    spec_get_id_maps(a, doc, "gidMappings", &spec->gid_maps, err) < 0 ||
	    spec_get_pairs(a, doc, "sysctl", &spec->sysctl, err) < 0 ||
	    spec_get_strings(a, doc, "maskedPaths", &spec->masked, err) < 0 ||
	    spec_get_strings(a, doc, "readonlyPaths", &spec->readonly, err) < 0 ||
	    json_get_string(doc, "cgroupsPath", &spec->cgroups_path, err) < 0 ||
	    json_get_string(doc, "mountLabel", &spec->mount_label, err) < 0 ||
	    json_get_object(doc, "seccomp", &spec->seccomp, err) < 0 ||
	    json_get_object(doc, "intelRdt", &rdt, err) < 0 ||
	    json_get_object(doc, "resources", &resources, err) < 0)
		return err->code;
	if (rdt)
		return err_set(err, -ENOTSUP, "intelRdt: not supported by this runtime");
	return resources_parse(a, resources, &spec->resources, err);
}

static int check_absolute(const struct strings *list, const char *key, struct err *err)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i][0] != '/')
			return err_set(err, -EINVAL,
				       "linux.%s[%zu]: must be absolute, found \"%s\"", key, i,
				       list->items[i]);
	return 0;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* A sysctl that no namespace of the container holds would change the host. */
static int check_sysctl(const struct spec *spec, const char *key, struct err *err)
{
	static const char *const ipc[] = { "kernel.msgmax", "kernel.msgmnb",
					   "kernel.msgmni", "kernel.sem",
					   "kernel.shmall", "kernel.shmmax",
					   "kernel.shmmni", "kernel.shm_rmid_forced" };
	bool is_ipc = starts_with(key, "fs.mqueue.");

	for (size_t i = 0; i < sizeof(ipc) / sizeof(ipc[0]); i++)
		is_ipc |= strcmp(ipc[i], key) == 0;
	if (strstr(key, "..") || strchr(key, '\n') || strlen(key) > 200)
		return err_set(err, -EINVAL, "linux.sysctl: \"%s\" is no name of a sysctl", key);
	if (is_ipc && !spec->ns[NS_IPC].wanted)
		return err_set(err, -EINVAL, "linux.sysctl: \"%s\" needs an ipc namespace", key);
	if ((starts_with(key, "net.") || starts_with(key, "net/")) && !spec->ns[NS_NET].wanted)
		return err_set(err, -EINVAL, "linux.sysctl: \"%s\" needs a network namespace", key);
	if (strcmp(key, "kernel.domainname") == 0 && !spec->ns[NS_UTS].wanted)
		return err_set(err, -EINVAL, "linux.sysctl: \"%s\" needs a uts namespace", key);
	if (strcmp(key, "kernel.hostname") == 0)
		return err_set(err, -EINVAL, "linux.sysctl: use hostname for \"%s\"", key);
	if (!is_ipc && !starts_with(key, "net.") && !starts_with(key, "net/") &&
	    strcmp(key, "kernel.domainname") != 0)
		return err_set(err, -EINVAL, "linux.sysctl: \"%s\" is in no namespace of its own",
			       key);
	return 0;
}

static int check_user_namespace(const struct spec *spec, struct err *err)
{
	bool fresh = spec->ns[NS_USER].wanted && !spec->ns[NS_USER].path;

	if (fresh && (!spec->uid_maps.count || !spec->gid_maps.count))
		return err_set(err, -EINVAL,
			       "linux.uidMappings, gidMappings: a new user namespace needs both");
	if (!spec->ns[NS_USER].wanted && (spec->uid_maps.count || spec->gid_maps.count))
		return err_set(err, -EINVAL, "linux.uidMappings: needs a user namespace");
	return 0;
}

static int check_names(const struct spec *spec, struct err *err)
{
	if (spec->hostname && *spec->hostname && !spec->ns[NS_UTS].wanted)
		return err_set(err, -EINVAL, "hostname: needs a uts namespace");
	if (spec->domainname && *spec->domainname && !spec->ns[NS_UTS].wanted)
		return err_set(err, -EINVAL, "domainname: needs a uts namespace");
	if ((spec->hostname && strlen(spec->hostname) > 64) ||
	    (spec->domainname && strlen(spec->domainname) > 64))
		return err_set(err, -EINVAL, "hostname, domainname: must be at most 64 bytes");
	return 0;
}

int spec_check(const struct spec *spec, struct err *err)
{
	int r;

	for (size_t i = 0; i < spec->sysctl.count; i++)
		if ((r = check_sysctl(spec, spec->sysctl.items[i].key, err)) < 0)
			return r;
	if (!spec->ns[NS_MOUNT].wanted)
		return err_set(err, -EINVAL, "linux.namespaces: a mount namespace is required");
	if ((spec->offset_monotonic.set || spec->offset_boottime.set) &&
	    (!spec->ns[NS_TIME].wanted || spec->ns[NS_TIME].path))
		return err_set(err, -EINVAL, "linux.timeOffsets: needs a new time namespace");
	if ((r = check_names(spec, err)) < 0 || (r = check_user_namespace(spec, err)) < 0 ||
	    (r = check_absolute(&spec->masked, "maskedPaths", err)) < 0 ||
	    (r = check_absolute(&spec->readonly, "readonlyPaths", err)) < 0)
		return r;
	if (spec->overlay.lower && spec->overlay.lower[0] != '/')
		return err_set(err, -EINVAL,
			       "annotation dev.gantry.rootfs.lower: must be absolute");
	if (spec->overlay.upper && !spec->overlay.work)
		return err_set(err, -EINVAL,
			       "annotation dev.gantry.rootfs.work: is required with upper");
	if (spec->seccomp_builtin && strcmp(spec->seccomp_builtin, "default") != 0)
		return err_set(err, -EINVAL,
			       "annotation dev.gantry.seccomp: must be \"default\", found \"%s\"",
			       spec->seccomp_builtin);
	return 0;
}
