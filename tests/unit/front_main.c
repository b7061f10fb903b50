/* A bare front door for measuring by hand: front_main [-p PORT] [-t CERT KEY] [-l ACCESS-LOG]
 * ADDR:PORT... prints its port and runs until SIGTERM. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "door.h"

int main(int argc, char **argv)
{
	struct door_shared shared = { .ready = 0 };
	struct door_config c = { .quiet = true };
	struct err err;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "-t") == 0 && i + 2 < argc) {
			c.cert_pem = argv[++i];
			c.key_pem = argv[++i];
		} else if (strcmp(argv[i], "-p") == 0 && i + 1 < argc) {
			c.port = (uint16_t)atoi(argv[++i]);
		} else if (strcmp(argv[i], "-l") == 0 && i + 1 < argc) {
			c.access_log = argv[++i];
		}
	}
	for (; i < argc && c.nendpoints < DOOR_ENDPOINTS; i++) {
		if (addr_parse(&c.endpoints[c.nendpoints++], slice_str(argv[i]), &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return 2;
		}
	}
	return door_run(&c, &shared);
}
