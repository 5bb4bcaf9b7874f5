#include "confine.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

/* zstd's largest window that is accepted is 128 MiB; the rest is the program with its libraries. */
#define MEMORY_MAX ((rlim_t)320 * 1024 * 1024)

#define BIT(cap) ((uint32_t)1 << (cap))

/* Owners, modes, nodes, and the trusted.* attribute of opaque folders; all lie in the lower word.
 */
#define NEEDED                                                                                     \
	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) |              \
	 BIT(CAP_MKNOD) | BIT(CAP_SETFCAP) | BIT(CAP_SYS_ADMIN))

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &header, data) < 0)
		return err_sys(err, -errno, "cannot read capabilities");
	for (int i = 0; i < 2; i++) {
		uint32_t keep = i == 0 ? NEEDED : 0;

		data[i].permitted &= keep;
		data[i].effective &= keep;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, -errno, "cannot drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "cannot give up new privileges");
	return 0;
}

static int limit_memory(struct err *err)
{
	struct rlimit memory = {MEMORY_MAX, MEMORY_MAX};
	struct rlimit none = {0, 0};

#ifndef __SANITIZE_ADDRESS__
	if (setrlimit(RLIMIT_AS, &memory) < 0)
		return err_sys(err, -errno, "cannot limit memory");
#else
	(void)memory;
#endif
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_sys(err, -errno, "cannot forbid core dumps");
	return 0;
}

/* What Landlock's first version knows of writing; later rights stay as they are. */
#define WRITES                                                                                     \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |                              \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                          \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |                              \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                              \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                            \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)

static int confine_writes(const struct options *options, struct err *err)
{
	uint64_t writes = WRITES;
	uint64_t handled[2] = {writes, 0};
	struct landlock_path_beneath_attr beneath = {.allowed_access =
							 writes & ~LANDLOCK_ACCESS_FS_EXECUTE};
	char copy[PATH_MAX];
	_cleanup_close_ int folder = FD_NONE;
	_cleanup_close_ int rules = FD_NONE;
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1U);

	/* Kernels without it still resolve every path beneath the folder: a second fence is
	 * missing. */
	if (version < 1)
		return 0;
	(void)snprintf(copy, sizeof(copy), "%s", options->target);
#ifdef LANDLOCK_ACCESS_FS_REFER
	/* Links between folders are forbidden to every ruleset that does not grant them. */
	if (version >= 2) {
		handled[0] |= LANDLOCK_ACCESS_FS_REFER;
		beneath.allowed_access |= LANDLOCK_ACCESS_FS_REFER;
	}
#endif
	/* The first version refuses links between folders altogether, which archives need. */
	if (version < 2)
		return 0;
	folder = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return err_sys(err, -errno, "cannot open the folder of \"%.200s\"",
			       options->target);
	beneath.parent_fd = folder;
	rules = (int)syscall(SYS_landlock_create_ruleset, handled, sizeof(handled[0]), 0U);
	if (rules < 0 ||
	    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0U) < 0 ||
	    syscall(SYS_landlock_restrict_self, rules, 0U) < 0)
		return err_sys(err, -errno, "cannot confine the unpacker");
	return 0;
}

int confine(const struct options *options, struct err *err)
{
	int result = drop_capabilities(err);

	if (result == 0)
		result = limit_memory(err);
	return result == 0 ? confine_writes(options, err) : result;
}
