/* config.json's `mounts`: which option is a flag, a propagation, or the file system's own. */
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "names.h"
#include "spec.h"
#include "sys.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

enum option_effect { SET, CLEAR };

/* The access-time modes share one field: setting one clears the field first. */
struct option {
	const char *name;
	enum option_effect effect;
	uint64_t attr;
};

static const struct option options[] = {
	{ "ro", SET, MOUNT_ATTR_RDONLY },
	{ "rw", CLEAR, MOUNT_ATTR_RDONLY },
	{ "nosuid", SET, MOUNT_ATTR_NOSUID },
	{ "suid", CLEAR, MOUNT_ATTR_NOSUID },
	{ "nodev", SET, MOUNT_ATTR_NODEV },
	{ "dev", CLEAR, MOUNT_ATTR_NODEV },
	{ "noexec", SET, MOUNT_ATTR_NOEXEC },
	{ "exec", CLEAR, MOUNT_ATTR_NOEXEC },
	{ "nodiratime", SET, MOUNT_ATTR_NODIRATIME },
	{ "diratime", CLEAR, MOUNT_ATTR_NODIRATIME },
	{ "nosymfollow", SET, MOUNT_ATTR_NOSYMFOLLOW },
	{ "symfollow", CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "noatime", SET, MOUNT_ATTR_NOATIME },
	{ "atime", CLEAR, MOUNT_ATTR_NOATIME },
	{ "strictatime", SET, MOUNT_ATTR_STRICTATIME },
	{ "nostrictatime", CLEAR, MOUNT_ATTR_STRICTATIME },
	{ "relatime", SET, MOUNT_ATTR_RELATIME },
	{ "norelatime", CLEAR, MOUNT_ATTR_RELATIME },
};

static const char *const ignored[] = {
	"defaults", "async",	"auto",	      "nouser", "mand",	  "nomand",
	"_netdev",  "iversion", "noiversion", "loud",	"silent", "norbind",
};

static bool is_ignored(const char *o)
{
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		if (strcmp(ignored[i], o) == 0)
			return true;
	return false;
}

static void apply(const struct option *o, uint64_t *set, uint64_t *clear)
{
	bool atime = o->attr == MOUNT_ATTR_NOATIME || o->attr == MOUNT_ATTR_STRICTATIME ||
		     strstr(o->name, "relatime");

	if (atime) {
		*set &= ~(uint64_t)MOUNT_ATTR__ATIME;
		*clear |= MOUNT_ATTR__ATIME;
		if (o->effect == SET)
			*set |= o->attr;
		return;
	}
	if (o->effect == SET) {
		*set |= o->attr;
		*clear &= ~o->attr;
	} else {
		*clear |= o->attr;
		*set &= ~o->attr;
	}
}

static const struct option *find_option(const char *name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static bool take_word(struct spec_mount *m, const char *o)
{
	if (strcmp(o, "bind") == 0)
		m->bind = true;
	else if (strcmp(o, "rbind") == 0)
		m->bind = m->recursive = true;
	else if (strcmp(o, "tmpcopyup") == 0)
		m->copy_up = true;
	else if (strcmp(o, "remount") == 0)
		m->remount = true;
	else if (strcmp(o, "idmap") == 0)
		m->idmap = true;
	else if (strcmp(o, "ridmap") == 0)
		m->idmap = m->idmap_recursive = true;
	else
		return is_ignored(o);
	return true;
}

static void take_option(struct spec_mount *m, const char *o)
{
	const struct name_value *propagation = name_find(propagation_names, o);
	const struct option *flag = find_option(o);

	if (propagation) {
		m->propagation = propagation->value & ~(uint64_t)MS_REC;
		m->propagation_recursive = propagation->value & MS_REC;
	} else if (flag) {
		apply(flag, &m->attr_set, &m->attr_clear);
	} else if (o[0] == 'r' && (flag = find_option(o + 1))) {
		apply(flag, &m->attr_rec_set, &m->attr_rec_clear);
	} else if (!take_word(m, o)) {
		m->data.items[m->data.count++] = o;
	}
}

static int parse_mount(struct arena *a, const struct json *v, struct spec_mount *m, struct err *err)
{
	const struct json *list = NULL;
	int r;

	if (json_get_string(v, "destination", &m->destination, err) < 0 ||
	    json_get_string(v, "type", &m->type, err) < 0 ||
	    json_get_string(v, "source", &m->source, err) < 0 ||
	    spec_get_id_maps(a, v, "uidMappings", &m->uid_maps, err) < 0 ||
	    spec_get_id_maps(a, v, "gidMappings", &m->gid_maps, err) < 0)
		return err->code;
	if (!m->destination || !*m->destination)
		return err_set(err, -EINVAL, "destination: is required");
	r = json_get_array(v, "options", &list, err);
	if (r < 0)
		return r;
	m->data.items = arena_alloc(a, ((list ? list->count : 0) + 1) * sizeof(char *));
	if (!m->data.items)
		return err_set(err, -ENOMEM, "options: too many");
	json_each(o, list)
	{
		if (o->type != JSON_STRING)
			return err_set(err, -EINVAL, "options: must hold strings");
		take_option(m, o->string);
	}
	if (m->type && (strcmp(m->type, "bind") == 0 || strcmp(m->type, "rbind") == 0)) {
		m->bind = true;
		m->recursive |= m->type[0] == 'r';
	}
	if (m->uid_maps.count || m->gid_maps.count)
		m->idmap = true;
	if (m->bind && !m->source)
		return err_set(err, -EINVAL, "source: is required for a bind mount");
	if (!m->bind && !m->remount && !m->type)
		return err_set(err, -EINVAL, "type: is required");
	if (m->idmap && !m->bind)
		return err_set(err, -EINVAL, "idmap: needs a bind mount");
	return 0;
}

int spec_parse_mounts(struct arena *a, const struct json *list, struct spec *spec, struct err *err)
{
	spec->mounts = arena_alloc(a, ((list ? list->count : 0) + 1) * sizeof(*spec->mounts));
	if (!spec->mounts)
		return err_set(err, -ENOMEM, "mounts: too many");
	json_each(v, list)
	{
		int r = parse_mount(a, v, &spec->mounts[spec->mount_count], err);

		if (r < 0)
			return err_prefix(err, "mounts[%zu]", spec->mount_count);
		spec->mount_count++;
	}
	return 0;
}

void spec_each_mount_option(struct jw *w)
{
	static const char *const words[] = { "bind",	"rbind", "tmpcopyup",
					     "remount", "idmap", "ridmap" };
	char name[32];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		jw_string(w, NULL, words[i]);
	for (const struct name_value *n = propagation_names; n->name; n++)
		jw_string(w, NULL, n->name);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		jw_string(w, NULL, options[i].name);
		(void)snprintf(name, sizeof(name), "r%s", options[i].name);
		jw_string(w, NULL, name);
	}
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		jw_string(w, NULL, ignored[i]);
}
