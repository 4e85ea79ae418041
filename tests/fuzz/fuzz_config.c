/* fuzz_config.c - config_load() on arbitrary bytes: it returns a tree or
 * complaints, never both, frees everything, and whatever our own grammar
 * accepts libconfig accepts too. */
#include <libconfig.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/config_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int fd;
static char path[64];

/* No name server is asked: names are known or not by their first letter. */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	static struct sockaddr_in in = { .sin_family = AF_INET };
	static struct addrinfo found = { .ai_family = AF_INET,
					 .ai_addr = (struct sockaddr *)&in,
					 .ai_addrlen = sizeof(in) };

	(void)service;
	(void)hints;
	if (node[0] != 'k')
		return EAI_NONAME;
	in.sin_addr.s_addr = htonl(0x0a000000u + (unsigned char)node[1]);
	*res = &found;
	return 0;
}

void
freeaddrinfo(struct addrinfo *ai)
{
	(void)ai;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	CHECK((fd = memfd_create("teal.conf", 0)) >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return 0;
}

static void
check_grammar(void)
{
	struct complaint_list errors = { NULL, 0 };
	struct complaints out = { NULL, 0 };
	struct config_text text;
	config_t file;

	config_init(&file);
	if (config_text_read(&text, path, NULL, &errors) == OK && config_syntax_check(&text, &errors) == OK)
		CHECK(config_read_string(&file, text.bytes));
	else
		CHECK(errors.n == 1);
	config_destroy(&file);
	complaint_list_move(&errors, &out);
	complaints_free(&out);
	config_text_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints errors, warnings;
	const struct config *config;
	enum err e;

	CHECK(ftruncate(fd, 0) == 0);
	CHECK(pwrite(fd, data, size, 0) == (ssize_t)size);
	check_grammar();
	e = config_load(path, &config, &errors, &warnings);
	CHECK(e == OK || e == E_USAGE);
	CHECK((e == OK) == (config != NULL));
	CHECK((e == OK) == (errors.n == 0));
	for (size_t i = 0; config != NULL && i < config->n_services; i++)
		for (int color = GREEN; color <= BLUE; color++) {
			CHECK(config->services[i].n_listen > 0);
			CHECK(config->services[i].colors[color].n_backends > 0);
		}
	config_unref(&config);
	complaints_free(&errors);
	complaints_free(&warnings);
	return 0;
}
