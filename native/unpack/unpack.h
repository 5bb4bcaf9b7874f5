/* gantry-unpack: one layer of an image, from its compressed blob to a folder that overlayfs can
 * take as a lower layer. The blob is hostile until proved otherwise. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum compression {
	COMPRESSION_ANY,
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD,
};

struct options {
	const char *layer;   /* blob to read; NULL for standard input */
	const char *target;  /* folder to make; must not exist, its parent must */
	const char *diff_id; /* "sha256:<64 hex>" that the tar stream must have */
	enum compression compression;
	uint64_t max_bytes;	/* of the tar stream, and of the files' sizes together */
	uint64_t max_entries;	/* of the layer, folders that are only implied included */
	uint64_t max_ratio;	/* tar stream to blob, judged from RATIO_FLOOR on */
	bool remove;		/* the target, instead of making it */
	bool file_capabilities; /* keep security.capability */
	bool sync;		/* the folder survives a power cut once it has its name */
};

/* A tar stream below this size is never called a bomb. */
#define RATIO_FLOOR ((uint64_t)128 * 1024 * 1024)

/* Depth and length that an entry's path may have: whoever removes the layer later must still be
 * able to name it beneath his own path. */
#define PATH_DEPTH_MAX 255
#define PATH_BYTES_MAX 3072

struct result {
	uint64_t entries;
	uint64_t layer_bytes; /* of the tar stream */
	uint64_t file_bytes;
	uint64_t dropped; /* extended attributes that were not taken over */
};

/* Set by a signal; every loop that may run long asks it. */
bool unpack_cancelled(void);

/* Makes options->target, whole or not at all. */
int unpack_layer(const struct options *options, struct result *ret, struct err *err);

/* Removes options->target whatever bytes its names consist of; one that is missing is removed. */
int remove_layer(const struct options *options, struct err *err);
