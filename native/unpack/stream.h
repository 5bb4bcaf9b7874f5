/* The blob as a tar stream: decompressed, hashed and measured on the way, in constant memory. */
#pragma once
#include <archive.h>

#include "unpack.h"

struct stream;

/* Opens the blob; *ret_stream is freed by stream_free. */
int stream_open(const struct options *options, struct stream **ret_stream, struct err *err);

/* An archive that reads entries from the stream; freed with archive_read_free before the stream. */
int stream_tar(struct stream *stream, struct archive **ret_tar, struct err *err);

/* What stopped the stream inside libarchive's callback: 0, or the error in its own words. */
int stream_failure(const struct stream *stream, struct err *err);

/* Reads what follows the archive's end, and compares the digest of the whole with the diff id. */
int stream_finish(struct stream *stream, uint64_t *ret_bytes, struct err *err);

void stream_free(struct stream **stream);
#define _cleanup_stream_ __attribute__((cleanup(stream_free)))
