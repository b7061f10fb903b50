/* Where an image is that a replica waits for, in words. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"

static void sending_text(const struct json *image, bool coarse, char *out, size_t size)
{
	uint64_t sent = (uint64_t)MAX(json_int(json_get(image, "sent_bytes"), 0), 0);
	uint64_t total = (uint64_t)MAX(json_int(json_get(image, "total_bytes"), 0), 0);
	char of[32], so_far[32];

	text_size(total, of);
	text_size(sent, so_far);
	if (coarse && total)
		snprintf(out, size, "sending %u %% of %s", (unsigned)(sent / (total / 10 + 1)) * 10, of);
	else
		snprintf(out, size, "sending %s of %s", so_far, of);
}

void cli_image_text(const struct json *image, bool coarse, char *out, size_t size)
{
	const char *phase = json_cstr(json_get(image, "phase"), "");
	const char *detail = json_cstr(json_get(image, "detail"), "");

	if (!strcmp(phase, "sending"))
		sending_text(image, coarse, out, size);
	else if (!strcmp(phase, "waiting"))
		snprintf(out, size, "waiting for another image to be sent");
	else if (!strcmp(phase, "pausing"))
		snprintf(out, size, "to be sent again: %s", detail);
	else if (!strcmp(phase, "pulling") && (coarse || !*detail))
		snprintf(out, size, "pulling");
	else if (!strcmp(phase, "pulling"))
		snprintf(out, size, "pulling: %s", detail);
	else
		out[0] = '\0';
	/* What a registry says must not drive the terminal. */
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}
