#include "json.h"

static int wrong(struct err *err, const char *key, const char *must)
{
	return err_set(err, -EINVAL, "%s: must be %s", key, must);
}

static const struct json *present(const struct json *obj, const char *key)
{
	const struct json *v = json_get(obj, key);

	return v && v->type != JSON_NULL ? v : NULL;
}

int json_get_string(const struct json *obj, const char *key, const char **ret, struct err *err)
{
	const struct json *v = present(obj, key);

	if (!v)
		return 0;
	if (v->type != JSON_STRING)
		return wrong(err, key, "a string");
	*ret = v->string;
	return 1;
}

int json_get_bool(const struct json *obj, const char *key, bool *ret, struct err *err)
{
	const struct json *v = present(obj, key);

	if (!v)
		return 0;
	if (v->type != JSON_BOOL)
		return wrong(err, key, "true or false");
	*ret = v->boolean;
	return 1;
}

int json_get_i64(const struct json *obj, const char *key, int64_t *ret, struct err *err)
{
	const struct json *v = present(obj, key);

	if (!v)
		return 0;
	if (json_i64(v, ret) < 0)
		return wrong(err, key, "an integer of 64 bits");
	return 1;
}

int json_get_u64(const struct json *obj, const char *key, uint64_t *ret, struct err *err)
{
	const struct json *v = present(obj, key);

	if (!v)
		return 0;
	if (json_u64(v, ret) < 0)
		return wrong(err, key, "an unsigned integer of 64 bits");
	return 1;
}

int json_get_u32(const struct json *obj, const char *key, uint32_t *ret, struct err *err)
{
	const struct json *v = present(obj, key);
	uint64_t n;

	if (!v)
		return 0;
	if (json_u64(v, &n) < 0 || n > UINT32_MAX)
		return wrong(err, key, "an unsigned integer of 32 bits");
	*ret = (uint32_t)n;
	return 1;
}

static int get_typed(const struct json *obj, const char *key, enum json_type type, const char *must,
		     const struct json **ret, struct err *err)
{
	const struct json *v = present(obj, key);

	if (!v)
		return 0;
	if (v->type != type)
		return wrong(err, key, must);
	*ret = v;
	return 1;
}

int json_get_array(const struct json *obj, const char *key, const struct json **ret,
		   struct err *err)
{
	return get_typed(obj, key, JSON_ARRAY, "an array", ret, err);
}

int json_get_object(const struct json *obj, const char *key, const struct json **ret,
		    struct err *err)
{
	return get_typed(obj, key, JSON_OBJECT, "an object", ret, err);
}
