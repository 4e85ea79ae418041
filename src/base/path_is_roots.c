/* path_is_roots.c - may what a path leads to be trusted by root.  Any thread. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/path_is_roots.h"

bool
path_is_roots(const char *path)
{
	char part[PATH_MAX];
	struct stat st;

	CHECK(*path == '/');
	if (strlen(path) >= sizeof(part))
		return false;
	for (strcpy(part, path);; *strrchr(part, '/') = '\0') {
		if (lstat(*part != '\0' ? part : "/", &st) != 0 || st.st_uid != 0)
			return false;
		/* In /tmp, say, others can make files but not replace ours. */
		if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 &&
		    !(S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0))
			return false;
		if (*part == '\0')
			return true;
	}
}
