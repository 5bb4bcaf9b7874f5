/* A strict JSON reader (RFC 8259) with limits: depth 64, duplicate keys refused, valid UTF-8 and
 * no NUL in strings. Values live in the caller's arena and point into a private copy of the text.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	bool boolean;
	bool integral;	    /* the number is written as an integer and fits int64 or uint64 */
	uint32_t count;	    /* members of an array or object */
	const char *key;    /* set when this value is a member of an object */
	const char *string; /* string value, or the number's own text */
	struct json *child; /* first member */
	struct json *next;  /* next sibling */
};

/* Parses `len` bytes; on error the text says line and column. */
int json_parse(struct arena *a, const char *text, size_t len, struct json **ret, struct err *err);

/* Member by name, or NULL; NULL objects and non-objects are allowed and give NULL. */
const struct json *json_get(const struct json *obj, const char *key);

/* Typed getters: 0 when absent or null (ret untouched), 1 when set, -EINVAL with a text that names
 * the key when the type is wrong. */
int json_get_string(const struct json *obj, const char *key, const char **ret, struct err *err);
int json_get_bool(const struct json *obj, const char *key, bool *ret, struct err *err);
int json_get_i64(const struct json *obj, const char *key, int64_t *ret, struct err *err);
int json_get_u64(const struct json *obj, const char *key, uint64_t *ret, struct err *err);
int json_get_u32(const struct json *obj, const char *key, uint32_t *ret, struct err *err);
int json_get_array(const struct json *obj, const char *key, const struct json **ret,
		   struct err *err);
int json_get_object(const struct json *obj, const char *key, const struct json **ret,
		    struct err *err);

/* The number itself as signed or unsigned; -EINVAL or -ERANGE when it is not one. */
int json_i64(const struct json *v, int64_t *ret);
int json_u64(const struct json *v, uint64_t *ret);

/* NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses */
#define json_each(v, array)                                                                        \
	for (const struct json *v = (array) ? (array)->child : NULL; v; v = v->next)
/* NOLINTEND(bugprone-macro-parentheses) */
