#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "commands.h"
#include "opts.h"
#include "sys.h"

#define LOG_BYTES_DEFAULT ((uint64_t)10 * 1024 * 1024)
#define LOG_BYTES_MIN	  ((uint64_t)LOG_LINE_MAX * 2)
#define LOG_FILES_DEFAULT 3
#define LOG_FILES_MAX	  100

/* What the monitor tells the process that started it, as the first byte of one message. */
#define STARTED_DONE  'S'
#define STARTED_ERROR 'E'

static void ignore(int number _unused_)
{
}

/* Handlers, not SIG_IGN: exec resets them, so that neither the container nor what is executed in
 * it later starts with ignored signals. */
static void outlive_signals(void)
{
	static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2};
	struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		(void)sigaction(numbers[i], &action, NULL);
}

/* Own session, nothing inherited but the way to tell how it went. */
static int detach(int *tell_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (setsid() < 0 || null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (null > 2)
		close_and_forget(&null);
	if (*tell_fd != 3) {
		if (dup3(*tell_fd, 3, O_CLOEXEC) < 0)
			return -errno;
		*tell_fd = 3;
	}
	(void)sys_close_range(4, ~0U, 0);
	/* What a container gets that asks for no umask of its own. */
	(void)umask(022);
	outlive_signals();
	(void)prctl(PR_SET_NAME, "berth-monitor");
	return 0;
}

static void tell_caller(int fd, char kind, const char *text)
{
	char message[sizeof(struct err) + 1];

	(void)snprintf(message, sizeof(message), "%c%s", kind, text);
	/* A caller that has died meanwhile finds the record `started` when it is back. */
	(void)!write(fd, message, strlen(message));
}

static void tell_started(int fd, const struct start_record *start)
{
	char text[128];

	(void)snprintf(text, sizeof(text),
		       "{\"pid\":%d,\"startTime\":\"%llu\",\"startedAtUs\":%llu}", start->pid,
		       (unsigned long long)start->start_time,
		       (unsigned long long)start->started_at_us);
	tell_caller(fd, STARTED_DONE, text);
}

/* The monitor's own process, from the fork to its end. Its state is one mapping whose large
 * buffers cost nothing until they are used. */
static int be_monitor(const struct monitor_options *options, int tell_fd)
{
	struct monitor *m =
	    mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct err err = ERR_INIT;
	int result = m == MAP_FAILED ? -errno : detach(&tell_fd);

	if (result < 0)
		(void)err_sys(&err, result, "cannot detach the monitor");
	else
		result = monitor_start(m, options, &err);
	if (result < 0) {
		tell_caller(tell_fd, STARTED_ERROR, err.text);
		return 1;
	}
	log_open(&m->log, m->dir_fd, &options->log);
	(void)chdir("/");
	tell_started(tell_fd, &m->start);
	close_and_forget(&tell_fd);
	/* Nobody waits for this; without it the end may have to wait for a free disk. */
	(void)record_reserve(m->dir_fd, &err);
	monitor_live(m);
	return 0;
}

/* Waits for the monitor's word. One that dies without a word leaves its container to be removed. */
static int hear(int fd, pid_t monitor, const struct monitor_options *options, struct err *err)
{
	char message[sizeof(struct err) + 1];
	ssize_t got;

	do {
		got = read(fd, message, sizeof(message) - 1);
	} while (got < 0 && errno == EINTR);
	if (got > 0) {
		message[got] = '\0';
		if (message[0] == STARTED_ERROR)
			return err_set(err, -EIO, "%s", message + 1);
		if (printf("%s\n", message + 1) < 0 || fflush(stdout) != 0)
			return err_sys(err, -EIO, "cannot print what was started");
		return 0;
	}
	(void)waitpid(monitor, NULL, 0);
	struct container left = CONTAINER_INIT;
	struct err ignored = ERR_INIT;

	if (container_open(options->root, options->id, &left, &ignored) == 0) {
		(void)container_delete(&left, true, &ignored);
		container_close(&left);
	}
	return err_set(err, -ECHILD, "cannot start \"%s\": its monitor died", options->id);
}

static int check(struct monitor_options *options, uint64_t files, const char *driver,
		 struct err *err)
{
	if (!options->id || !options->bundle || !options->dir)
		return err_set(err, -EINVAL,
			       "cannot monitor: --id, --bundle and --dir must be given");
	if (options->log.max_bytes < LOG_BYTES_MIN)
		return err_set(
		    err, -EINVAL, "cannot use --log-max-bytes: must be at least %llu, found %llu",
		    (unsigned long long)LOG_BYTES_MIN, (unsigned long long)options->log.max_bytes);
	if (files < 1 || files > LOG_FILES_MAX)
		return err_set(err, -EINVAL,
			       "cannot use --log-max-files: must be 1 to %d, found %llu",
			       LOG_FILES_MAX, (unsigned long long)files);
	options->log.max_files = (unsigned)files;
	options->log.disabled = strcmp(driver, "none") == 0;
	if (!options->log.disabled && strcmp(driver, "file") != 0)
		return err_set(
		    err, -EINVAL,
		    "cannot use --log-driver: must be \"file\" or \"none\", found \"%s\"", driver);
	return 0;
}

static int start_monitor(const struct monitor_options *options, int *ret_status, struct err *err)
{
	int ends[2];
	pid_t pid;
	int result;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot make a pipe");
	pid = fork();
	if (pid == 0)
		_exit(be_monitor(options, ends[1]));
	(void)close(ends[1]);
	if (pid < 0)
		result = err_sys(err, -errno, "cannot fork the monitor");
	else
		result = hear(ends[0], pid, options, err);
	(void)close(ends[0]);
	*ret_status = 0;
	return result;
}

int cmd_monitor(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	struct monitor_options options = {.root = g->root, .log = {.max_bytes = LOG_BYTES_DEFAULT}};
	uint64_t files = LOG_FILES_DEFAULT;
	const char *driver = "file";
	const struct opt table[] = {
	    {"id", 0, OPT_STRING, &options.id, "ID", "the container's id"},
	    {"bundle", 'b', OPT_STRING, &options.bundle, "DIR", "folder with config.json"},
	    {"dir", 0, OPT_STRING, &options.dir, "DIR", "existing folder for log and records"},
	    {"root", 0, OPT_STRING, &options.root, "DIR", "state folder"},
	    {"log-max-bytes", 0, OPT_U64, &options.log.max_bytes, "N",
	     "size of a log file (10485760)"},
	    {"log-max-files", 0, OPT_U64, &files, "N", "number of log files (3)"},
	    {"log-driver", 0, OPT_STRING, &driver, "file|none", "where output goes (file)"},
	    {NULL, 0, OPT_FLAG, NULL, NULL, NULL},
	};
	int index;
	int result = opts_parse(table, "berth monitor --id ID --bundle DIR --dir DIR [options]",
				argc, argv, &index, err);

	*ret_status = 0;
	if (result != 0)
		return result < 0 ? result : 0;
	if (index < argc)
		return err_set(err, -EINVAL, "cannot monitor: unknown argument \"%s\"",
			       argv[index]);
	result = check(&options, files, driver, err);
	return result < 0 ? result : start_monitor(&options, ret_status, err);
}
