/* A bump allocator: one mapping that lives as long as a command's parsed input. Memory comes
 * zeroed. arena_release gives all of it back to the kernel, so a long-lived process that parsed
 * a big document keeps nothing of it. */
#pragma once
#include <stddef.h>

struct arena {
	struct arena_block *head;
	size_t used;  /* bytes handed out, for the limit */
	size_t limit; /* 0 = 64 MiB */
};

/* Returns zeroed memory aligned to 16 bytes, or NULL when the limit or memory is exhausted. */
void *arena_alloc(struct arena *a, size_t size);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_release(struct arena *a);

#define _cleanup_arena_ __attribute__((cleanup(arena_release)))
