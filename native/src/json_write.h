/* A JSON writer into a growing buffer; a failed allocation is remembered and told by jw_finish. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jw {
	char *buf;
	size_t len, cap;
	int depth;
	bool pretty;
	bool comma; /* the next member needs a comma in front */
	bool failed;
};

void jw_object(struct jw *w, const char *key); /* key is NULL inside arrays and at the top */
void jw_object_end(struct jw *w);
void jw_array(struct jw *w, const char *key);
void jw_array_end(struct jw *w);
void jw_string(struct jw *w, const char *key, const char *value); /* NULL value writes null */
void jw_bool(struct jw *w, const char *key, bool value);
void jw_i64(struct jw *w, const char *key, int64_t value);
void jw_u64(struct jw *w, const char *key, uint64_t value);
void jw_raw(struct jw *w, const char *key, const char *text, size_t len);

/* 0 with the text still owned by the writer, or -ENOMEM. */
int jw_finish(struct jw *w, const char **ret, size_t *ret_len);
void jw_release(struct jw *w);

#define _cleanup_jw_ __attribute__((cleanup(jw_release)))
