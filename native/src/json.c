#include "json.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64

/* The parser works in place on its private copy: a string's bytes are unescaped where they stand,
 * which never grows them, and the closing quote becomes the terminator. */
struct parser {
	struct arena *arena;
	struct err *err;
	char *start, *p, *end;
};

static int fail(const struct parser *ps, const char *what)
{
	size_t line = 1, column = 1;

	for (const char *c = ps->start; c < ps->p && c < ps->end; c++) {
		column++;
		if (*c == '\n') {
			line++;
			column = 1;
		}
	}
	return err_set(ps->err, -EINVAL, "line %zu column %zu: %s", line, column, what);
}

static void skip_space(struct parser *ps)
{
	while (ps->p < ps->end &&
	       (*ps->p == ' ' || *ps->p == '\n' || *ps->p == '\t' || *ps->p == '\r'))
		ps->p++;
}

static int hex4(const char *p, uint32_t *ret)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		v <<= 4;
		if (c >= '0' && c <= '9')
			v |= (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v |= (uint32_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			v |= (uint32_t)(c - 'A' + 10);
		else
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

static char *put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

/* ps->p stands behind `\u`. A surrogate must come as a pair; NUL cannot live in a C string. */
static int unescape_unicode(struct parser *ps, char **out)
{
	uint32_t c, low;

	if (ps->end - ps->p < 4 || hex4(ps->p, &c))
		return fail(ps, "\\u must be followed by four hexadecimal digits");
	ps->p += 4;
	if (c == 0)
		return fail(ps, "strings must not contain NUL");
	if (c >= 0xdc00 && c <= 0xdfff)
		return fail(ps, "low surrogate without a high one");
	if (c >= 0xd800 && c <= 0xdbff) {
		if (ps->end - ps->p < 6 || ps->p[0] != '\\' || ps->p[1] != 'u' ||
		    hex4(ps->p + 2, &low) || low < 0xdc00 || low > 0xdfff)
			return fail(ps, "high surrogate without a low one");
		ps->p += 6;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	*out = put_utf8(*out, c);
	return 0;
}

static int unescape(struct parser *ps, char **out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *hit;
	char c;

	if (ps->p >= ps->end)
		return fail(ps, "string is not closed");
	c = *ps->p++;
	if (c == 'u')
		return unescape_unicode(ps, out);
	hit = c ? strchr(from, c) : NULL;
	if (!hit)
		return fail(ps, "unknown escape in string");
	*(*out)++ = to[hit - from];
	return 0;
}

/* Length of the valid UTF-8 sequence at p, or 0: no overlong forms, surrogates or values above
 * U+10FFFF. */
static size_t utf8_length(const unsigned char *p, const unsigned char *end)
{
	size_t n = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (!n || (size_t)(end - p) < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static int parse_string(struct parser *ps, const char **ret)
{
	char *out = ++ps->p;

	*ret = out;
	while (ps->p < ps->end) {
		unsigned char c = (unsigned char)*ps->p;

		if (c == '"') {
			ps->p++;
			*out = '\0';
			return 0;
		}
		if (c < 0x20)
			return fail(ps, "control character in string");
		if (c == '\\') {
			int r;

			ps->p++;
			r = unescape(ps, &out);
			if (r < 0)
				return r;
			continue;
		}
		if (c < 0x80) {
			*out++ = *ps->p++;
			continue;
		}
		size_t n = utf8_length((unsigned char *)ps->p, (unsigned char *)ps->end);

		if (!n)
			return fail(ps, "invalid UTF-8 in string");
		memmove(out, ps->p, n);
		out += n;
		ps->p += n;
	}
	return fail(ps, "string is not closed");
}

static bool digits(struct parser *ps)
{
	const char *from = ps->p;

	while (ps->p < ps->end && *ps->p >= '0' && *ps->p <= '9')
		ps->p++;
	return ps->p > from;
}

/* The number's text is copied: in place there is no room for its terminator. */
static int parse_number(struct parser *ps, struct json *v)
{
	const char *from = ps->p;
	bool integral = true;

	if (*ps->p == '-')
		ps->p++;
	if (ps->p < ps->end && *ps->p == '0')
		ps->p++;
	else if (!digits(ps))
		return fail(ps, "value expected");
	if (ps->p < ps->end && *ps->p == '.') {
		integral = false;
		ps->p++;
		if (!digits(ps))
			return fail(ps, "digits expected after the point");
	}
	if (ps->p < ps->end && (*ps->p == 'e' || *ps->p == 'E')) {
		integral = false;
		ps->p++;
		if (ps->p < ps->end && (*ps->p == '+' || *ps->p == '-'))
			ps->p++;
		if (!digits(ps))
			return fail(ps, "digits expected in the exponent");
	}
	v->type = JSON_NUMBER;
	v->integral = integral;
	v->string = arena_strndup(ps->arena, from, (size_t)(ps->p - from));
	return v->string ? 0 : fail(ps, "document needs too much memory");
}

static int parse_word(struct parser *ps, struct json *v)
{
	static const struct {
		const char *text;
		enum json_type type;
		bool value;
	} words[] = { { "true", JSON_BOOL, true },
		      { "false", JSON_BOOL, false },
		      { "null", JSON_NULL, false } };

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(words[i].text);

		if ((size_t)(ps->end - ps->p) >= n && memcmp(ps->p, words[i].text, n) == 0) {
			ps->p += n;
			v->type = words[i].type;
			v->boolean = words[i].value;
			return 0;
		}
	}
	return fail(ps, "value expected");
}

static int parse_value(struct parser *ps, struct json *v, int depth);

static int parse_key(struct parser *ps, const struct json *obj, struct json *member)
{
	int r;

	if (ps->p >= ps->end || *ps->p != '"')
		return fail(ps, "member name expected");
	r = parse_string(ps, &member->key);
	if (r < 0)
		return r;
	/* A duplicate would let two readers see two documents. Objects of the OCI format are small;
	 * the quadratic check is bounded by refusing more than 4096 members. */
	if (obj->count >= 4096)
		return fail(ps, "object has more than 4096 members");
	json_each(other, obj) if (strcmp(other->key, member->key) ==
				  0) return fail(ps, "duplicate member name");
	skip_space(ps);
	if (ps->p >= ps->end || *ps->p != ':')
		return fail(ps, "':' expected");
	ps->p++;
	return 0;
}

static int parse_members(struct parser *ps, struct json *v, int depth)
{
	char close = v->type == JSON_OBJECT ? '}' : ']';
	struct json **tail = &v->child;

	ps->p++;
	skip_space(ps);
	if (ps->p < ps->end && *ps->p == close) {
		ps->p++;
		return 0;
	}
	for (;;) {
		struct json *m = arena_alloc(ps->arena, sizeof(*m));
		int r;

		if (!m)
			return fail(ps, "document needs too much memory");
		skip_space(ps);
		r = v->type == JSON_OBJECT ? parse_key(ps, v, m) : 0;
		if (r >= 0)
			r = parse_value(ps, m, depth + 1);
		if (r < 0)
			return r;
		*tail = m;
		tail = &m->next;
		v->count++;
		skip_space(ps);
		if (ps->p >= ps->end)
			return fail(ps, "document ends inside an object or array");
		if (*ps->p == close) {
			ps->p++;
			return 0;
		}
		if (*ps->p++ != ',')
			return fail(ps, "',' or the closing bracket expected");
	}
}

static int parse_value(struct parser *ps, struct json *v, int depth)
{
	skip_space(ps);
	if (ps->p >= ps->end)
		return fail(ps, "value expected");
	if (depth > MAX_DEPTH)
		return fail(ps, "nested more than 64 deep");
	switch (*ps->p) {
	case '{':
		v->type = JSON_OBJECT;
		return parse_members(ps, v, depth);
	case '[':
		v->type = JSON_ARRAY;
		return parse_members(ps, v, depth);
	case '"':
		v->type = JSON_STRING;
		return parse_string(ps, &v->string);
	case 't':
	case 'f':
	case 'n':
		return parse_word(ps, v);
	default:
		return parse_number(ps, v);
	}
}

int json_parse(struct arena *a, const char *text, size_t len, struct json **ret, struct err *err)
{
	struct parser ps = { .arena = a, .err = err };
	struct json *root = arena_alloc(a, sizeof(*root));
	int r;

	ps.start = ps.p = arena_strndup(a, text, len);
	if (!root || !ps.start)
		return err_set(err, -ENOMEM, "document of %zu bytes is too large", len);
	ps.end = ps.start + len;
	r = parse_value(&ps, root, 0);
	if (r < 0)
		return r;
	skip_space(&ps);
	if (ps.p != ps.end)
		return fail(&ps, "text after the end of the document");
	*ret = root;
	return 0;
}

const struct json *json_get(const struct json *obj, const char *key)
{
	if (!obj || obj->type != JSON_OBJECT)
		return NULL;
	json_each(m, obj) if (strcmp(m->key, key) == 0) return m;
	return NULL;
}

int json_i64(const struct json *v, int64_t *ret)
{
	char *end;
	long long n;

	if (v->type != JSON_NUMBER || !v->integral)
		return -EINVAL;
	errno = 0;
	n = strtoll(v->string, &end, 10);
	if (errno)
		return -ERANGE;
	*ret = n;
	return 0;
}

int json_u64(const struct json *v, uint64_t *ret)
{
	char *end;
	unsigned long long n;

	if (v->type != JSON_NUMBER || !v->integral)
		return -EINVAL;
	if (v->string[0] == '-')
		return -ERANGE;
	errno = 0;
	n = strtoull(v->string, &end, 10);
	if (errno)
		return -ERANGE;
	*ret = n;
	return 0;
}
