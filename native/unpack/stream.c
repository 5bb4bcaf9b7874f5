#include "stream.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"

#define READ_BLOCK ((size_t)256 * 1024)
#define TAR_BLOCK  ((size_t)512)

struct stream {
	const struct options *options;
	struct archive *raw; /* the decompressing reader: one entry, the tar stream */
	EVP_MD_CTX *hash;
	uint64_t bytes;
	bool ended;
	bool padded;
	struct err failure; /* of stream_next: libarchive carries a number only */
};

static int enable_filter(struct archive *raw, enum compression compression)
{
	int result = ARCHIVE_OK;

	if (compression == COMPRESSION_ANY || compression == COMPRESSION_GZIP)
		result = archive_read_support_filter_gzip(raw);
	if (result == ARCHIVE_OK &&
	    (compression == COMPRESSION_ANY || compression == COMPRESSION_ZSTD))
		result = archive_read_support_filter_zstd(raw);
	return result;
}

static int begin_raw(struct stream *stream, struct err *err)
{
	const struct options *options = stream->options;
	struct archive_entry *entry;
	int result;

	stream->raw = archive_read_new();
	if (!stream->raw)
		return err_sys(err, -ENOMEM, "cannot read the layer");
	/* A filter that falls back to a program (libarchive built without the library) only warns.
	 */
	if (enable_filter(stream->raw, options->compression) != ARCHIVE_OK ||
	    archive_read_support_format_raw(stream->raw) != ARCHIVE_OK ||
	    archive_read_support_format_empty(stream->raw) != ARCHIVE_OK)
		return err_set(err, -ENOSYS, "cannot read the layer: libarchive says %s",
			       archive_error_string(stream->raw));
	result = options->layer
		     ? archive_read_open_filename(stream->raw, options->layer, READ_BLOCK)
		     : archive_read_open_fd(stream->raw, 0, READ_BLOCK);
	if (result == ARCHIVE_OK)
		result = archive_read_next_header(stream->raw, &entry);
	if (result == ARCHIVE_EOF)
		stream->ended = true;
	else if (result != ARCHIVE_OK)
		return err_set(err, -EBADMSG, "cannot read the layer: %s",
			       archive_error_string(stream->raw));
	return 0;
}

int stream_open(const struct options *options, struct stream **ret_stream, struct err *err)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	int result;

	if (!stream)
		return err_sys(err, -ENOMEM, "cannot read the layer");
	stream->options = options;
	stream->hash = EVP_MD_CTX_new();
	if (!stream->hash || EVP_DigestInit_ex(stream->hash, EVP_sha256(), NULL) != 1)
		result = err_set(err, -ENOMEM, "cannot compute SHA-256");
	else
		result = begin_raw(stream, err);
	if (result < 0) {
		stream_free(&stream);
		return result;
	}
	*ret_stream = stream;
	return 0;
}

/* Bytes that came out against bytes that went in: a stream that grows too much is a bomb. */
static int check_growth(const struct stream *stream, struct err *err)
{
	const struct options *options = stream->options;
	int64_t consumed = archive_filter_bytes(stream->raw, -1);
	uint64_t from = consumed > 0 ? (uint64_t)consumed : 1;

	if (unpack_cancelled())
		return err_set(err, -ECANCELED, "cannot unpack: told to stop");
	if (stream->bytes > options->max_bytes)
		return err_set(err, -EFBIG, "cannot unpack: a layer must be at most %llu bytes",
			       (unsigned long long)options->max_bytes);
	if (stream->bytes > RATIO_FLOOR && stream->bytes / from > options->max_ratio)
		return err_set(err, -EFBIG,
			       "cannot unpack: a layer must be at most %llu times as large as its "
			       "blob, found %llu bytes out of %llu",
			       (unsigned long long)options->max_ratio,
			       (unsigned long long)stream->bytes, (unsigned long long)from);
	return 0;
}

/* One block of the tar stream; *ret_size 0 at its end. */
static int stream_next(struct stream *stream, const void **ret_block, size_t *ret_size,
		       struct err *err)
{
	int64_t offset = 0;
	int result;

