/*
 * deny.c - run a program for which some system calls do not exist
 *
 * usage: deny CALL[=ERRNO][,CALL…] COMMAND…
 *
 * The calls fail with ENOSYS, as on an older kernel, or with that number.  With
 * CAP_SYS_ADMIN no_new_privs stays off, so that setuid helpers keep working.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc;

	if (argc < 3 || !filter) {
		fprintf(stderr, "usage: deny CALL[,CALL...] COMMAND...\n");
		return 2;
	}
	for (char *name = strtok(argv[1], ","); name;
	     name = strtok(NULL, ",")) {
		char *number = strchr(name, '=');
		int error = number ? atoi(number + 1) : ENOSYS, call;

		if (number)
			*number = '\0';
		call = seccomp_syscall_resolve_name(name);
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(error), call, 0);
		if (call == __NR_SCMP_ERROR || rc < 0) {
			fprintf(stderr, "deny: %s: no such system call\n",
				name);
			return 2;
		}
	}
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	rc = seccomp_load(filter);
	if (rc < 0) {
		seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
		rc = seccomp_load(filter);
	}
	if (rc < 0) {
		fprintf(stderr, "deny: %s\n", strerror(-rc));
		return 2;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
