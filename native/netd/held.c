#include "netd.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "link.h"

#define HELD_MAX 16384

/* The kernel needs some 20 ms for a namespace; this is ample, and nobody waits for it. */
#define LEAVE_GRACE_MS 500

struct held *held_find(struct held_table *table, const char *host_if)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->items[i].host_if, host_if) == 0)
			return &table->items[i];
	return NULL;
}

/* Room for one more element of `size` bytes; the table is unchanged on failure. */
static int make_room(void **items, size_t *room, size_t count, size_t size, struct err *err)
{
	size_t wanted = *room ? *room * 2 : 64;
	void *grown;

	if (count < *room)
		return 0;
	if (count >= HELD_MAX)
		return err_set(err, -E2BIG, "cannot keep interfaces: must be at most %d", HELD_MAX);
	grown = realloc(*items, wanted * size);
	if (!grown)
		return err_set(err, -ENOMEM, "cannot keep interfaces: out of memory");
	*items = grown;
	*room = wanted;
	return 0;
}

static void copy_name(char target[IFNAMSIZ], const char *name)
{
	memset(target, 0, IFNAMSIZ);
	memcpy(target, name, strnlen(name, IFNAMSIZ - 1));
}

int held_add(struct held_table *table, const char *host_if, const struct cidr *address, int fd,
	     struct err *err)
{
	void *items = table->items;
	struct held *entry;
	int result = make_room(&items, &table->room, table->count, sizeof(*entry), err);

	table->items = items;
	if (result < 0)
		return result;
	entry = &table->items[table->count++];
	*entry = (struct held){.address = *address, .fd = fd};
	copy_name(entry->host_if, host_if);
	return 0;
}

void held_drop(struct held_table *table, struct held *entry)
{
	close_and_forget(&entry->fd);
	*entry = table->items[--table->count];
}

int leaving_add(struct leaving_queue *queue, const char *host_if, int64_t now_ms, struct err *err)
{
	void *items = queue->items;
	struct leaving *entry;
	int result;

	leaving_forget(queue, host_if);
	result = make_room(&items, &queue->room, queue->count, sizeof(*entry), err);
	queue->items = items;
	if (result < 0)
		return result;
	entry = &queue->items[queue->count++];
	entry->check_at_ms = now_ms + LEAVE_GRACE_MS;
	copy_name(entry->host_if, host_if);
	return 0;
}

static void leaving_remove(struct leaving_queue *queue, size_t index)
{
	queue->count--;
	memmove(queue->items + index, queue->items + index + 1,
		(queue->count - index) * sizeof(*queue->items));
}

void leaving_forget(struct leaving_queue *queue, const char *host_if)
{
	for (size_t i = 0; i < queue->count; i++)
		if (strcmp(queue->items[i].host_if, host_if) == 0) {
			leaving_remove(queue, i);
			return;
		}
}

/* Entries stand in the order in which they were added, so the first one is due first. */
int leaving_wait_ms(const struct leaving_queue *queue, int64_t now_ms)
{
	if (queue->count == 0)
		return -1;
	return queue->items[0].check_at_ms > now_ms ? (int)(queue->items[0].check_at_ms - now_ms)
						    : 0;
}

void leaving_check(struct netd *netd, int64_t now_ms)
{
	struct leaving_queue *queue = &netd->leaving;
	struct err ignored = ERR_INIT;
	int index;

	while (queue->count > 0 && queue->items[0].check_at_ms <= now_ms) {
		struct leaving entry = queue->items[0];

		leaving_remove(queue, 0);
		if (link_index(&netd->nl, entry.host_if, &index, &ignored) < 0)
			continue;
		/* Nobody is left to be told; a later release of the same name tries again. */
		(void)link_delete(&netd->nl, entry.host_if, &ignored);
		return;
	}
}

int64_t monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