	*ret_size = 0;
	*ret_block = NULL;
	while (!stream->ended && *ret_size == 0) {
		result = archive_read_data_block(stream->raw, ret_block, ret_size, &offset);
		if (result == ARCHIVE_EOF)
			stream->ended = true;
		else if (result != ARCHIVE_OK)
			return err_set(err, -EBADMSG, "cannot read the layer: %s",
				       archive_error_string(stream->raw));
	}
	if (*ret_size > 0 && EVP_DigestUpdate(stream->hash, *ret_block, *ret_size) != 1)
		return err_set(err, -EIO, "cannot compute SHA-256");
	stream->bytes += *ret_size;
	return check_growth(stream, err);
}

/* Some builders leave out the last block's padding and the end mark; readers of theirs do not mind.
 * Zeros for both are added for the tar reader alone: the digest stays that of what came. */
static size_t end_mark(struct stream *stream, const void **ret_block)
{
	static const char zeros[3 * TAR_BLOCK];

	if (stream->padded)
		return 0;
	stream->padded = true;
	*ret_block = zeros;
	return (TAR_BLOCK - stream->bytes % TAR_BLOCK) % TAR_BLOCK + (size_t)2 * TAR_BLOCK;
}

static la_ssize_t give_block(struct archive *tar, void *data, const void **ret_block)
{
	struct stream *stream = data;
	size_t size;
	int result = stream_next(stream, ret_block, &size, &stream->failure);

	if (result < 0) {
		archive_set_error(tar, -result, "%s", stream->failure.text);
		return ARCHIVE_FATAL;
	}
	return (la_ssize_t)(size > 0 ? size : end_mark(stream, ret_block));
}

int stream_tar(struct stream *stream, struct archive **ret_tar, struct err *err)
{
	struct archive *tar = archive_read_new();

	if (!tar)
		return err_sys(err, -ENOMEM, "cannot read the layer");
	if (archive_read_support_format_tar(tar) != ARCHIVE_OK ||
	    archive_read_support_format_empty(tar) != ARCHIVE_OK ||
	    archive_read_set_options(tar, "!mac-ext") != ARCHIVE_OK ||
	    archive_read_open(tar, stream, NULL, give_block, NULL) != ARCHIVE_OK) {
		(void)err_set(err, -EBADMSG, "cannot read the layer: %s",
			      archive_error_string(tar));
		(void)archive_read_free(tar);
		return err->code;
	}
	*ret_tar = tar;
	return 0;
}

int stream_failure(const struct stream *stream, struct err *err)
{
	if (stream->failure.code == 0)
		return 0;
	*err = stream->failure;
	return err->code;
}

static int check_digest(struct stream *stream, struct err *err)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[sizeof("sha256:") + (size_t)2 * EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char *p;

	if (EVP_DigestFinal_ex(stream->hash, digest, &len) != 1)
		return err_set(err, -EIO, "cannot compute SHA-256");
	p = stpcpy(text, "sha256:");
	for (unsigned i = 0; i < len; i++)
		p += snprintf(p, 3, "%02x", digest[i]);
	if (strcmp(text, stream->options->diff_id) != 0)
		return err_set(err, -EBADMSG, "cannot unpack: the diff id must be %s, found %s",
			       stream->options->diff_id, text);
	return 0;
}

int stream_finish(struct stream *stream, uint64_t *ret_bytes, struct err *err)
{
	const void *block;
	size_t size;

	do {
		int result = stream_next(stream, &block, &size, err);

		if (result < 0)
			return result;
	} while (size > 0);
	*ret_bytes = stream->bytes;
	return check_digest(stream, err);
}

void stream_free(struct stream **stream)
{
	if (!*stream)
		return;
	if ((*stream)->raw)
		(void)archive_read_free((*stream)->raw);
	EVP_MD_CTX_free((*stream)->hash);
	free(*stream);
	*stream = NULL;
}
