/* Command line of gantry-unpack. One JSON line on standard output when the layer is there; one line
 * on standard error, status 1 and no trace of it when it is not. */
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "confine.h"
#include "unpack.h"

static volatile sig_atomic_t cancelled;

static void on_signal(int number)
{
	(void)number;
	cancelled = 1;
}

bool unpack_cancelled(void)
{
	return cancelled != 0;
}

static const char usage[] =
    "usage: gantry-unpack --target DIR --diff-id sha256:HEX [options]\n"
    "  --layer FILE           blob to read; default standard input\n"
    "  --compression KIND     none, gzip, zstd; default by its first bytes\n"
    "  --max-bytes N          of the tar stream and of all files together [17179869184]\n"
    "  --max-entries N        files, folders, links [1000000]\n"
    "  --max-ratio N          tar stream to blob, from 128 MiB on [200]\n"
    "  --file-capabilities    keep security.capability attributes\n"
    "  --sync                 write to disk before the folder gets its name\n"
    "  --remove               remove DIR instead (no --diff-id)\n";

static int parse_number(const char *option, const char *text, uint64_t *ret, struct err *err)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || value == 0 || value > INT64_MAX)
		return err_set(err, -EINVAL,
			       "cannot read --%s \"%.50s\": must be a positive number", option,
			       text);
	*ret = value;
	return 0;
}

static int parse_compression(const char *text, enum compression *ret, struct err *err)
{
	static const char *const names[] = {"", "none", "gzip", "zstd"};

	for (size_t i = 1; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], text) == 0) {
			*ret = (enum compression)i;
			return 0;
		}
	return err_set(err, -EINVAL,
		       "cannot read --compression \"%.50s\": must be none, gzip or zstd", text);
}

static int check_diff_id(const char *text, struct err *err)
{
	if (text && strncmp(text, "sha256:", 7) == 0 && strlen(text) == 7 + 64 &&
	    strspn(text + 7, "0123456789abcdef") == 64)
		return 0;
	return err_set(err, -EINVAL,
		       "cannot read --diff-id \"%.100s\": must be sha256:<64 hex digits>",
		       text ? text : "");
}

static const struct option long_options[] = {
    {"layer", required_argument, NULL, 'l'},
    {"target", required_argument, NULL, 't'},
    {"diff-id", required_argument, NULL, 'd'},
    {"compression", required_argument, NULL, 'c'},
    {"max-bytes", required_argument, NULL, 'b'},
    {"max-entries", required_argument, NULL, 'e'},
    {"max-ratio", required_argument, NULL, 'r'},
    {"file-capabilities", no_argument, NULL, 'f'},
    {"sync", no_argument, NULL, 's'},
    {"remove", no_argument, NULL, 'x'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, const char *value, struct options *options, struct err *err)
{
	switch (option) {
	case 'l':
		options->layer = value;
		return 0;
	case 't':
		options->target = value;
		return 0;
	case 'd':
		options->diff_id = value;
		return 0;
	case 'c':
		return parse_compression(value, &options->compression, err);
	case 'b':
		return parse_number("max-bytes", value, &options->max_bytes, err);
	case 'e':
		return parse_number("max-entries", value, &options->max_entries, err);
	case 'r':
		return parse_number("max-ratio", value, &options->max_ratio, err);
	case 'f':
		options->file_capabilities = true;
		return 0;
	case 's':
		options->sync = true;
		return 0;
	case 'x':
		options->remove = true;
		return 0;
	default:
		return err_set(err, -EINVAL, "cannot read the options: see --help");
	}
}

static int parse(int argc, char **argv, struct options *options, struct err *err)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		int result;

		if (option == 'h') {
			(void)fputs(usage, stdout);
			exit(0);
		}
		result = take_option(option, optarg, options, err);
		if (result < 0)
			return result;
	}
	if (optind != argc)
		return err_set(err, -EINVAL, "cannot read the options: \"%.100s\" is one too many",
			       argv[optind]);
	if (!options->target || !*options->target)
		return err_set(err, -EINVAL, "cannot unpack: --target must be given");
	return options->remove ? 0 : check_diff_id(options->diff_id, err);
}

static int run(const struct options *options, struct err *err)
{
	struct result result = {0};

	if (options->remove)
		return remove_layer(options, err);
	if (unpack_layer(options, &result, err) < 0)
		return err->code;
	(void)printf("{\"entries\":%llu,\"layerBytes\":%llu,\"fileBytes\":%llu,\"dropped\":%llu}\n",
		     (unsigned long long)result.entries, (unsigned long long)result.layer_bytes,
		     (unsigned long long)result.file_bytes, (unsigned long long)result.dropped);
	return 0;
}

/* The caller's end is this program's end, and then nothing may be left behind. */
static void obey_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
}

int main(int argc, char **argv)
{
	struct options options = {
	    .max_bytes = (uint64_t)16 << 30, .max_entries = 1000000, .max_ratio = 200};
	struct err err = ERR_INIT;

	obey_signals();
	(void)umask(0);
	/* Names of pax archives are UTF-8; libarchive keeps them only where the locale is. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (parse(argc, argv, &options, &err) < 0 || confine(&options, &err) < 0 ||
	    run(&options, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return 0;
}
