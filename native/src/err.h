/* The one error type: a negative errno and one line of text that names step and subject. */
#pragma once
#include <errno.h>
#include <stdarg.h>

struct err {
	int code;	/* negative errno; 0 when there is no error */
	char text[508]; /* without newline; the outermost context stands first */
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		.code = 0, .text = ""                                                              \
	}

/* Sets the error to `code` (negative errno) with a formatted text; appends the errno's words.
 * Always returns `code`, so that callers write `return err_sys(err, -errno, "open %s", p)`. */
int err_sys(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same without errno's words: for violated rules ("must hold, found x"). */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts context in front of an error that is already set; returns its code. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
