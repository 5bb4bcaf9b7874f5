#include <string.h>

#include "json.h"
#include "json_write.h"
#include "unit.h"

static int parse(struct arena *a, const char *text, struct json **ret, struct err *err)
{
	return json_parse(a, text, strlen(text), ret, err);
}

static void values_are_read(struct unit *u)
{
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct json *d = NULL;
	int64_t i = 0;
	uint64_t n = 0;
	const char *s = NULL;
	bool b = false;

	CHECK(u, parse(&a,
		       " {\"a\":[1,-2,3.5e1],\"s\":\"\\u00e9\\ud83d\\ude00\\n\",\"t\":true,"
		       "\"n\":null,\"big\":18446744073709551615,\"neg\":-9223372036854775808} ",
		       &d, &err) == 0);
	CHECK(u, json_get(d, "a")->count == 3);
	CHECK(u, json_get_string(d, "s", &s, &err) == 1 && strcmp(s, "é😀\n") == 0);
	CHECK(u, json_get_bool(d, "t", &b, &err) == 1 && b);
	CHECK(u, json_get_string(d, "n", &s, &err) == 0);
	CHECK(u, json_get_u64(d, "big", &n, &err) == 1 && n == UINT64_MAX);
	CHECK(u, json_get_i64(d, "big", &i, &err) == -EINVAL);
	CHECK(u, json_get_i64(d, "neg", &i, &err) == 1 && i == INT64_MIN);
	CHECK(u, json_get_u64(d, "neg", &n, &err) == -EINVAL);
	CHECK(u, json_get_string(d, "t", &s, &err) == -EINVAL &&
			 strstr(err.text, "t: must be a string"));
	arena_release(&a);
}

static void wrong_documents_are_refused(struct unit *u)
{
	static const char *const wrong[] = {
		"",
		"{",
		"}",
		"[1,]",
		"{\"a\":1,}",
		"{a:1}",
		"01",
		"1.",
		"-",
		"+1",
		"1e",
		".5",
		"tru",
		"nul",
		"\"",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\ud800\"",
		"\"\\udc00\"",
		"\"\\u0000\"",
		"\"\n\"",
		"\"\xff\"",
		"\"\xc0\x80\"",
		"\"\xed\xa0\x80\"",
		"1 2",
		"{\"a\":1,\"a\":2}",
		"{\"a\"1}",
		"[1 2]",
		"'a'",
		"NaN",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct arena a = { 0 };
		struct err err = ERR_INIT;
		struct json *d = NULL;

		if (parse(&a, wrong[i], &d, &err) != -EINVAL)
			printf("accepted: %s\n", wrong[i]);
		CHECK(u, err.code == -EINVAL && strncmp(err.text, "line 1", 6) == 0 && !d);
		arena_release(&a);
	}
}

static void depth_is_limited(struct unit *u)
{
	char text[300] = "";
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct json *d;

	memset(text, '[', 64);
	memset(text + 64, ']', 64);
	CHECK(u, parse(&a, text, &d, &err) == 0);
	memset(text, '[', 66);
	memset(text + 66, ']', 66);
	CHECK(u, parse(&a, text, &d, &err) == -EINVAL);
	arena_release(&a);
}

static void memory_is_limited(struct unit *u)
{
	struct arena a = { .limit = 4096 };
	struct err err = ERR_INIT;
	struct json *d;
	char text[2001];

	memset(text, ' ', 2000);
	for (int i = 1; i < 1999; i += 2) {
		text[i] = '1';
		text[i + 1] = ',';
	}
	text[0] = '[';
	text[1999] = ']';
	text[2000] = '\0';
	CHECK(u, parse(&a, text, &d, &err) < 0);
	arena_release(&a);
}

static void what_is_written_reads_back(struct unit *u)
{
	struct jw w = { 0 };
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct json *d;
	const char *text, *s = NULL;
	int64_t n = 0;

	jw_object(&w, NULL);
	jw_string(&w, "a\"b", "\x01 \\ \n é");
	jw_array(&w, "l");
	jw_i64(&w, NULL, -5);
	jw_bool(&w, NULL, true);
	jw_string(&w, NULL, NULL);
	jw_array_end(&w);
	jw_object_end(&w);
	CHECK(u, jw_finish(&w, &text, NULL) == 0);
	CHECK(u, parse(&a, text, &d, &err) == 0);
	CHECK(u, json_get_string(d, "a\"b", &s, &err) == 1 && strcmp(s, "\x01 \\ \n é") == 0);
	CHECK(u, json_get(d, "l")->count == 3 && json_i64(json_get(d, "l")->child, &n) == 0 &&
			 n == -5);
	jw_release(&w);
	arena_release(&a);
}

void test_json(struct unit *u)
{
	unit_run(u, "json: values are read", values_are_read);
	unit_run(u, "json: wrong documents are refused", wrong_documents_are_refused);
	unit_run(u, "json: depth is limited", depth_is_limited);
	unit_run(u, "json: memory is limited", memory_is_limited);
	unit_run(u, "json: what is written reads back", what_is_written_reads_back);
}
