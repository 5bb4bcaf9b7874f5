/* features: what this build supports, in the spec's form, from the tables that the parsers use. */
#include <stdio.h>

#include "cleanup.h"
#include "commands.h"
#include "json_write.h"
#include "names.h"
#include "opts.h"
#include "spec.h"
#include "version.h"

static void add_list(struct jw *w, const char *key, const char *const *items, size_t count)
{
	jw_array(w, key);
	for (size_t i = 0; i < count; i++)
		jw_string(w, NULL, items[i]);
	jw_array_end(w);
}

static void add_capabilities(struct jw *w)
{
	jw_array(w, "capabilities");
	for (const struct name_value *n = capability_names; n->name; n++)
		jw_string(w, NULL, n->name);
	jw_array_end(w);
}

static void add_seccomp(struct jw *w)
{
	static const char *const actions[] = { "SCMP_ACT_ALLOW",       "SCMP_ACT_ERRNO",
					       "SCMP_ACT_KILL",	       "SCMP_ACT_KILL_PROCESS",
					       "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
					       "SCMP_ACT_NOTIFY",      "SCMP_ACT_TRACE",
					       "SCMP_ACT_TRAP" };
	static const char *const operators[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
						 "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
						 "SCMP_CMP_NE" };
	static const char *const archs[] = { "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64" };
	static const char *const flags[] = { "SECCOMP_FILTER_FLAG_LOG",
					     "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					     "SECCOMP_FILTER_FLAG_TSYNC",
					     "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" };

	jw_object(w, "seccomp");
	jw_bool(w, "enabled", true);
	add_list(w, "actions", actions, ARRAY_LEN(actions));
	add_list(w, "operators", operators, ARRAY_LEN(operators));
	add_list(w, "archs", archs, ARRAY_LEN(archs));
	add_list(w, "knownFlags", flags, ARRAY_LEN(flags));
	add_list(w, "supportedFlags", flags, ARRAY_LEN(flags));
	jw_object_end(w);
}

static void add_switch(struct jw *w, const char *key, bool on)
{
	jw_object(w, key);
	jw_bool(w, "enabled", on);
	jw_object_end(w);
}

static void add_linux(struct jw *w)
{
	static const char *const namespaces[] = { "cgroup", "ipc",  "mount", "network",
						  "pid",    "time", "user",  "uts" };

	jw_object(w, "linux");
	add_list(w, "namespaces", namespaces, ARRAY_LEN(namespaces));
	add_capabilities(w);
	jw_object(w, "cgroup");
	jw_bool(w, "v1", true);
	jw_bool(w, "v2", true);
	jw_bool(w, "systemd", false);
	jw_bool(w, "systemdUser", false);
	jw_bool(w, "rdma", true);
	jw_object_end(w);
	add_seccomp(w);
	add_switch(w, "apparmor", true);
	add_switch(w, "selinux", true);
	add_switch(w, "intelRdt", false);
	jw_object(w, "mountExtensions");
	add_switch(w, "idmap", true);
	jw_object_end(w);
	jw_object_end(w);
}

int cmd_features(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	static const struct opt none[] = { { 0 } };
	static const char *const hooks[] = { "prestart",       "createRuntime", "createContainer",
					     "startContainer", "poststart",	"poststop" };
	_cleanup_jw_ struct jw w = { .pretty = true };
	const char *text;
	int index, r = opts_parse(none, "berth features", argc, argv, &index, err);

	(void)g;
	(void)ret_status;
	if (r != 0)
		return r < 0 ? r : 0;
	jw_object(&w, NULL);
	jw_string(&w, "ociVersionMin", "1.0.0");
	jw_string(&w, "ociVersionMax", BERTH_SPEC_VERSION);
	add_list(&w, "hooks", hooks, ARRAY_LEN(hooks));
	jw_array(&w, "mountOptions");
	spec_each_mount_option(&w);
	jw_array_end(&w);
	add_linux(&w);
	jw_object(&w, "annotations");
	jw_string(&w, "dev.gantry.berth.version", BERTH_VERSION);
	jw_object_end(&w);
	jw_object_end(&w);
	if (jw_finish(&w, &text, NULL) < 0)
		return err_set(err, -ENOMEM, "no memory");
	puts(text);
	return 0;
}
