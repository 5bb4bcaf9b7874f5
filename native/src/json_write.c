#include "json_write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct jw *w, const char *text, size_t len)
{
	if (w->failed)
		return;
	if (w->cap - w->len <= len) {
		size_t cap = w->cap ? w->cap * 2 : 512;
		char *grown;

		while (cap - w->len <= len)
			cap *= 2;
		grown = realloc(w->buf, cap);
		if (!grown) {
			w->failed = true;
			return;
		}
		w->buf = grown;
		w->cap = cap;
	}
	memcpy(w->buf + w->len, text, len);
	w->len += len;
	w->buf[w->len] = '\0';
}

static void put_text(struct jw *w, const char *text)
{
	put(w, text, strlen(text));
}

static void put_quoted(struct jw *w, const char *s)
{
	put(w, "\"", 1);
	for (; *s; s++) {
		size_t plain = 0;
		char escape[8];

		while (s[plain] && s[plain] != '"' && s[plain] != '\\' &&
		       (unsigned char)s[plain] >= 0x20)
			plain++;
		put(w, s, plain);
		s += plain;
		if (!*s)
			break;
		if (*s == '"' || *s == '\\')
			(void)snprintf(escape, sizeof(escape), "\\%c", *s);
		else if (*s == '\n')
			(void)snprintf(escape, sizeof(escape), "\\n");
		else
			(void)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned char)*s);
		put_text(w, escape);
	}
	put(w, "\"", 1);
}

static void new_line(struct jw *w)
{
	if (!w->pretty)
		return;
	put(w, "\n", 1);
	for (int i = 0; i < w->depth; i++)
		put(w, "  ", 2);
}

static void lead(struct jw *w, const char *key)
{
	if (w->comma)
		put(w, ",", 1);
	if (w->depth > 0)
		new_line(w);
	if (key) {
		put_quoted(w, key);
		put(w, w->pretty ? ": " : ":", w->pretty ? 2 : 1);
	}
	w->comma = true;
}

static void open_group(struct jw *w, const char *key, const char *bracket)
{
	lead(w, key);
	put(w, bracket, 1);
	w->depth++;
	w->comma = false;
}

static void close_group(struct jw *w, const char *bracket)
{
	w->depth--;
	if (w->comma)
		new_line(w);
	put(w, bracket, 1);
	w->comma = true;
}

void jw_object(struct jw *w, const char *key)
{
	open_group(w, key, "{");
}

void jw_object_end(struct jw *w)
{
	close_group(w, "}");
}

void jw_array(struct jw *w, const char *key)
{
	open_group(w, key, "[");
}

void jw_array_end(struct jw *w)
{
	close_group(w, "]");
}

void jw_string(struct jw *w, const char *key, const char *value)
{
	lead(w, key);
	if (value)
		put_quoted(w, value);
	else
		put_text(w, "null");
}

void jw_bool(struct jw *w, const char *key, bool value)
{
	lead(w, key);
	put_text(w, value ? "true" : "false");
}

void jw_i64(struct jw *w, const char *key, int64_t value)
{
	char text[24];

	lead(w, key);
	(void)snprintf(text, sizeof(text), "%lld", (long long)value);
	put_text(w, text);
}

void jw_u64(struct jw *w, const char *key, uint64_t value)
{
	char text[24];

	lead(w, key);
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	put_text(w, text);
}

void jw_raw(struct jw *w, const char *key, const char *text, size_t len)
{
	lead(w, key);
	put(w, text, len);
}

int jw_finish(struct jw *w, const char **ret, size_t *ret_len)
{
	if (w->failed || !w->buf)
		return -ENOMEM;
	*ret = w->buf;
	if (ret_len)
		*ret_len = w->len;
	return 0;
}

void jw_release(struct jw *w)
{
	free(w->buf);
	*w = (struct jw){ 0 };
}
