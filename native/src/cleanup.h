/* Cleanup attributes: every owned thing is released when its variable leaves scope. */
#pragma once
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FD_NONE (-EBADF)

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		(void)close(*fd);
		errno = saved;
	}
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

/* Hands a descriptor to the caller; the variable no longer owns it. */
static inline int steal_fd(int *fd)
{
	int ret = *fd;

	*fd = FD_NONE;
	return ret;
}

static inline void close_and_forget(int *fd)
{
	cleanup_close(fd);
	*fd = FD_NONE;
}

#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_	__attribute__((cleanup(cleanup_free)))
#define _nonnull_	__attribute__((nonnull))
#define _unused_	__attribute__((unused))
#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
