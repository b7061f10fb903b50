/* The agent's configuration: flags over environment over agent.json, and that file itself. */
#ifndef TEMPS_AGENT_SETTINGS_H
#define TEMPS_AGENT_SETTINGS_H

#include "agent/agent.h"
#include "agent/metrics.h"
#include "base/err.h"

/* All texts are owned; NULL where nothing was said. */
struct settings {
	char *listen_address;		/* "0.0.0.0:3100" when nobody said otherwise */
	char *token, *node_name, *control_plane_url;
	uint64_t node_id;
	bool has_node_id;
	struct pairs labels;
	struct metrics_told resources;	/* said at join */
	/* What join adds to the specification's fields. */
	char *cluster_id;
	char *private_address;
	char *address;			/* as registered: "https://10.0.0.5:3100" */
	char *cert_pem, *key_pem;	/* of our listener, signed by the cluster's CA */
	char *ca_cert_pem;		/* the cluster's CA */
	char *control_plane_ca_pem;	/* whom to trust as the control plane beside the system's roots */
	uint32_t heartbeat_interval_s;
};

/* $HOME/.temps/agent.json, or /etc/temps/agent.json without a HOME; the caller's to free(). */
char *settings_path(void);
/* Reads <path> alone. -ENOENT: no such file; -EINVAL: "FILE:LINE:COLUMN: reason" or the member that is wrong. */
int settings_read(struct settings *s, const char *path, struct err *err) MUST_CHECK;
/* Writes all of it, 0600 in a 0700 directory that is made when missing. */
int settings_write(const struct settings *s, const char *path, struct err *err) MUST_CHECK;
/* The file at <path> (it may be missing), then the environment, then <o>. -EINVAL with the specification's advice when one of the four
 * needed fields is nowhere. */
int settings_load(struct settings *s, const char *path, const struct agent_options *o, struct err *err) MUST_CHECK;
void settings_fini(struct settings *s);

/* Replaces an owned text. */
void settings_set(char **text, const char *value);

#endif
