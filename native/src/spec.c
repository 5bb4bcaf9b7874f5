#include "spec.h"

#include <string.h>

int spec_get_strings(struct arena *a, const struct json *obj, const char *key, struct strings *ret,
		     struct err *err)
{
	const struct json *list = NULL;
	size_t n = 0;
	int r = json_get_array(obj, key, &list, err);

	if (r < 0)
		return r;
	ret->items = arena_alloc(a, ((list ? list->count : 0) + 1) * sizeof(char *));
	if (!ret->items)
		return err_set(err, -ENOMEM, "%s: too many members", key);
	json_each(v, list)
	{
		if (v->type != JSON_STRING)
			return err_set(err, -EINVAL, "%s[%zu]: must be a string", key, n);
		ret->items[n++] = v->string;
	}
	ret->count = n;
	return r;
}

int spec_get_pairs(struct arena *a, const struct json *obj, const char *key, struct pairs *ret,
		   struct err *err)
{
	const struct json *map = NULL;
	int r = json_get_object(obj, key, &map, err);

	if (r <= 0)
		return r;
	ret->items = arena_alloc(a, (map->count + 1) * sizeof(*ret->items));
	if (!ret->items)
		return err_set(err, -ENOMEM, "%s: too many members", key);
	json_each(v, map)
	{
		if (v->type != JSON_STRING)
			return err_set(err, -EINVAL, "%s[\"%s\"]: must be a string", key, v->key);
		ret->items[ret->count++] = (struct pair){ v->key, v->string };
	}
	return 1;
}

int spec_get_id_maps(struct arena *a, const struct json *obj, const char *key, struct id_maps *ret,
		     struct err *err)
{
	const struct json *list = NULL;
	int r = json_get_array(obj, key, &list, err);

	if (r <= 0)
		return r;
	if (list->count > 340)
		return err_set(err, -E2BIG, "%s: must have at most 340 lines, found %u", key,
			       list->count);
	ret->items = arena_alloc(a, (list->count + 1) * sizeof(*ret->items));
	if (!ret->items)
		return err_set(err, -ENOMEM, "%s: too many members", key);
	json_each(v, list)
	{
		struct id_map *m = &ret->items[ret->count];

		if (json_get_u32(v, "containerID", &m->container, err) < 0 ||
		    json_get_u32(v, "hostID", &m->host, err) < 0 ||
		    json_get_u32(v, "size", &m->size, err) < 0)
			return err_prefix(err, "%s[%zu]", key, ret->count);
		ret->count++;
	}
	return 1;
}

static int parse_root(const struct json *doc, struct spec *spec, struct err *err)
{
	const struct json *root = NULL;
	int r = json_get_object(doc, "root", &root, err);

	if (r < 0)
		return r;
	if (!root)
		return err_set(err, -EINVAL, "root: is required");
	r = json_get_string(root, "path", &spec->root_path, err);
	if (r >= 0)
		r = json_get_bool(root, "readonly", &spec->root_readonly, err);
	if (r < 0)
		return err_prefix(err, "root");
	if (!spec->root_path || !*spec->root_path)
		return err_set(err, -EINVAL, "root.path: is required");
	return 0;
}

static int parse_one_hook(struct arena *a, const struct json *v, struct spec_hook *h,
			  struct err *err)
{
	int64_t timeout = 0;
	int r;

	if (json_get_string(v, "path", &h->path, err) < 0 ||
	    spec_get_strings(a, v, "args", &h->args, err) < 0 ||
	    spec_get_strings(a, v, "env", &h->env, err) < 0)
		return err->code;
	if (!h->path || h->path[0] != '/')
		return err_set(err, -EINVAL, "path: must be absolute");
	r = json_get_i64(v, "timeout", &timeout, err);
	if (r < 0)
		return r;
	if (r == 1 && (timeout <= 0 || timeout > 86400))
		return err_set(err, -EINVAL, "timeout: must be 1..86400 seconds");
	h->timeout_s = (int)timeout;
	return 0;
}

