#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_BYTES   ((size_t)64 * 1024)
#define DEFAULT_LIMIT ((size_t)64 * 1024 * 1024)
#define ALIGNMENT     ((size_t)16)

struct arena_block {
	struct arena_block *next;
	size_t size; /* of the whole mapping */
	size_t used; /* from the mapping's start */
	size_t pad;
};

static struct arena_block *block_new(size_t payload)
{
	size_t size = sizeof(struct arena_block) + payload;
	struct arena_block *b;

	if (size < BLOCK_BYTES)
		size = BLOCK_BYTES;
	size = (size + 4095) & ~(size_t)4095;
	b = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b == MAP_FAILED)
		return NULL;
	b->size = size;
	b->used = sizeof(*b);
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t limit = a->limit ? a->limit : DEFAULT_LIMIT;
	struct arena_block *b = a->head;
	void *ret;

	if (size > limit || a->used + size > limit)
		return NULL;
	size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
	if (!b || b->size - b->used < size) {
		struct arena_block *fresh = block_new(size);

		if (!fresh)
			return NULL;
		fresh->next = b;
		a->head = b = fresh;
	}
	ret = (char *)b + b->used;
	b->used += size;
	a->used += size;
	return ret;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *p = arena_alloc(a, len + 1);

	if (p)
		memcpy(p, s, len);
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *p = NULL;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0)
		p = arena_alloc(a, (size_t)n + 1);
	if (p)
		(void)vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return p;
}

void arena_release(struct arena *a)
{
	struct arena_block *b = a->head;

	while (b) {
		struct arena_block *next = b->next;

		(void)munmap(b, b->size);
		b = next;
	}
	a->head = NULL;
	a->used = 0;
}
