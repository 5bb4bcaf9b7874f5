#include "selfprotect.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "sys.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

extern char **environ;

static bool is_protected(int self)
{
	struct statvfs fs;
	int seals;

	if (fstatvfs(self, &fs) == 0 && fs.f_flag & ST_RDONLY)
		return true;
	seals = fcntl(self, F_GET_SEALS);
	return seals >= 0 && (seals & SEALS) == SEALS;
}

/* A detached, read-only clone of the mount under the file itself: opening it for writing gives
 * EROFS, and nobody can find the mount to change it. */
static int clone_readonly(int self)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV };
	int fd = sys_open_tree(self, "", OPEN_TREE_CLONE | AT_EMPTY_PATH), r;

	if (fd < 0)
		return fd;
	r = sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	return fd;
}

/* MFD_EXEC says that the copy is meant to be run; kernels before 6.3 do not know it. */
static int make_memfd(void)
{
	int fd = memfd_create("berth", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("berth", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

static int copy_sealed(int self)
{
	_cleanup_close_ int mem = make_memfd();
	struct stat st;
	off_t at = 0;

	if (mem < 0)
		return mem;
	if (fstat(self, &st) < 0)
		return -errno;
	while (at < st.st_size)
		if (sendfile(mem, self, &at, (size_t)(st.st_size - at)) <= 0)
			return -EIO;
	if (fchmod(mem, 0500) < 0 || fcntl(mem, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	return steal_fd(&mem);
}

int self_protect(char **argv, bool long_lived, struct err *err)
{
	_cleanup_close_ int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), copy = FD_NONE;

	if (self < 0)
		return err_sys(err, -errno, "cannot open the runtime's own file");
	if (is_protected(self))
		return 0;
	copy = long_lived ? clone_readonly(self) : copy_sealed(self);
	if (copy < 0)
		copy = long_lived ? copy_sealed(self) : clone_readonly(self);
	if (copy < 0)
		return err_sys(err, copy, "cannot protect the runtime's own file");
	(void)syscall(SYS_execveat, copy, "", argv, environ, AT_EMPTY_PATH);
	return err_sys(err, -errno, "cannot run from the protected file");
}
