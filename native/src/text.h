/* Bounded copies: the result always fits and ends, and the caller learns when it did not. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool text_copy(char *dst, size_t size, const char *src)
{
	size_t len = strnlen(src, size);

	if (len == size) {
		dst[0] = '\0';
		return false;
	}
	memcpy(dst, src, len + 1);
	return true;
}

static inline bool text_append(char *dst, size_t size, const char *src)
{
	size_t at = strnlen(dst, size);

	return at < size && text_copy(dst + at, size - at, src);
}
