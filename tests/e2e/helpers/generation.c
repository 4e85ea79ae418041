/* generation.c - a serving process whose words and end the test decides: a program with a
 * file of its own, which runs generation.py (SCRIPT). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	char *args[64] = { "python3", SCRIPT }, inode[24];
	struct stat own = { .st_ino = 0 };

	stat("/proc/self/exe", &own);
	snprintf(inode, sizeof(inode), "%llu", (unsigned long long)own.st_ino);
	setenv("TEAL_INODE", inode, 1);
	for (int i = 0; i < argc && i < 60; i++)
		args[2 + i] = argv[i];
	execvp(args[0], args);
	perror("python3");
	return 127;
}
