#include "names.h"

#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

const struct name_value *name_find(const struct name_value *table, const char *name)
{
	for (; table->name; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

#define RLIMIT(n)                                                                                  \
	{                                                                                          \
		"RLIMIT_" #n, (uint64_t)RLIMIT_##n                                                 \
	}
const struct name_value rlimit_names[] = {
	RLIMIT(AS),    RLIMIT(CORE),	RLIMIT(CPU),	  RLIMIT(DATA),	  RLIMIT(FSIZE),
	RLIMIT(LOCKS), RLIMIT(MEMLOCK), RLIMIT(MSGQUEUE), RLIMIT(NICE),	  RLIMIT(NOFILE),
	RLIMIT(NPROC), RLIMIT(RSS),	RLIMIT(RTPRIO),	  RLIMIT(RTTIME), RLIMIT(SIGPENDING),
	RLIMIT(STACK), { NULL, 0 },
};

/* linux/ioprio.h: class in the bits above 13. */
const struct name_value ioprio_names[] = {
	{ "IOPRIO_CLASS_RT", 1 },
	{ "IOPRIO_CLASS_BE", 2 },
	{ "IOPRIO_CLASS_IDLE", 3 },
	{ NULL, 0 },
};

const struct name_value sched_policy_names[] = {
	{ "SCHED_OTHER", 0 }, { "SCHED_FIFO", 1 }, { "SCHED_RR", 2 },	    { "SCHED_BATCH", 3 },
	{ "SCHED_ISO", 4 },   { "SCHED_IDLE", 5 }, { "SCHED_DEADLINE", 6 }, { NULL, 0 },
};

const struct name_value sched_flag_names[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", 0x01 },  { "SCHED_FLAG_RECLAIM", 0x02 },
	{ "SCHED_FLAG_DL_OVERRUN", 0x04 },     { "SCHED_FLAG_KEEP_POLICY", 0x08 },
	{ "SCHED_FLAG_KEEP_PARAMS", 0x10 },    { "SCHED_FLAG_UTIL_CLAMP_MIN", 0x20 },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", 0x40 }, { NULL, 0 },
};

const struct name_value propagation_names[] = {
	{ "private", MS_PRIVATE },
	{ "rprivate", MS_PRIVATE | MS_REC },
	{ "slave", MS_SLAVE },
	{ "rslave", MS_SLAVE | MS_REC },
	{ "shared", MS_SHARED },
	{ "rshared", MS_SHARED | MS_REC },
	{ "unbindable", MS_UNBINDABLE },
	{ "runbindable", MS_UNBINDABLE | MS_REC },
	{ NULL, 0 },
};

#define CAP(n)                                                                                     \
	{                                                                                          \
		"CAP_" #n, CAP_##n                                                                 \
	}
const struct name_value capability_names[] = {
	CAP(CHOWN),
	CAP(DAC_OVERRIDE),
	CAP(DAC_READ_SEARCH),
	CAP(FOWNER),
	CAP(FSETID),
	CAP(KILL),
	CAP(SETGID),
	CAP(SETUID),
	CAP(SETPCAP),
	CAP(LINUX_IMMUTABLE),
	CAP(NET_BIND_SERVICE),
	CAP(NET_BROADCAST),
	CAP(NET_ADMIN),
	CAP(NET_RAW),
	CAP(IPC_LOCK),
	CAP(IPC_OWNER),
	CAP(SYS_MODULE),
	CAP(SYS_RAWIO),
	CAP(SYS_CHROOT),
	CAP(SYS_PTRACE),
	CAP(SYS_PACCT),
	CAP(SYS_ADMIN),
	CAP(SYS_BOOT),
	CAP(SYS_NICE),
	CAP(SYS_RESOURCE),
	CAP(SYS_TIME),
	CAP(SYS_TTY_CONFIG),
	CAP(MKNOD),
	CAP(LEASE),
	CAP(AUDIT_WRITE),
	CAP(AUDIT_CONTROL),
	CAP(SETFCAP),
	CAP(MAC_OVERRIDE),
	CAP(MAC_ADMIN),
	CAP(SYSLOG),
	CAP(WAKE_ALARM),
	CAP(BLOCK_SUSPEND),
	CAP(AUDIT_READ),
	CAP(PERFMON),
	CAP(BPF),
	CAP(CHECKPOINT_RESTORE),
	{ NULL, 0 },
};

#define SIGNAL(n)                                                                                  \
	{                                                                                          \
#n, SIG##n                                                                         \
	}
const struct name_value signal_names[] = {
	SIGNAL(HUP),  SIGNAL(INT),  SIGNAL(QUIT),   SIGNAL(ILL),  SIGNAL(TRAP),	  SIGNAL(ABRT),
	SIGNAL(IOT),  SIGNAL(BUS),  SIGNAL(FPE),    SIGNAL(KILL), SIGNAL(USR1),	  SIGNAL(SEGV),
	SIGNAL(USR2), SIGNAL(PIPE), SIGNAL(ALRM),   SIGNAL(TERM), SIGNAL(STKFLT), SIGNAL(CHLD),
	SIGNAL(CONT), SIGNAL(STOP), SIGNAL(TSTP),   SIGNAL(TTIN), SIGNAL(TTOU),	  SIGNAL(URG),
	SIGNAL(XCPU), SIGNAL(XFSZ), SIGNAL(VTALRM), SIGNAL(PROF), SIGNAL(WINCH),  SIGNAL(IO),
	SIGNAL(POLL), SIGNAL(PWR),  SIGNAL(SYS),    { NULL, 0 },
};