int spec_parse_hooks(struct arena *a, const struct json *doc, struct spec *spec, struct err *err)
{
	static const char *const names[HOOK_KINDS] = { "prestart",	  "createRuntime",
						       "createContainer", "startContainer",
						       "poststart",	  "poststop" };
	const struct json *hooks = NULL;
	int r = json_get_object(doc, "hooks", &hooks, err);

	for (int k = 0; r >= 0 && hooks && k < HOOK_KINDS; k++) {
		struct spec_hooks *set = &spec->hooks[k];
		const struct json *list = NULL;

		r = json_get_array(hooks, names[k], &list, err);
		if (r <= 0)
			continue;
		set->items = arena_alloc(a, (list->count + 1) * sizeof(*set->items));
		if (!set->items)
			return err_set(err, -ENOMEM, "hooks.%s: too many", names[k]);
		json_each(v, list)
		{
			r = parse_one_hook(a, v, &set->items[set->count], err);
			if (r < 0)
				return err_prefix(err, "hooks.%s[%zu]", names[k], set->count);
			set->count++;
		}
	}
	return r < 0 ? r : 0;
}

static const char *annotation(const struct spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->annotations.count; i++)
		if (strcmp(spec->annotations.items[i].key, key) == 0)
			return spec->annotations.items[i].value;
	return NULL;
}

static int parse_annotations(struct arena *a, const struct json *doc, struct spec *spec,
			     struct err *err)
{
	const char *init;
	int r = spec_get_pairs(a, doc, "annotations", &spec->annotations, err);

	if (r < 0)
		return r;
	spec->overlay.lower = annotation(spec, "dev.gantry.rootfs.lower");
	spec->overlay.upper = annotation(spec, "dev.gantry.rootfs.upper");
	spec->overlay.work = annotation(spec, "dev.gantry.rootfs.work");
	spec->seccomp_builtin = annotation(spec, "dev.gantry.seccomp");
	init = annotation(spec, "dev.gantry.init");
	spec->init = init && strcmp(init, "true") == 0;
	return 0;
}

static int parse_version(const struct json *doc, struct spec *spec, struct err *err)
{
	int r = json_get_string(doc, "ociVersion", &spec->version, err);

	if (r < 0)
		return r;
	if (!spec->version)
		return err_set(err, -EINVAL, "ociVersion: is required");
	if (strncmp(spec->version, "1.", 2) != 0)
		return err_set(err, -EINVAL, "ociVersion: must be 1.x, found \"%s\"",
			       spec->version);
	return 0;
}

static int parse_top(struct arena *a, const struct json *doc, struct spec *spec, struct err *err)
{
	const struct json *process = NULL, *mounts = NULL, *linux_part = NULL;
	int r;

	if (doc->type != JSON_OBJECT)
		return err_set(err, -EINVAL, "must be a JSON object");
	if ((r = parse_version(doc, spec, err)) < 0 || (r = parse_root(doc, spec, err)) < 0 ||
	    (r = json_get_string(doc, "hostname", &spec->hostname, err)) < 0 ||
	    (r = json_get_string(doc, "domainname", &spec->domainname, err)) < 0 ||
	    (r = parse_annotations(a, doc, spec, err)) < 0 ||
	    (r = json_get_object(doc, "process", &process, err)) < 0 ||
	    (r = json_get_array(doc, "mounts", &mounts, err)) < 0 ||
	    (r = json_get_object(doc, "linux", &linux_part, err)) < 0)
		return r;
	if (process) {
		spec->process = arena_alloc(a, sizeof(*spec->process));
		if (!spec->process)
			return err_set(err, -ENOMEM, "process: too large");
		r = spec_parse_process(a, process, spec->process, err);
		if (r < 0)
			return err_prefix(err, "process");
	}
	r = spec_parse_mounts(a, mounts, spec, err);
	if (r < 0)
		return r;
	r = spec_parse_linux(a, linux_part, spec, err);
	if (r < 0)
		return err_prefix(err, "linux");
	return spec_parse_hooks(a, doc, spec, err);
}

int spec_parse(struct arena *a, const char *text, size_t len, struct spec *ret, struct err *err)
{
	struct json *doc = NULL;
	struct spec spec = { 0 };
	int r = json_parse(a, text, len, &doc, err);

	if (r >= 0)
		r = parse_top(a, doc, &spec, err);
	if (r >= 0)
		r = spec_check(&spec, err);
	if (r < 0)
		return r;
	*ret = spec;
	return 0;
}
