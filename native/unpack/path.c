#include "path.h"

#include <string.h>

#include "unpack.h"

bool path_is_whiteout(const char *name)
{
	return strncmp(name, WHITEOUT_PREFIX, strlen(WHITEOUT_PREFIX)) == 0;
}

static int check_part(const char *in, const char *part, size_t len, bool last, struct err *err)
{
	if (len == 2 && part[0] == '.' && part[1] == '.')
		return err_set(err, -EINVAL, "cannot unpack \"%.100s\": must not contain \"..\"",
			       in);
	if (len > NAME_MAX)
		return err_set(
		    err, -ENAMETOOLONG,
		    "cannot unpack \"%.100s\": a name must be at most %d bytes, found %zu", in,
		    NAME_MAX, len);
	if (!last && path_is_whiteout(part))
		return err_set(err, -EINVAL,
			       "cannot unpack \"%.100s\": a folder must not be named %s*", in,
			       WHITEOUT_PREFIX);
	return 0;
}

int path_clean(const char *in, char ret[PATH_MAX], struct err *err)
{
	size_t used = 0;
	unsigned depth = 0;

	ret[0] = '\0';
	for (const char *p = in; *p;) {
		size_t len = strcspn(p, "/");
		const char *next = p + len + strspn(p + len, "/");
		int result;

		if (len == 0 || (len == 1 && p[0] == '.')) {
			p = next;
			continue;
		}
		result = check_part(in, p, len, *next == '\0', err);
		if (result < 0)
			return result;
		if (++depth > PATH_DEPTH_MAX)
			return err_set(err, -ENAMETOOLONG,
				       "cannot unpack \"%.100s\": must be at most %d folders deep",
				       in, PATH_DEPTH_MAX);
		if (used + len + 2 > PATH_BYTES_MAX)
			return err_set(err, -ENAMETOOLONG,
				       "cannot unpack \"%.100s\": a path must be below %d bytes",
				       in, PATH_BYTES_MAX);
		if (used > 0)
			ret[used++] = '/';
		memcpy(ret + used, p, len);
		used += len;
		ret[used] = '\0';
		p = next;
	}
	return 0;
}

void path_split(char *path, const char **ret_parent, const char **ret_name)
{
	char *slash = strrchr(path, '/');

	if (!slash) {
		*ret_parent = "";
		*ret_name = path;
		return;
	}
	*slash = '\0';
	*ret_parent = path;
	*ret_name = slash + 1;
}
