/* Thin wrappers for system calls that the C library lacks. All return >= 0 or a negative errno. */
#pragma once
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

int sys_openat2(int dir, const char *path, int flags, unsigned mode, uint64_t resolve);
pid_t sys_clone3(uint64_t flags, int *ret_pidfd, int cgroup_fd);
int sys_pidfd_open(pid_t pid);
int sys_pidfd_signal(int pidfd, int signal);
int sys_pidfd_getfd(int pidfd, int fd);
int sys_open_tree(int dir, const char *path, unsigned flags);
int sys_move_mount(int from, int to_dir, const char *to_path);
int sys_fsopen(const char *type);
int sys_fsconfig_string(int fs, const char *key, const char *value);
int sys_fsconfig_flag(int fs, const char *key);
int sys_fsconfig_create(int fs);
int sys_fsmount(int fs, unsigned attr);
int sys_mount_setattr(int dir, const char *path, unsigned flags, const struct mount_attr *attr);
int sys_pivot_root(const char *new_root, const char *put_old);
int sys_close_range(unsigned first, unsigned last, unsigned flags);
int sys_capset(const uint64_t effective, const uint64_t permitted, const uint64_t inheritable);
int sys_seccomp(unsigned op, unsigned flags, void *args);
int sys_bpf(int cmd, void *attr, size_t size);
int sys_setns(int fd, int kind);
/* Every signal at its default and none blocked, also those that libc keeps for itself. */
void sys_reset_signals(void);
int sys_execve(const char *path, const char *const *args, const char *const *env);

/* Whole small file into a fresh NUL-terminated buffer; -EFBIG above `limit`. */
int read_file_at(int dir, const char *path, size_t limit, char **ret, size_t *ret_len);
/* One write() of the whole text: what cgroup and procfs files want. */
int write_file_at(int dir, const char *path, const char *text);
int write_fd(int fd, const char *text);
int write_all(int fd, const void *buf, size_t len);

/* Sends or receives one message with at most one descriptor; *ret_fd is FD_NONE without one. */
int send_with_fd(int sock, void *buf, size_t len, int fd);
ssize_t recv_with_fd(int sock, void *buf, size_t len, int *ret_fd);
